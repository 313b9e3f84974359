"""gRPC: a server in the proxies' loop, adapters in replicas, messages of Ray's own services. Imported where it is used."""
