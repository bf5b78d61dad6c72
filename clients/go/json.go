package workflowstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// EncodeJSON is the text of a value, for input_json, result_json and signal_payload_json. It takes what encoding/json takes,
// and keeps every digit of int64, uint64, *big.Int, json.Number and json.RawMessage. The error is that of encoding/json.
func EncodeJSON(value any) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	// The text is not meant for HTML, in which "<" would have to be escaped.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

// DecodeJSON stores the value of input_json, result_json or signal_payload_json in what into points to, as json.Unmarshal
// does, but for two things: numbers that go into an any become a json.Number, which keeps every digit, where json.Unmarshal
// makes a float64, which rounds integers beyond 2^53 and cannot hold 1e400; and the empty text is null. The error is that of
// encoding/json, or tells that something follows the value.
func DecodeJSON(text string, into any) error {
	if text == "" {
		text = "null"
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("workflowstore: text after the JSON value, at byte %d", decoder.InputOffset())
	}
	return nil
}
