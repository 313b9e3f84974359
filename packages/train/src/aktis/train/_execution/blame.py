"""Whether an error is the cause of a failure, or what another worker's end looks like from afar."""

from __future__ import annotations

from aktis import exceptions
from aktis.train._execution.rounds import Kind

__all__ = ["kind_of"]

_DEAD = (
    exceptions.AktisActorError, exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError,
)  # fmt: skip
_TYPES = frozenset({"DistBackendError", "DistNetworkError", "DistStoreError", "UnavailableError", "BrokenBarrierError"})
_PHRASES = (
    "connection closed by peer", "connection reset by peer", "connection refused", "broken pipe", "socket timeout",
    "timed out waiting", "gloo", "nccl", "collective operation", "rabit", "collective ops", "tracker", "remote end closed",
    "failed to recv", "failed to send", "application timeout", "peer is gone",
)  # fmt: skip


def kind_of(error: BaseException) -> Kind:
    """What the error of a worker says about it."""
    if isinstance(error, _DEAD) and not isinstance(error, exceptions.AktisTaskError):
        return Kind.LOST
    cause: BaseException = getattr(error, "cause", None) or error
    if isinstance(cause, ConnectionError) or any(cls.__name__ in _TYPES for cls in type(cause).__mro__):
        return Kind.CONSEQUENCE
    text = str(cause).lower()
    is_general = type(cause).__name__ in ("RuntimeError", "XGBoostError", "LightGBMError", "OSError", "TimeoutError")
    return Kind.CONSEQUENCE if is_general and any(phrase in text for phrase in _PHRASES) else Kind.ERROR
