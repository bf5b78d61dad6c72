package workflowstore

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "workflowstore/workflowstorev1"
)

// Reason is why a call, or an item of a batch, has failed: the name of a value of [pb.ErrorReason], where each is
// explained with the keys of its metadata. It is an error, so that errors.Is finds it in an [*Error]. More reasons may be
// added on the server; treat an unknown one by its gRPC code. Empty = the call never reached the service, or was cut off on
// the way.
type Reason string

// The reasons that this version knows.
const (
	ErrInvalidRequest        Reason = "ERROR_REASON_INVALID_REQUEST"
	ErrWorkflowNotFound      Reason = "ERROR_REASON_WORKFLOW_NOT_FOUND"
	ErrWorkflowAlreadyExists Reason = "ERROR_REASON_WORKFLOW_ALREADY_EXISTS"
	ErrRevisionMismatch      Reason = "ERROR_REASON_REVISION_MISMATCH"
	ErrStateTooLarge         Reason = "ERROR_REASON_STATE_TOO_LARGE"
	ErrStorageFull           Reason = "ERROR_REASON_STORAGE_FULL"
	ErrStorageUnavailable    Reason = "ERROR_REASON_STORAGE_UNAVAILABLE"
	ErrShuttingDown          Reason = "ERROR_REASON_SHUTTING_DOWN"
	ErrBucketRecreated       Reason = "ERROR_REASON_BUCKET_RECREATED"
	ErrBucketNotFound        Reason = "ERROR_REASON_BUCKET_NOT_FOUND"
	ErrBucketConfiguration   Reason = "ERROR_REASON_BUCKET_CONFIGURATION"
	ErrMalformedDocument     Reason = "ERROR_REASON_MALFORMED_DOCUMENT"
	ErrInternal              Reason = "ERROR_REASON_INTERNAL"
	ErrContended             Reason = "ERROR_REASON_CONTENDED"
	ErrIndexBehind           Reason = "ERROR_REASON_INDEX_BEHIND"
	ErrRevisionForgotten     Reason = "ERROR_REASON_REVISION_FORGOTTEN"
	ErrRevisionNotReached    Reason = "ERROR_REASON_REVISION_NOT_REACHED"
	ErrWatchTooSlow          Reason = "ERROR_REASON_WATCH_TOO_SLOW"
	ErrReplyTooLarge         Reason = "ERROR_REASON_REPLY_TOO_LARGE"
	ErrTooManyCalls          Reason = "ERROR_REASON_TOO_MANY_CALLS"
	ErrCallTooLong           Reason = "ERROR_REASON_CALL_TOO_LONG"
	ErrReaderStalled         Reason = "ERROR_REASON_READER_STALLED"
	ErrWriteForgotten        Reason = "ERROR_REASON_WRITE_FORGOTTEN"
	ErrUnauthenticated       Reason = "ERROR_REASON_UNAUTHENTICATED"
	ErrPermissionDenied      Reason = "ERROR_REASON_PERMISSION_DENIED"
	ErrIdentityLimitReached  Reason = "ERROR_REASON_IDENTITY_LIMIT_REACHED"
)

// Error returns the name.
func (r Reason) Error() string { return string(r) }

// Outcome is what became of a write that has failed.
type Outcome string

const (
	// NotApplied: it is not stored and will not be.
	NotApplied Outcome = "not_applied"
	// Unknown: it may be stored, or may become so within moments. Send it again with the same request_id and resent, which
	// applies it once and gets the first result; or load to find out.
	Unknown Outcome = "unknown"
)

// Error is the failure of a call, or of one item of a batch.
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Message is for people. Do not branch on it.
	Message string
	// Reason is empty if the failure is not the service's own: nothing listens at the address, the deadline has passed.
	Reason Reason
	// Metadata are the facts, with the keys that are shown at the reason.
	Metadata map[string]string
	// Violations are the wrong fields of an ErrInvalidRequest.
	Violations []*errdetails.BadRequest_FieldViolation
	// RetryAfter is how long to wait before the call is made again. 0 = not told.
	RetryAfter time.Duration
	// Outcome is what became of a write. Empty for a read. FromError and FromItemError cannot tell reads from writes, and
	// take what they are given for a write.
	Outcome Outcome

	status *status.Status
	cause  error
}

// Error tells the message, and the reason or, for want of one, the code.
func (e *Error) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("workflowstore: %s (%s)", e.Message, strings.TrimPrefix(string(e.Reason), "ERROR_REASON_"))
	}
	return fmt.Sprintf("workflowstore: %s (%s)", e.Message, e.Code)
}

// Is tells whether target is the error's [Reason].
func (e *Error) Is(target error) bool {
	reason, ok := target.(Reason)
	return ok && reason != "" && reason == e.Reason
}

// Unwrap is the error that it was made of. It is nil for an item of a batch.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus is the status that it was made of, for the status package.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// FromError is the *Error in err, or one made of the gRPC status in it. It is nil if there is neither, as in nil and io.EOF.
// Errors of a connection of [NewConn] are an *Error already.
func FromError(err error) *Error {
	var failure *Error
	if errors.As(err, &failure) {
		return failure
	}
	var carrier interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &carrier) || carrier.GRPCStatus().Code() == codes.OK {
		return nil
	}
	return fromStatus(carrier.GRPCStatus(), err)
}

// FromItemError is the failure of one item of a batch, as a call for that item alone would have failed. It is nil for nil.
func FromItemError(item *pb.ItemError) *Error {
	if item == nil {
		return nil
	}
	code := codes.Code(item.GetCode())
	failure := &Error{
		Code: code, Message: item.GetMessage(), Metadata: item.GetMetadata(), status: status.New(code, item.GetMessage()),
	}
	if item.GetReason() != pb.ErrorReason_ERROR_REASON_UNSPECIFIED {
		// One that this version does not know goes by its number.
		failure.Reason = Reason(item.GetReason().String())
	}
	failure.Outcome = outcome(failure)
	return failure
}

func fromStatus(s *status.Status, cause error) *Error {
	failure := &Error{Code: s.Code(), Message: s.Message(), status: s, cause: cause}
	for _, detail := range s.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == "workflowstore" {
				failure.Reason = Reason(detail.GetReason())
				failure.Metadata = maps.Clone(detail.GetMetadata())
			}
		case *errdetails.BadRequest:
			failure.Violations = detail.GetFieldViolations()
		case *errdetails.RetryInfo:
			failure.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	failure.Outcome = outcome(failure)
	return failure
}

// outcome is what the server says, and where it does not, what the reason says about a write.
func outcome(failure *Error) Outcome {
	if stated := Outcome(failure.Metadata["outcome"]); stated == NotApplied || stated == Unknown {
		return stated
	}
	_, known := pb.ErrorReason_value[string(failure.Reason)]
	if !known || failure.Reason == ErrStorageUnavailable || failure.Reason == ErrInternal || failure.Reason == ErrCallTooLong {
		return Unknown
	}
	return NotApplied
}

// writes tells whether a method, by its full name, changes what is stored.
func writes(method string) bool {
	switch method {
	case pb.WorkflowStore_Save_FullMethodName, pb.WorkflowStore_Update_FullMethodName,
		pb.WorkflowStore_Delete_FullMethodName, pb.WorkflowStore_SaveBatch_FullMethodName,
		pb.WorkflowStore_DeleteBatch_FullMethodName, pb.WorkflowStore_Import_FullMethodName:
		return true
	}
	return false
}
