package workflowstore

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	pb "workflowstore/workflowstorev1"
)

// scripted is a server that fails so often before it answers, and remembers what it was sent.
type scripted struct {
	pb.UnimplementedWorkflowStoreServer
	failures   []error
	requestIDs []string
	loaded     *pb.WorkflowState
}

func (s *scripted) next() error {
	if len(s.failures) == 0 {
		return nil
	}
	err := s.failures[0]
	s.failures = s.failures[1:]
	return err
}

func (s *scripted) Save(_ context.Context, request *pb.SaveRequest) (*pb.SaveResponse, error) {
	s.requestIDs = append(s.requestIDs, request.GetRequestId())
	if request.GetState().GetWorkflowId() != "a" || request.GetExpectedRevision() != 7 {
		return nil, errors.New("the request is not what was sent")
	}
	return &pb.SaveResponse{}, s.next()
}

func (s *scripted) Load(context.Context, *pb.LoadRequest) (*pb.LoadResponse, error) {
	return &pb.LoadResponse{State: s.loaded}, s.next()
}

func (s *scripted) List(_ *pb.ListRequest, stream grpc.ServerStreamingServer[pb.ListResponse]) error {
	if err := stream.Send(&pb.ListResponse{StoreRevision: 1}); err != nil {
		return err
	}
	return s.next()
}

func connected(t *testing.T, server *scripted, options ...grpc.DialOption) pb.WorkflowStoreClient {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	running := grpc.NewServer()
	pb.RegisterWorkflowStoreServer(running, server)
	go func() { _ = running.Serve(listener) }()
	t.Cleanup(running.Stop)
	options = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)
	conn, err := NewConn(listener.Addr().String(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewWorkflowStoreClient(conn)
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func request() *pb.SaveRequest {
	revision := uint64(7)
	return &pb.SaveRequest{State: &pb.WorkflowState{WorkflowId: "a"}, ExpectedRevision: &revision}
}

func TestUnavailableIsTriedAgainWithOneRequestID(t *testing.T) {
	server := &scripted{failures: []error{failed(t, codes.Unavailable)}}
	store := connected(t, server)
	sent := request()
	for range 2 {
		if _, err := store.Save(soon(t), sent); err != nil {
			t.Fatal(err)
		}
	}
	ids := server.requestIDs
	if len(ids) != 3 || len(ids[0]) < 26 || ids[0] != ids[1] || ids[1] == ids[2] {
		t.Error("the request ids were", ids)
	}
	if sent.GetRequestId() != "" {
		t.Error("the caller's message was changed")
	}
}

func TestRequestIDOfTheCallerIsKept(t *testing.T) {
	server := &scripted{}
	sent := request()
	sent.RequestId = "mine"
	if _, err := connected(t, server).Save(soon(t), sent); err != nil || !slices.Equal(server.requestIDs, []string{"mine"}) {
		t.Error(server.requestIDs, err)
	}
}

func TestTheCallersOptionsWin(t *testing.T) {
	server := &scripted{failures: []error{failed(t, codes.Unavailable)}}
	var seen error
	interceptor := func(
		ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
		options ...grpc.CallOption,
	) error {
		seen = invoke(ctx, method, request, reply, conn, options...)
		return seen
	}
	store := connected(t, server, grpc.WithDisableRetry(), grpc.WithChainUnaryInterceptor(interceptor))
	if _, err := store.Load(soon(t), &pb.LoadRequest{}); !errors.Is(err, seen) || seen == nil {
		t.Errorf("%v, of %v", err, seen)
	}
}

func TestFailuresAreTyped(t *testing.T) {
	mismatch := failed(t, codes.Aborted, info(ErrRevisionMismatch, nil))
	store := connected(t, &scripted{failures: []error{mismatch, mismatch}})
	var failure *Error
	_, err := store.Save(soon(t), request())
	if !errors.As(err, &failure) || !errors.Is(err, ErrRevisionMismatch) || failure.Outcome != NotApplied {
		t.Errorf("%#v", err)
	}
	_, err = store.Load(soon(t), &pb.LoadRequest{})
	if !errors.As(err, &failure) || failure.Outcome != "" {
		t.Errorf("a read has an outcome: %#v", err)
	}
}

func TestFailuresOfStreamsAreTyped(t *testing.T) {
	store := connected(t, &scripted{failures: []error{nil, failed(t, codes.Unavailable, info(ErrIndexBehind, nil))}})
	for _, end := range []error{io.EOF, ErrIndexBehind} {
		stream, err := store.List(soon(t), &pb.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if chunk, err := stream.Recv(); err != nil || chunk.GetStoreRevision() != 1 {
			t.Fatal(chunk, err)
		}
		if _, err := stream.Recv(); !errors.Is(err, end) {
			t.Errorf("%v, not %v", err, end)
		}
	}
}

func TestRepliesMayBeLarge(t *testing.T) {
	store := connected(t, &scripted{loaded: &pb.WorkflowState{Error: strings.Repeat("x", 5<<20)}})
	if _, err := store.Load(soon(t), &pb.LoadRequest{}); err != nil {
		t.Error(err)
	}
}
