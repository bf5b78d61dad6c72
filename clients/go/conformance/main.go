// Conformance runs the cases that all clients share against a server.
//
//	go run ./conformance --address HOST:PORT --cases PATH/cases.json
//
// It prints a line for each case that fails, with the difference, and the numbers of those that passed and failed, and exits
// with 1 if one has failed.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"workflowstore"
	pb "workflowstore/workflowstorev1"
)

// Ends a call that hangs.
const callTimeout = 30 * time.Second

type testCase struct {
	Name  string `json:"name"`
	Steps []step `json:"steps"`
}

type step struct {
	Call     string            `json:"call"`
	Request  any               `json:"request"`
	Response any               `json:"response"`
	Error    any               `json:"error"`
	Messages int               `json:"messages"`
	Bind     map[string]string `json:"bind"`
}

type expectedError struct {
	Code     string            `json:"code"`
	Reason   string            `json:"reason"`
	Metadata map[string]string `json:"metadata"`
	Fields   []string          `json:"fields"`
}

func main() {
	address := flag.String("address", "127.0.0.1:50051", "where the server listens")
	path := flag.String("cases", "cases.json", "the file of cases")
	flag.Parse()
	var file struct {
		Cases []testCase `json:"cases"`
	}
	text, err := os.ReadFile(*path)
	if err == nil {
		err = decode(text, &file)
	}
	if err != nil {
		log.Fatal(err)
	}
	conn, err := workflowstore.NewConn(*address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	failed := 0
	for _, each := range file.Cases {
		if err := run(conn, each); err != nil {
			fmt.Printf("%s: %v\n", each.Name, err)
			failed++
		}
	}
	fmt.Printf("%d cases passed, %d failed\n", len(file.Cases)-failed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}

func run(conn *grpc.ClientConn, each testCase) error {
	variables := map[string]string{"case": "go-" + strings.ToLower(rand.Text())}
	for number, step := range each.Steps {
		if err := runStep(conn, step, variables); err != nil {
			return fmt.Errorf("step %d, %s: %w", number+1, step.Call, err)
		}
	}
	return nil
}

func runStep(conn *grpc.ClientConn, step step, variables map[string]string) error {
	methods := pb.File_workflowstore_v1_workflow_store_proto.Services().ByName("WorkflowStore").Methods()
	method := methods.ByName(protoreflect.Name(step.Call))
	if method == nil {
		return errors.New("there is no such call")
	}
	for _, part := range []*any{&step.Request, &step.Response, &step.Error} {
		var err error
		if *part, err = substituted(*part, variables); err != nil {
			return err
		}
	}
	request, err := parsed(method.Input(), step.Request)
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	reply, err := call(conn, method, request, step.Messages)
	if step.Error != nil {
		return compareError(step.Error, err)
	}
	if err != nil {
		return err
	}
	if step.Response != nil {
		expected, err := parsed(method.Output(), step.Response)
		if err != nil {
			return fmt.Errorf("response: %w", err)
		}
		if err := compareMessage("", step.Response, expected.ProtoReflect(), reply.ProtoReflect()); err != nil {
			return err
		}
	}
	return bind(reply, step.Bind, variables)
}

// call gives the reply, or the messages of a stream merged into one.
func call(conn *grpc.ClientConn, method protoreflect.MethodDescriptor, request proto.Message, messages int) (proto.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	merged := kind.New()
	if !method.IsStreamingServer() {
		return merged.Interface(), conn.Invoke(ctx, name, request, merged.Interface())
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, name)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	for read := 0; messages == 0 || read < messages; read++ {
		message := kind.New()
		if err := stream.RecvMsg(message.Interface()); errors.Is(err, io.EOF) {
			if messages > 0 {
				return nil, fmt.Errorf("the stream ended after %d messages", read)
			}
			break
		} else if err != nil {
			return nil, err
		}
		merge(merged, message)
	}
	return merged.Interface(), nil
}

// merge concatenates lists and replaces everything else. proto.Merge would mix two times.
func merge(merged, message protoreflect.Message) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if !field.IsList() {
			merged.Set(field, value)
			return true
		}
		list := merged.Mutable(field).List()
		for index := range value.List().Len() {
			list.Append(value.List().Get(index))
		}
		return true
	})
}

// compareMessage compares what raw, the JSON of expected, mentions. raw also tells what must be absent.
func compareMessage(path string, raw any, expected, actual protoreflect.Message) error {
	members, ok := raw.(map[string]any)
	if !ok || strings.HasPrefix(string(expected.Descriptor().FullName()), "google.protobuf.") {
		// A time or the like: text that has become a message.
		if !proto.Equal(expected.Interface(), actual.Interface()) {
			return difference(path, protojson.Format(expected.Interface()), protojson.Format(actual.Interface()))
		}
		return nil
	}
	for name, raw := range members {
		field := expected.Descriptor().Fields().ByTextName(name)
		if field == nil {
			field = expected.Descriptor().Fields().ByJSONName(name)
		}
		path := strings.TrimPrefix(path+"."+string(field.Name()), ".")
		if raw == nil {
			if actual.Has(field) {
				return difference(path, "nothing", actual.Get(field))
			}
			continue
		}
		if field.HasPresence() && !actual.Has(field) {
			return difference(path, expected.Get(field), "nothing")
		}
		if err := compareField(path, field, raw, expected.Get(field), actual.Get(field)); err != nil {
			return err
		}
	}
	return nil
}

func compareField(path string, field protoreflect.FieldDescriptor, raw any, expected, actual protoreflect.Value) error {
	switch {
	case field.IsMap():
		for name, raw := range raw.(map[string]any) {
			key := protoreflect.ValueOfString(name).MapKey()
			path := path + "." + name
			if raw == nil {
				if actual.Map().Has(key) {
					return difference(path, "nothing", actual.Map().Get(key))
				}
				continue
			}
			if !actual.Map().Has(key) {
				return difference(path, raw, "nothing")
			}
			err := compareValue(path, field.MapValue(), raw, expected.Map().Get(key), actual.Map().Get(key))
			if err != nil {
				return err
			}
		}
		return nil
	case field.IsList():
		if expected.List().Len() != actual.List().Len() {
			return difference(path+" (length)", expected.List().Len(), actual.List().Len())
		}
		for index, raw := range raw.([]any) {
			path := fmt.Sprintf("%s.%d", path, index)
			err := compareValue(path, field, raw, expected.List().Get(index), actual.List().Get(index))
			if err != nil {
				return err
			}
		}
		return nil
	}
	return compareValue(path, field, raw, expected, actual)
}

func compareValue(path string, field protoreflect.FieldDescriptor, raw any, expected, actual protoreflect.Value) error {
	if field.Message() != nil {
		return compareMessage(path, raw, expected.Message(), actual.Message())
	}
	if !expected.Equal(actual) {
		return difference(path, expected, actual)
	}
	return nil
}

func compareError(raw any, err error) error {
	var expected expectedError
	text, _ := json.Marshal(raw)
	if err := json.Unmarshal(text, &expected); err != nil {
		return err
	}
	if err == nil {
		return difference("error", expected.Code, "none")
	}
	actual := workflowstore.FromError(err)
	if actual == nil {
		return err
	}
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(strconv.Quote(expected.Code))); err != nil {
		return err
	}
	if code != actual.Code {
		return difference("error code", code, err)
	}
	if expected.Reason != "" && expected.Reason != string(actual.Reason) {
		return difference("error reason", expected.Reason, err)
	}
	for key, value := range expected.Metadata {
		if found, ok := actual.Metadata[key]; !ok || found != value {
			return difference("error metadata "+key, value, actual.Metadata)
		}
	}
	if expected.Fields == nil {
		return nil
	}
	var fields []string
	for _, violation := range actual.Violations {
		fields = append(fields, violation.GetField())
	}
	slices.Sort(fields)
	slices.Sort(expected.Fields)
	if !slices.Equal(slices.Compact(fields), slices.Compact(expected.Fields)) {
		return difference("error fields", expected.Fields, fields)
	}
	return nil
}

func bind(reply proto.Message, paths, variables map[string]string) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(reply)
	if err != nil {
		return err
	}
	var tree any
	if err := decode(text, &tree); err != nil {
		return err
	}
	for name, path := range paths {
		value := tree
		for _, part := range strings.Split(path, ".") {
			switch container := value.(type) {
			case map[string]any:
				value = container[part]
			case []any:
				index, err := strconv.Atoi(part)
				if err != nil || index < 0 || index >= len(container) {
					return fmt.Errorf("bind %s: the list has %d items", path, len(container))
				}
				value = container[index]
			default:
				value = nil
			}
		}
		if value == nil {
			return fmt.Errorf("bind %s: it is not in the reply", path)
		}
		variables[name] = fmt.Sprint(value)
	}
	return nil
}

var variable = regexp.MustCompile(`\$\{(?:repeat:([^:}]*):(\d+)|(\w+))\}`)

// substituted is a JSON value with the variables in its texts replaced; names of members stay.
func substituted(value any, variables map[string]string) (any, error) {
	var unknown error
	replace := func(found string) string {
		parts := variable.FindStringSubmatch(found)
		if count, err := strconv.Atoi(parts[2]); err == nil {
			return strings.Repeat(parts[1], count)
		}
		value, ok := variables[parts[3]]
		if !ok {
			unknown = fmt.Errorf("there is no variable %s", found)
		}
		return value
	}
	var walk func(value any) any
	walk = func(value any) any {
		switch value := value.(type) {
		case string:
			return variable.ReplaceAllStringFunc(value, replace)
		case []any:
			items := make([]any, len(value))
			for index, item := range value {
				items[index] = walk(item)
			}
			return items
		case map[string]any:
			members := make(map[string]any, len(value))
			for name, member := range value {
				members[name] = walk(member)
			}
			return members
		}
		return value
	}
	return walk(value), unknown
}

// withoutNulls is a JSON value without the members that are null: what is expected to be absent.
func withoutNulls(value any) any {
	switch value := value.(type) {
	case []any:
		items := make([]any, len(value))
		for index, item := range value {
			items[index] = withoutNulls(item)
		}
		return items
	case map[string]any:
		members := make(map[string]any, len(value))
		for name, member := range value {
			if member != nil {
				members[name] = withoutNulls(member)
			}
		}
		return members
	}
	return value
}

// parsed is the message of a JSON value.
func parsed(descriptor protoreflect.MessageDescriptor, value any) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil, err
	}
	if value == nil {
		value = map[string]any{}
	}
	text, err := json.Marshal(withoutNulls(value))
	if err != nil {
		return nil, err
	}
	message := kind.New().Interface()
	return message, protojson.Unmarshal(text, message)
}

func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	// Numbers stay as they are written.
	decoder.UseNumber()
	return decoder.Decode(into)
}

func difference(what string, expected, actual any) error {
	return fmt.Errorf("%s: expected %s, got %s", what, short(expected), short(actual))
}

func short(value any) string {
	text := fmt.Sprint(value)
	if len(text) > 200 {
		text = text[:200] + "..."
	}
	return text
}
