"""Where programs look for the modules of Ray's own gRPC services."""
