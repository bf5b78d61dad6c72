// Package beluga is a Beluga AI workflow.WorkflowStore that keeps its states in the workflowstore service.
//
//	var store workflow.WorkflowStore = beluga.New(pb.NewWorkflowStoreClient(conn), beluga.Options{})
package beluga

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/lookatitude/beluga-ai/v2/workflow"

	"workflowstore"
	pb "workflowstore/workflowstorev1"
)

// Options are the options of a [Store]. The zero value is what Beluga's NATS provider does.
type Options struct {
	// Bucket is where the states are kept. Empty = the server's first.
	Bucket string

	// UseNumber makes the numbers in loaded inputs, results and payloads json.Number, which keeps every digit. False = float64,
	// which rounds integers beyond 2^53 and cannot hold 1e400.
	UseNumber bool

	// OnSkipped is told what List leaves out because it cannot be read: its id, or its key in the bucket, and why. Nil = nobody
	// is told.
	OnSkipped func(id string, err error)
}

// Store keeps the states of Beluga's workflows in the service. It is safe for use by several goroutines. The errors of the
// service are an [workflowstore.Error] if the connection is one of [workflowstore.NewConn].
type Store struct {
	client  pb.WorkflowStoreClient
	options Options
}

var _ workflow.WorkflowStore = (*Store)(nil)

// New is a Store over the client's connection, which stays the caller's to close.
func New(client pb.WorkflowStoreClient, options Options) *Store {
	return &Store{client: client, options: options}
}

// Save stores the whole state over what is stored under its id, whatever that is; labels that others have given it go. The
// error is one of encoding/json's for an input, result or payload that is no JSON, one for a status or event type that is not
// among Beluga's, or that of the call.
func (s *Store) Save(ctx context.Context, state workflow.WorkflowState) error {
	message, err := toMessage(state)
	if err != nil {
		return err
	}
	_, err = s.client.Save(ctx, &pb.SaveRequest{Bucket: s.options.Bucket, State: message})
	return err
}

// Load is the state that is stored, or nil without an error if there is none. Times are in UTC; a status or event type that
// is not among Beluga's is empty.
func (s *Store) Load(ctx context.Context, workflowID string) (*workflow.WorkflowState, error) {
	reply, err := s.client.Load(ctx, &pb.LoadRequest{Bucket: s.options.Bucket, WorkflowId: workflowID})
	if failure := workflowstore.FromError(err); failure != nil && failure.Reason == workflowstore.ErrWorkflowNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	state, err := s.fromMessage(reply.GetState())
	if err != nil {
		return nil, err
	}
	return &state, nil
}

// List is the states that match, with their histories, ordered by id; with a Limit above 0 the first so many. What cannot be
// read is left out, and OnSkipped is told. The error is one for a status that is not among Beluga's, or that of the call.
func (s *Store) List(ctx context.Context, filter workflow.WorkflowFilter) ([]workflow.WorkflowState, error) {
	request := &pb.ListRequest{
		Bucket: s.options.Bucket, View: pb.WorkflowView_WORKFLOW_VIEW_FULL, Limit: int64(max(filter.Limit, 0)),
	}
	if filter.Status != "" {
		status, err := toStatus(filter.Status)
		if err != nil {
			return nil, err
		}
		request.Filter = &pb.WorkflowFilter{Statuses: []pb.WorkflowStatus{status}}
	}
	// Ends the stream when this returns before its end.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks, err := s.client.List(ctx, request)
	if err != nil {
		return nil, err
	}
	var states []workflow.WorkflowState
	for {
		chunk, err := chunks.Recv()
		if errors.Is(err, io.EOF) {
			return states, nil
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range chunk.GetMalformed() {
			s.skipped(entry.GetKey(), fmt.Errorf("revision %d: %s", entry.GetRevision(), entry.GetReason()))
		}
		for _, message := range chunk.GetStates() {
			if state, err := s.fromMessage(message); err != nil {
				s.skipped(message.GetWorkflowId(), err)
			} else {
				states = append(states, state)
			}
		}
	}
}

// Delete removes the state; what does not exist is no error. The error is that of the call.
func (s *Store) Delete(ctx context.Context, workflowID string) error {
	_, err := s.client.Delete(ctx, &pb.DeleteRequest{Bucket: s.options.Bucket, WorkflowId: workflowID})
	return err
}

func (s *Store) skipped(id string, err error) {
	if s.options.OnSkipped != nil {
		s.options.OnSkipped(id, err)
	}
}
