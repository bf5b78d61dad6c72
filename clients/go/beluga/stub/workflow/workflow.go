// Package workflow declares of Beluga AI's package of this name what the adapter uses, so that it can be compiled and tested
// without Beluga AI. It is written from the contract and holds no code of theirs; programs get the real package.
package workflow

import (
	"context"
	"time"
)

type (
	WorkflowStatus string
	EventType      string
)

const (
	StatusRunning   WorkflowStatus = "running"
	StatusCompleted WorkflowStatus = "completed"
	StatusFailed    WorkflowStatus = "failed"
	StatusCanceled  WorkflowStatus = "canceled"

	EventWorkflowStarted   EventType = "workflow_started"
	EventActivityStarted   EventType = "activity_started"
	EventActivityCompleted EventType = "activity_completed"
	EventActivityFailed    EventType = "activity_failed"
	EventSignalReceived    EventType = "signal_received"
	EventTimerFired        EventType = "timer_fired"
	EventWorkflowCompleted EventType = "workflow_completed"
	EventWorkflowFailed    EventType = "workflow_failed"
	EventWorkflowCanceled  EventType = "workflow_canceled"
)

type WorkflowState struct {
	WorkflowID string
	RunID      string
	Status     WorkflowStatus
	Input      any
	Result     any
	Error      string
	History    []HistoryEvent
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

type HistoryEvent struct {
	ID            int
	Type          EventType
	Timestamp     time.Time
	ActivityName  string
	Input         any
	Result        any
	Error         string
	SignalName    string
	SignalPayload any
	Duration      time.Duration
}

type WorkflowFilter struct {
	Status WorkflowStatus
	Limit  int
}

type WorkflowStore interface {
	Save(ctx context.Context, state WorkflowState) error
	Load(ctx context.Context, workflowID string) (*WorkflowState, error)
	List(ctx context.Context, filter WorkflowFilter) ([]WorkflowState, error)
	Delete(ctx context.Context, workflowID string) error
}
