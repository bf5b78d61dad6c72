package workflowstore

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "workflowstore/workflowstorev1"
)

func failed(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	s, err := status.New(code, "what has happened").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func info(reason Reason, metadata map[string]string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Domain: "workflowstore", Reason: string(reason), Metadata: metadata}
}

func TestReasonsAreThoseOfTheProto(t *testing.T) {
	known := []Reason{
		ErrInvalidRequest, ErrWorkflowNotFound, ErrWorkflowAlreadyExists, ErrRevisionMismatch, ErrStateTooLarge, ErrStorageFull,
		ErrStorageUnavailable, ErrShuttingDown, ErrBucketRecreated, ErrBucketNotFound, ErrBucketConfiguration,
		ErrMalformedDocument, ErrInternal, ErrContended, ErrIndexBehind, ErrRevisionForgotten, ErrRevisionNotReached, ErrWatchTooSlow, ErrReplyTooLarge,
		ErrTooManyCalls, ErrCallTooLong, ErrReaderStalled, ErrWriteForgotten, ErrUnauthenticated, ErrPermissionDenied, ErrIdentityLimitReached,
	}
	if len(known) != len(pb.ErrorReason_name)-1 {
		t.Errorf("%d reasons, of %d", len(known), len(pb.ErrorReason_name)-1)
	}
	for _, reason := range known {
		if _, ok := pb.ErrorReason_value[string(reason)]; !ok {
			t.Errorf("%s is not in the proto", reason)
		}
	}
}

func TestFromErrorTakesEveryDetail(t *testing.T) {
	err := fmt.Errorf("order 42: %w", failed(t, codes.InvalidArgument,
		info(ErrInvalidRequest, map[string]string{"fields": "state"}),
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "state"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	))
	failure := FromError(err)
	if failure.Code != codes.InvalidArgument || failure.Message != "what has happened" || failure.Reason != ErrInvalidRequest ||
		failure.Metadata["fields"] != "state" || failure.RetryAfter != 1500*time.Millisecond ||
		len(failure.Violations) != 1 || failure.Violations[0].GetField() != "state" || failure.Outcome != NotApplied {
		t.Errorf("%+v", failure)
	}
	if !errors.Is(failure, ErrInvalidRequest) || errors.Is(failure, ErrInternal) || errors.Is(failure, Reason("")) {
		t.Error("errors.Is does not go by the reason")
	}
	if !errors.Is(failure, err) || status.Code(failure) != codes.InvalidArgument || FromError(failure) != failure {
		t.Error("the error that it was made of is lost")
	}
	if failure.Error() != "workflowstore: what has happened (INVALID_REQUEST)" {
		t.Error(failure.Error())
	}
}

func TestFromErrorOfWhatIsNoFailureIsNil(t *testing.T) {
	for _, err := range []error{nil, io.EOF, errors.New("x"), status.Error(codes.OK, "")} {
		if failure := FromError(err); failure != nil {
			t.Errorf("%v: %v", err, failure)
		}
	}
}

func TestDetailsOfAnotherDomainAreLeftOut(t *testing.T) {
	other := &errdetails.ErrorInfo{Domain: "proxy", Reason: "BUSY", Metadata: map[string]string{"outcome": "not_applied"}}
	failure := FromError(failed(t, codes.Unavailable, other))
	if failure.Reason != "" || failure.Metadata != nil || failure.Outcome != Unknown {
		t.Errorf("%+v", failure)
	}
	if failure.Error() != "workflowstore: what has happened (Unavailable)" {
		t.Error(failure.Error())
	}
}

func TestOutcomeIsTheServersAndElseTheReasons(t *testing.T) {
	for _, each := range []struct {
		reason  Reason
		stated  string
		outcome Outcome
	}{
		{ErrRevisionMismatch, "", NotApplied},
		{ErrRevisionMismatch, "unknown", Unknown},
		{ErrShuttingDown, "", NotApplied},
		{ErrShuttingDown, "unknown", Unknown},
		{ErrStorageUnavailable, "", Unknown},
		{ErrStorageUnavailable, "not_applied", NotApplied},
		{ErrStorageUnavailable, "perhaps", Unknown},
		{ErrInternal, "", Unknown},
		{ErrCallTooLong, "", Unknown},
		{ErrTooManyCalls, "", NotApplied},
		{"ERROR_REASON_OF_A_NEWER_SERVER", "", Unknown},
		{"", "", Unknown},
	} {
		failure := FromError(failed(t, codes.Unavailable, info(each.reason, map[string]string{"outcome": each.stated})))
		if failure.Outcome != each.outcome {
			t.Errorf("%s, %q: %s", each.reason, each.stated, failure.Outcome)
		}
	}
}

func TestFromItemError(t *testing.T) {
	if FromItemError(nil) != nil {
		t.Error("an error of an item that has none")
	}
	failure := FromItemError(&pb.ItemError{
		Code: int32(codes.Aborted), Reason: pb.ErrorReason_ERROR_REASON_REVISION_MISMATCH, Message: "m",
		Metadata: map[string]string{"actual_revision": "17"},
	})
	if !errors.Is(failure, ErrRevisionMismatch) || status.Code(failure) != codes.Aborted || failure.Message != "m" ||
		failure.Metadata["actual_revision"] != "17" || failure.Outcome != NotApplied {
		t.Errorf("%+v", failure)
	}
	newer := FromItemError(&pb.ItemError{Code: int32(codes.Internal), Reason: 999})
	if newer.Reason != "999" || newer.Outcome != Unknown {
		t.Errorf("%+v", newer)
	}
}
