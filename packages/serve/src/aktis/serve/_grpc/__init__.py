"""gRPC: a server in the proxies' loop, adapters in replicas, messages of Ray's own services. Nothing of it is imported before it is used."""
