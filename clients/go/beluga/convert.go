package beluga

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/lookatitude/beluga-ai/v2/workflow"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflowstore"
	pb "workflowstore/workflowstorev1"
)

var (
	statuses = map[workflow.WorkflowStatus]pb.WorkflowStatus{
		"":                       pb.WorkflowStatus_WORKFLOW_STATUS_UNSPECIFIED,
		workflow.StatusRunning:   pb.WorkflowStatus_WORKFLOW_STATUS_RUNNING,
		workflow.StatusCompleted: pb.WorkflowStatus_WORKFLOW_STATUS_COMPLETED,
		workflow.StatusFailed:    pb.WorkflowStatus_WORKFLOW_STATUS_FAILED,
		workflow.StatusCanceled:  pb.WorkflowStatus_WORKFLOW_STATUS_CANCELED,
	}
	eventTypes = map[workflow.EventType]pb.EventType{
		"":                              pb.EventType_EVENT_TYPE_UNSPECIFIED,
		workflow.EventWorkflowStarted:   pb.EventType_EVENT_TYPE_WORKFLOW_STARTED,
		workflow.EventActivityStarted:   pb.EventType_EVENT_TYPE_ACTIVITY_STARTED,
		workflow.EventActivityCompleted: pb.EventType_EVENT_TYPE_ACTIVITY_COMPLETED,
		workflow.EventActivityFailed:    pb.EventType_EVENT_TYPE_ACTIVITY_FAILED,
		workflow.EventSignalReceived:    pb.EventType_EVENT_TYPE_SIGNAL_RECEIVED,
		workflow.EventTimerFired:        pb.EventType_EVENT_TYPE_TIMER_FIRED,
		workflow.EventWorkflowCompleted: pb.EventType_EVENT_TYPE_WORKFLOW_COMPLETED,
		workflow.EventWorkflowFailed:    pb.EventType_EVENT_TYPE_WORKFLOW_FAILED,
		workflow.EventWorkflowCanceled:  pb.EventType_EVENT_TYPE_WORKFLOW_CANCELED,
	}
	statusOf    = inverted(statuses)
	eventTypeOf = inverted(eventTypes)
)

func inverted[K, V comparable](forward map[K]V) map[V]K {
	backward := make(map[V]K, len(forward))
	for key, value := range forward {
		backward[value] = key
	}
	return backward
}

func toStatus(status workflow.WorkflowStatus) (pb.WorkflowStatus, error) {
	value, ok := statuses[status]
	if !ok {
		return 0, fmt.Errorf("workflowstore: %q is no workflow status", status)
	}
	return value, nil
}

func toMessage(state workflow.WorkflowState) (*pb.WorkflowState, error) {
	status, err := toStatus(state.Status)
	if err != nil {
		return nil, err
	}
	message := &pb.WorkflowState{
		WorkflowId: state.WorkflowID,
		RunId:      state.RunID,
		Status:     status,
		Error:      state.Error,
		History:    make([]*pb.HistoryEvent, len(state.History)),
		// Given even where it is zero: Beluga does not know it then, and the server would take an absent one for now.
		CreatedAt: timestamppb.New(state.CreatedAt),
		UpdatedAt: timestamppb.New(state.UpdatedAt),
	}
	if message.InputJson, err = encoded("input", state.Input); err != nil {
		return nil, err
	}
	if message.ResultJson, err = encoded("result", state.Result); err != nil {
		return nil, err
	}
	for index, event := range state.History {
		if message.History[index], err = toEvent(event); err != nil {
			return nil, fmt.Errorf("event %d of the history: %w", index, err)
		}
	}
	return message, nil
}

func toEvent(event workflow.HistoryEvent) (*pb.HistoryEvent, error) {
	kind, ok := eventTypes[event.Type]
	if !ok {
		return nil, fmt.Errorf("workflowstore: %q is no event type", event.Type)
	}
	message := &pb.HistoryEvent{
		Id:           int64(event.ID),
		Type:         kind,
		Timestamp:    timestamppb.New(event.Timestamp),
		ActivityName: event.ActivityName,
		Error:        event.Error,
		SignalName:   event.SignalName,
		Duration:     durationpb.New(event.Duration),
	}
	var err error
	if message.InputJson, err = encoded("input", event.Input); err != nil {
		return nil, err
	}
	if message.ResultJson, err = encoded("result", event.Result); err != nil {
		return nil, err
	}
	message.SignalPayloadJson, err = encoded("signal payload", event.SignalPayload)
	return message, err
}

func (s *Store) fromMessage(message *pb.WorkflowState) (workflow.WorkflowState, error) {
	state := workflow.WorkflowState{
		WorkflowID: message.GetWorkflowId(),
		RunID:      message.GetRunId(),
		Status:     statusOf[message.GetStatus()],
		Error:      message.GetError(),
		CreatedAt:  toTime(message.GetCreatedAt()),
		UpdatedAt:  toTime(message.GetUpdatedAt()),
	}
	var err error
	if state.Input, err = s.decoded("input", message.GetInputJson()); err != nil {
		return state, err
	}
	if state.Result, err = s.decoded("result", message.GetResultJson()); err != nil {
		return state, err
	}
	for index, event := range message.GetHistory() {
		converted, err := s.fromEvent(event)
		if err != nil {
			return state, fmt.Errorf("event %d of the history: %w", index, err)
		}
		state.History = append(state.History, converted)
	}
	return state, nil
}

func (s *Store) fromEvent(message *pb.HistoryEvent) (workflow.HistoryEvent, error) {
	event := workflow.HistoryEvent{
		ID:           int(message.GetId()),
		Type:         eventTypeOf[message.GetType()],
		Timestamp:    toTime(message.GetTimestamp()),
		ActivityName: message.GetActivityName(),
		Error:        message.GetError(),
		SignalName:   message.GetSignalName(),
		Duration:     message.GetDuration().AsDuration(),
	}
	var err error
	if event.Input, err = s.decoded("input", message.GetInputJson()); err != nil {
		return event, err
	}
	if event.Result, err = s.decoded("result", message.GetResultJson()); err != nil {
		return event, err
	}
	event.SignalPayload, err = s.decoded("signal payload", message.GetSignalPayloadJson())
	return event, err
}

// toTime makes Go's zero time of an absent one, of which AsTime would make 1970.
func toTime(message *timestamppb.Timestamp) time.Time {
	if message == nil {
		return time.Time{}
	}
	return message.AsTime()
}

func encoded(what string, value any) (string, error) {
	text, err := workflowstore.EncodeJSON(value)
	if err != nil {
		return "", fmt.Errorf("workflowstore: %s: %w", what, err)
	}
	return text, nil
}

func (s *Store) decoded(what, text string) (value any, err error) {
	switch {
	case text == "":
	case s.options.UseNumber:
		err = workflowstore.DecodeJSON(text, &value)
	default:
		err = json.Unmarshal([]byte(text), &value)
	}
	if err != nil {
		return nil, fmt.Errorf("workflowstore: %s: %w", what, err)
	}
	return value, nil
}
