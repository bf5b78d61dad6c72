package beluga

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lookatitude/beluga-ai/v2/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"workflowstore"
	pb "workflowstore/workflowstorev1"
)

const goldenPath = "../../../tests/unit/golden/go_documents.json"

type goldenDocument struct {
	Name     string
	Document string
	Bytes    []byte `json:"document_base64"`
	Go       *string
}

// states are those of the golden documents that Go can read, by the documents' names, and one with something in each field.
func states(t *testing.T) map[string]workflow.WorkflowState {
	t.Helper()
	text, err := os.ReadFile(goldenPath)
	if err != nil {
		t.Fatal(err)
	}
	var documents []goldenDocument
	if err := json.Unmarshal(text, &documents); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	states := map[string]workflow.WorkflowState{"every field": {
		WorkflowID: "a", RunID: "b", Status: workflow.StatusFailed, Input: "c", Result: []any{1.5, nil}, Error: "d",
		History: []workflow.HistoryEvent{{
			ID: 7, Type: workflow.EventSignalReceived, Timestamp: now, ActivityName: "e", Input: map[string]any{"f": "<&>"},
			Result: "g", Error: "h", SignalName: "i", SignalPayload: true, Duration: -time.Nanosecond,
		}, {ID: 8, Type: workflow.EventTimerFired, Duration: time.Hour}},
		CreatedAt: now, UpdatedAt: now.Add(time.Nanosecond),
	}}
	for _, each := range documents {
		document := append([]byte(each.Document), each.Bytes...)
		var state workflow.WorkflowState
		if each.Go == nil {
			continue
		}
		if err := json.Unmarshal(document, &state); err != nil {
			t.Fatal(each.Name, err)
		}
		if written(t, state) != *each.Go {
			t.Fatalf("%s: Go writes %s", each.Name, written(t, state))
		}
		states[each.Name] = state
	}
	if len(states) < 100 {
		t.Fatal("only", len(states), "golden documents")
	}
	return states
}

func written(t *testing.T, state workflow.WorkflowState) string {
	t.Helper()
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// same tells whether got is want as it comes back: with the same instants in UTC, and no history for an empty one. Times are
// compared apart, because JSON cannot hold one that is of the year 10000 in UTC.
func same(t *testing.T, got, want workflow.WorkflowState) bool {
	t.Helper()
	return slices.EqualFunc(taken(&got), taken(&want), time.Time.Equal) && written(t, got) == written(t, want)
}

// taken is the times of the state, which has none afterwards.
func taken(state *workflow.WorkflowState) []time.Time {
	times := []time.Time{state.CreatedAt, state.UpdatedAt}
	state.CreatedAt, state.UpdatedAt = time.Time{}, time.Time{}
	history := state.History
	state.History = nil
	for _, event := range history {
		times = append(times, event.Timestamp)
		event.Timestamp = time.Time{}
		state.History = append(state.History, event)
	}
	return times
}

func unknown(state workflow.WorkflowState) bool {
	_, known := statuses[state.Status]
	for _, event := range state.History {
		_, ok := eventTypes[event.Type]
		known = known && ok
	}
	return !known
}

func TestGoldenDocumentsSurviveConversion(t *testing.T) {
	for name, state := range states(t) {
		message, err := toMessage(state)
		if unknown(state) {
			if err == nil {
				t.Errorf("%s: an unknown status or event type was taken", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, err := new(Store).fromMessage(message)
		if err != nil || !same(t, back, state) {
			t.Errorf("%s: %v\n%v\n%v", name, err, back, state)
		}
	}
}

func TestEveryStatusAndEventTypeIsConverted(t *testing.T) {
	if len(statuses) != len(pb.WorkflowStatus_name) || len(statusOf) != len(statuses) {
		t.Error(statuses)
	}
	if len(eventTypes) != len(pb.EventType_name) || len(eventTypeOf) != len(eventTypes) {
		t.Error(eventTypes)
	}
}

func TestValuesThatAreNoJSONAreRefused(t *testing.T) {
	for _, state := range []workflow.WorkflowState{
		{Input: math.NaN()},
		{Result: func() {}},
		{History: []workflow.HistoryEvent{{SignalPayload: make(chan int)}}},
	} {
		if message, err := toMessage(state); err == nil {
			t.Errorf("it became %v", message)
		}
	}
}

func TestUseNumberKeepsEveryDigit(t *testing.T) {
	message := &pb.WorkflowState{InputJson: "9007199254740993", ResultJson: "1e400"}
	store := New(nil, Options{UseNumber: true})
	if state, err := store.fromMessage(message); err != nil || state.Input != json.Number("9007199254740993") {
		t.Error(state.Input, err)
	}
	if state, err := New(nil, Options{}).fromMessage(message); err == nil {
		t.Error(state.Result)
	}
}

// connected is a client of the server at WORKFLOWSTORE_ADDRESS, which has a bucket named conformance.
func connected(t *testing.T) (pb.WorkflowStoreClient, context.Context) {
	t.Helper()
	address := os.Getenv("WORKFLOWSTORE_ADDRESS")
	if address == "" {
		t.Skip("WORKFLOWSTORE_ADDRESS names no server")
	}
	conn, err := workflowstore.NewConn(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return pb.NewWorkflowStoreClient(conn), ctx
}

func TestGoldenDocumentsSurviveTheServer(t *testing.T) {
	client, ctx := connected(t)
	store := New(client, Options{Bucket: "conformance"})
	for name, state := range states(t) {
		state.WorkflowID = "beluga:" + rand.Text()
		err := store.Save(ctx, state)
		if year := state.CreatedAt.UTC().Year(); year < 1 || year > 9999 || name == "payload 501 levels" {
			if !errors.Is(err, workflowstore.ErrInvalidRequest) {
				t.Fatalf("%s: %v", name, err)
			}
			continue
		}
		if unknown(state) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := store.Load(ctx, state.WorkflowID)
		if err != nil || back == nil || !same(t, *back, state) {
			t.Errorf("%s: %v, %v", name, back, err)
		}
		if err := store.Delete(ctx, state.WorkflowID); err != nil {
			t.Error(err)
		}
	}
}

func TestContract(t *testing.T) {
	client, ctx := connected(t)
	var skipped []string
	store := New(client, Options{Bucket: "conformance", OnSkipped: func(id string, err error) {
		skipped = append(skipped, id+": "+err.Error())
	}})
	prefix := "beluga:" + rand.Text()
	id := func(suffix string) string { return prefix + suffix }

	if state, err := store.Load(ctx, id("a")); state != nil || err != nil {
		t.Error("what does not exist:", state, err)
	}
	if err := store.Delete(ctx, id("a")); err != nil {
		t.Error("deleting what does not exist:", err)
	}
	for suffix, state := range map[string]workflow.WorkflowState{
		"c": {Status: workflow.StatusRunning, Input: map[string]any{"n": 1.5}},
		"a": {Status: workflow.StatusRunning, History: []workflow.HistoryEvent{{ID: 1, Type: workflow.EventTimerFired}}},
		"b": {Status: workflow.StatusCanceled},
	} {
		state.WorkflowID = id(suffix)
		if err := store.Save(ctx, state); err != nil {
			t.Fatal(err)
		}
	}
	// A number that float64 cannot hold.
	_, err := client.Save(ctx, &pb.SaveRequest{
		Bucket: "conformance", State: &pb.WorkflowState{WorkflowId: id("d"), InputJson: "1e400"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Load(ctx, id("d")); err == nil {
		t.Error("1e400 was read")
	}

	listed := func(filter workflow.WorkflowFilter) (suffixes string) {
		t.Helper()
		states, err := store.List(ctx, filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range states {
			if suffix, ok := strings.CutPrefix(state.WorkflowID, prefix); ok {
				suffixes += suffix
				if suffix == "a" && len(state.History) != 1 || suffix == "c" && state.Input == nil {
					t.Error("a list leaves out inputs or histories:", state)
				}
			}
		}
		return suffixes
	}
	if found := listed(workflow.WorkflowFilter{}); found != "abc" {
		t.Error("listed", found)
	}
	if all := strings.Join(skipped, "\n"); !strings.Contains(all, id("d")) {
		t.Error("skipped", all)
	}
	if found := listed(workflow.WorkflowFilter{Status: workflow.StatusRunning}); found != "ac" {
		t.Error("running are", found)
	}
	if states, err := store.List(ctx, workflow.WorkflowFilter{Status: workflow.StatusRunning, Limit: 1}); len(states) != 1 {
		t.Error(states, err)
	}
	if _, err := store.List(ctx, workflow.WorkflowFilter{Status: "paused"}); err == nil {
		t.Error("an unknown status was taken")
	}
	if err := store.Save(ctx, workflow.WorkflowState{}); !errors.Is(err, workflowstore.ErrInvalidRequest) {
		t.Error("a state without an id:", err)
	}
	if _, err := New(client, Options{Bucket: "missing"}).Load(ctx, "a"); !errors.Is(err, workflowstore.ErrInvalidRequest) {
		t.Error("a bucket that is not served:", err)
	}
	_, err = client.DeleteBatch(ctx, &pb.DeleteBatchRequest{
		Bucket: "conformance", Filter: &pb.WorkflowFilter{WorkflowIdPrefix: prefix}, Limit: 100,
	})
	if err != nil {
		t.Error(err)
	}
	if states, err := store.Load(ctx, id("a")); states != nil || err != nil {
		t.Error(states, err)
	}
}
