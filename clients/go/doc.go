// Package workflowstore is what a Go program needs beside the generated client of the workflowstore service: a connection
// that is set up for it, errors with fields, and JSON that keeps every digit. Messages and client are in workflowstorev1.
//
//	conn, err := workflowstore.NewConn("127.0.0.1:50051", grpc.WithTransportCredentials(insecure.NewCredentials()))
//	...
//	store := pb.NewWorkflowStoreClient(conn)
//	reply, err := store.Load(ctx, &pb.LoadRequest{WorkflowId: "order:42"})
//	if errors.Is(err, workflowstore.ErrWorkflowNotFound) {
//		...
//	}
package workflowstore
