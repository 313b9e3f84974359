"""What in an object cannot be sent to a worker, and where in it."""

from __future__ import annotations

from aktis._serialization.inspect import FailureTuple, inspect_serializability

__all__ = ["FailureTuple", "inspect_serializability"]
