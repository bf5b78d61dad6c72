// Command go_provider prints what a List costs that asks for all keys of a bucket and then gets their documents one by
// one: how the Go package workflow/providers/nats of github.com/lookatitude/beluga-ai/v2 lists. It makes the calls of
// that package's List with the version of nats.go that the package pins; it is not the package itself, whose store
// would set the configuration of the bucket when it is opened.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// workflowState is a stored document.
type workflowState struct {
	WorkflowID string
	RunID      string
	Status     string
	Input      any
	Result     any
	Error      string
	History    []historyEvent
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

type historyEvent struct {
	ID            int
	Type          string
	Timestamp     time.Time
	ActivityName  string
	Input         any
	Result        any
	Error         string
	SignalName    string
	SignalPayload any
	Duration      time.Duration
}

// result is what is printed. Times are seconds; the processor's is that of this process during the gets.
type result struct {
	Keys        int     `json:"keys"`
	KeysSeconds float64 `json:"keys_seconds"`
	Gets        int     `json:"gets"`
	GetsSeconds float64 `json:"gets_seconds"`
	CPUSeconds  float64 `json:"cpu_seconds"`
}

func main() {
	url := flag.String("url", nats.DefaultURL, "nats-server")
	bucket := flag.String("bucket", "beluga_workflows", "bucket to list")
	getsMax := flag.Int("gets", 0, "how many documents to get; 0 = all")
	flag.Parse()
	measured, err := measure(context.Background(), *url, *bucket, *getsMax)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(measured); err != nil {
		log.Fatal(err)
	}
}

func measure(ctx context.Context, url, bucket string, getsMax int) (result, error) {
	var measured result
	connection, err := nats.Connect(url)
	if err != nil {
		return measured, fmt.Errorf("connect: %w", err)
	}
	defer connection.Close()
	stream, err := jetstream.New(connection)
	if err != nil {
		return measured, fmt.Errorf("jetstream: %w", err)
	}
	store, err := stream.KeyValue(ctx, bucket)
	if err != nil {
		return measured, fmt.Errorf("bucket %s: %w", bucket, err)
	}

	begun := time.Now()
	keys, err := store.Keys(ctx)
	if err != nil {
		return measured, fmt.Errorf("keys: %w", err)
	}
	measured.Keys, measured.KeysSeconds = len(keys), time.Since(begun).Seconds()
	if 0 < getsMax && getsMax < len(keys) {
		keys = keys[:getsMax]
	}

	var states []workflowState
	usedBefore := processorSeconds()
	begun = time.Now()
	for _, key := range keys {
		entry, err := store.Get(ctx, key)
		if err != nil {
			return measured, fmt.Errorf("get %s: %w", key, err)
		}
		var state workflowState
		if err := json.Unmarshal(entry.Value(), &state); err != nil {
			return measured, fmt.Errorf("decode %s: %w", key, err)
		}
		states = append(states, state)
	}
	measured.Gets, measured.GetsSeconds = len(states), time.Since(begun).Seconds()
	measured.CPUSeconds = processorSeconds() - usedBefore
	return measured, nil
}

func processorSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func seconds(value syscall.Timeval) float64 {
	return float64(value.Sec) + float64(value.Usec)/1e6
}
