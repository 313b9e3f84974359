"""What Serve tells about itself: metrics, access log, tracing, and the page at ``/-/aktis``."""
