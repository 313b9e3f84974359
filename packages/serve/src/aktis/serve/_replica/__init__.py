"""The process that runs user code: takes a request or rejects it."""
