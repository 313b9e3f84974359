"""The HTTP edge: an actor that takes clients' connections and passes their requests to replicas."""
