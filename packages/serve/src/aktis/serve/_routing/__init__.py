"""Which replica gets a request. See docs/internals-serve.md."""
