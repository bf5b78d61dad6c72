package workflowstore

import (
	"context"
	"crypto/rand"
	_ "embed"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// A chunk of a List is one state and 1 MiB, and a state is less than the 64 MiB that a NATS message may have at most.
	// gRPC's own limit of 4 MiB would refuse what a server may well send.
	replyBytesMax = 64 << 20

	// The largest request that is tried again. The largest that a server takes is a batch of 8 MiB; gRPC's own 256 KiB would
	// keep larger ones from ever being tried again.
	retryBytesMax = 16 << 20
)

// The retry policy that is published for all languages; generate.sh copies it.
//
//go:embed service_config.json
var serviceConfig string

// NewConn is grpc.NewClient with what this service wants:
//
//   - the published service config, by which gRPC itself tries unary calls again that fail as UNAVAILABLE, within the
//     deadline of the call;
//   - replies of up to 64 MiB;
//   - attempts to connect that are at most 2 s apart, so that a server that was restarted is found soon;
//   - a request_id of its own for each write that has none, so that trying it again is safe (your message is not changed);
//   - errors that are an [*Error], for errors.As and errors.Is; the status package understands them as before.
//
// Everything else is yours. Options are those of grpc.NewClient, of which transport credentials are required, and win over
// the ones here: grpc.WithDisableRetry(), for example, turns the retries off. An interceptor given by
// grpc.WithChainUnaryInterceptor runs within the ones here, and so sees the request_id, and errors as gRPC makes them.
//
// Like grpc.NewClient it does not connect yet. The error is that of grpc.NewClient. Close the connection after use.
func NewConn(target string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay = 100 * time.Millisecond
	reconnect.MaxDelay = 2 * time.Second
	defaults := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(replyBytesMax),
			grpc.MaxRetryRPCBufferSize(retryBytesMax),
		),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 20 * time.Second}),
		grpc.WithChainUnaryInterceptor(typedErrors, requestIDs),
		grpc.WithChainStreamInterceptor(typedStreamErrors),
	}
	return grpc.NewClient(target, append(defaults, options...)...)
}

func typedErrors(
	ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	err := invoke(ctx, method, request, reply, conn, options...)
	if failure := FromError(err); failure != nil {
		if !writes(method) {
			failure.Outcome = ""
		}
		return failure
	}
	return err
}

// requestIDs runs once for a call, however often gRPC tries it.
func requestIDs(
	ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	if message, ok := request.(proto.Message); ok {
		request = withRequestID(message)
	}
	return invoke(ctx, method, request, reply, conn, options...)
}

// withRequestID gives a request that could have a request_id and has none a random one. It does so in a copy: in the
// caller's message, the id would stay for the next call that is made with it, which is another one. The copy is shallow,
// because nobody changes what it shares.
func withRequestID(message proto.Message) proto.Message {
	original := message.ProtoReflect()
	field := original.Descriptor().Fields().ByName("request_id")
	if field == nil || original.Has(field) {
		return message
	}
	request := original.New()
	original.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		request.Set(field, value)
		return true
	})
	request.Set(field, protoreflect.ValueOfString(rand.Text()))
	return request.Interface()
}

func typedStreamErrors(
	ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer,
	options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, conn, method, options...)
	if err != nil {
		return nil, readError(err)
	}
	return &typedStream{stream}, nil
}

type typedStream struct{ grpc.ClientStream }

func (s *typedStream) RecvMsg(message any) error {
	return readError(s.ClientStream.RecvMsg(message))
}

// readError leaves io.EOF and nil as they are. All streams of the service read.
func readError(err error) error {
	if failure := FromError(err); failure != nil {
		failure.Outcome = ""
		return failure
	}
	return err
}
