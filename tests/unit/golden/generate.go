// Fills the "go" members of a file of documents with what encoding/json makes of each: read into Beluga AI's structs and
// written again, or null where it refuses. Run it after adding a document:
//
//	go run generate.go go_documents.json
//
// A document that is no UTF-8 stands in "document_base64".
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"os"
	"time"
)

// HistoryEvent and WorkflowState are those of lookatitude/beluga-ai, workflow/state.go.
type HistoryEvent struct {
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

type WorkflowState struct {
	WorkflowID string
	RunID      string
	Status     string
	Input      any
	Result     any
	Error      string
	History    []HistoryEvent
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

type testCase struct {
	Name           string  `json:"name"`
	Document       string  `json:"document"`
	DocumentBase64 []byte  `json:"document_base64,omitempty"`
	Go             *string `json:"go"`
}

func rewritten(document []byte) *string {
	var state WorkflowState
	if json.Unmarshal(document, &state) != nil {
		return nil
	}
	written, err := json.Marshal(state)
	if err != nil {
		return nil
	}
	text := string(written)
	return &text
}

func main() {
	path := os.Args[1]
	file, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	var cases []testCase
	if err := json.Unmarshal(file, &cases); err != nil {
		log.Fatal(err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	for i, c := range cases {
		document := c.DocumentBase64
		if document == nil {
			document = []byte(c.Document)
		}
		cases[i].Go = rewritten(document)
	}
	if err := encoder.Encode(cases); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
