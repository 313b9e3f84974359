"""What code that runs in a replica can know: which replica it is, and which request it works on.

Both are context variables: threads of synchronous user code run in a copy of the request's context, and tasks inherit it.
"""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.serve.exceptions import ServeError

if TYPE_CHECKING:
    from aktis.serve._protocol import ReplicaID, RequestMeta

# The request that this code runs on behalf of; None outside of requests. Handles and proxies read it with .get().
request_context: contextvars.ContextVar[RequestMeta | None] = contextvars.ContextVar(
    "aktis_serve_request", default=None
)

_replica_context: contextvars.ContextVar[ReplicaContext | None] = contextvars.ContextVar(
    "aktis_serve_replica", default=None
)
_serve_request_context = request_context  # its name in Ray, which programs use for the request id
_of_process: ReplicaContext | None = None  # where a process is one replica: threads that the user starts see it, too


@dataclass(frozen=True, kw_only=True)
class ReplicaContext:
    """Which replica this is: what :func:`aktis.serve.get_replica_context` gives."""

    app_name: str
    """The application (that of ``Deployment.deploy()`` has the deployment's name)."""
    deployment: str
    """The deployment's name."""
    replica_tag: str
    """This replica's name, unique in the session; as in logs and metrics."""
    replica_id: ReplicaID
    """The same, in parts."""
    servable_object: Any = None
    """The instance of the user's class, or the function. None while its constructor runs."""


def get_replica_context() -> ReplicaContext:
    """The context of the replica that runs this code.

    Raises:
        ServeError: this code does not run in a replica.
    """
    context = _replica_context.get() or _of_process
    if context is None:
        raise ServeError(
            "get_replica_context() was called outside of a replica. Only code of a deployment can call it."
        )
    return context


def set_replica_context(context: ReplicaContext | None, *, of_process: bool = False) -> None:
    """Sets what :func:`get_replica_context` gives, for this context; with ``of_process`` for all code of the process."""
    global _of_process
    _replica_context.set(context)
    if of_process:
        _of_process = context


__all__ = ["ReplicaContext", "get_replica_context", "request_context", "set_replica_context"]
