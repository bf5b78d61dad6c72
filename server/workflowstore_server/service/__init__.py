"""The gRPC face of the stores."""
