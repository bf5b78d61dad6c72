// Example saves, loads, lists, updates and watches a few workflows, and meets a conflict and one that does not exist.
//
//	go run ./example -address 127.0.0.1:50051
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"workflowstore"
	pb "workflowstore/workflowstorev1"
)

func main() {
	address := flag.String("address", "127.0.0.1:50051", "where the server listens")
	flag.Parse()
	// Without TLS, for a server on this machine.
	conn, err := workflowstore.NewConn(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := tour(ctx, pb.NewWorkflowStoreClient(conn)); err != nil {
		log.Fatal(err)
	}
}

func tour(ctx context.Context, store pb.WorkflowStoreClient) error {
	// Save. JSON travels as text, and keeps every digit.
	input, err := workflowstore.EncodeJSON(map[string]any{"items": 3, "total": uint64(1<<53 + 1)})
	if err != nil {
		return err
	}
	state := &pb.WorkflowState{
		WorkflowId: "go:42", Status: pb.WorkflowStatus_WORKFLOW_STATUS_RUNNING, InputJson: input,
		Labels: map[string]string{"team": "blue"},
	}
	saved, err := store.Save(ctx, &pb.SaveRequest{State: state})
	if err != nil {
		return err
	}
	fmt.Println("saved at", saved.GetCreatedAt().AsTime().Format(time.DateOnly))

	// Load.
	loaded, err := store.Load(ctx, &pb.LoadRequest{WorkflowId: "go:42"})
	if err != nil {
		return err
	}
	var value map[string]any
	if err := workflowstore.DecodeJSON(loaded.GetState().GetInputJson(), &value); err != nil {
		return err
	}
	fmt.Println("loaded", loaded.GetState().GetStatus(), value["total"])

	// List: chunks of states, while they arrive. Summaries, unless the view says otherwise.
	chunks, err := store.List(ctx, &pb.ListRequest{Filter: &pb.WorkflowFilter{WorkflowIdPrefix: "go:"}})
	if err != nil {
		return err
	}
	for {
		chunk, err := chunks.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, state := range chunk.GetStates() {
			fmt.Println("listed", state.GetWorkflowId(), state.GetLabels())
		}
	}

	// Watch, beginning with what there is. The context ends the stream.
	watching, stop := context.WithCancel(ctx)
	defer stop()
	messages, err := store.Watch(watching, &pb.WatchRequest{
		Filter: &pb.WorkflowFilter{WorkflowIdPrefix: "go:"}, Start: &pb.WatchRequest_Snapshot{Snapshot: true},
	})
	if err != nil {
		return err
	}
	if err := untilSnapshot(messages); err != nil {
		return err
	}

	// Update changes what it names, on the server, and leaves the rest.
	updated, err := store.Update(ctx, &pb.UpdateRequest{
		State:         &pb.WorkflowState{WorkflowId: "go:42"},
		AppendHistory: []*pb.HistoryEvent{{Type: pb.EventType_EVENT_TYPE_ACTIVITY_COMPLETED, ActivityName: "pack"}},
		SetLabels:     map[string]string{"depot": "north"},
	})
	if err != nil {
		return err
	}
	fmt.Println("updated", updated.GetState().GetLabels(), updated.GetState().GetHistoryCount(), "event")

	// Compare and set: refused, because the update has come in between.
	_, err = store.Save(ctx, &pb.SaveRequest{State: state, ExpectedRevision: proto.Uint64(saved.GetRevision())})
	var failure *workflowstore.Error
	if errors.Is(err, workflowstore.ErrRevisionMismatch) && errors.As(err, &failure) {
		newer := failure.Metadata["actual_revision"] == fmt.Sprint(updated.GetRevision())
		fmt.Println("conflict", failure.Code, failure.Outcome, newer)
	} else {
		return fmt.Errorf("the save was not refused: %w", err)
	}

	if _, err := store.Delete(ctx, &pb.DeleteRequest{WorkflowId: "go:42"}); err != nil {
		return err
	}

	// What is not there.
	_, err = store.Load(ctx, &pb.LoadRequest{WorkflowId: "go:42"})
	if errors.As(err, &failure) {
		fmt.Println("not found", failure.Code, failure.Reason, failure.Metadata["workflow_id"])
	}
	// What is wrong with a request, all of it at once.
	_, err = store.Save(ctx, &pb.SaveRequest{State: &pb.WorkflowState{InputJson: "{"}})
	if errors.As(err, &failure) {
		for _, violation := range failure.Violations {
			fmt.Println("wrong", violation.GetField())
		}
	}

	for seen := 0; seen < 2; {
		message, err := messages.Recv()
		if err != nil {
			return err
		}
		for _, change := range message.GetChanges() {
			fmt.Println("watched", change.GetKind(), change.GetWorkflowId())
			seen++
		}
	}
	return nil
}

func untilSnapshot(messages grpc.ServerStreamingClient[pb.WatchResponse]) error {
	for {
		message, err := messages.Recv()
		if err != nil {
			return err
		}
		if message.GetSnapshotComplete() {
			return nil
		}
	}
}
