module workflowstore/beluga

go 1.24.0

require (
	github.com/lookatitude/beluga-ai/v2 v2.10.1
	google.golang.org/grpc v1.80.0
	google.golang.org/protobuf v1.36.11
	workflowstore v0.1.0
)

require (
	golang.org/x/net v0.49.0 // indirect
	golang.org/x/sys v0.40.0 // indirect
	golang.org/x/text v0.33.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260120221211-b8f7ae30c516 // indirect
)

// These hold for the tests here alone: Go ignores the replacements of a module that another one requires.
replace (
	github.com/lookatitude/beluga-ai/v2 => ./stub
	workflowstore => ../
)
