"""What runs in every driver and worker of the native engine: see docs/internals.md."""
