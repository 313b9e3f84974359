"""Everything that Serve raises by itself. What user code raises reaches callers as core passes it on (``AktisTaskError``).

::

    AktisError
    └── ServeError                          root; its name in Ray: RayServeException
        ├── ServeNotRunningError            nobody called serve.start() or serve.run(), or serve.shutdown() was called
        ├── InvalidDeploymentError          (ValueError) options, graphs or routes that cannot work; says which and why
        ├── DeploymentFailedError           an application could not be started; has the user's traceback
        ├── DeploymentNotFoundError         (KeyError) no deployment, or no application, of this name
        ├── BackPressureError               ``max_queued_requests`` wait already: try again later (HTTP: 503)
        ├── DeploymentUnavailableError      deleted, or it cannot get replicas (HTTP: 503)
        ├── RequestTimeoutError             (TimeoutError) ``request_timeout_s`` is over (HTTP: 408)
        └── RequestCancelledError           the client left, or ``response.cancel()`` was called

All of them can be pickled, and keep what they know.
"""

from __future__ import annotations

from typing import Any

from aktis.exceptions import AktisError


class ServeError(AktisError):
    """Root of what Serve raises."""


class ServeNotRunningError(ServeError):
    """There is no Serve instance in this session. Call ``serve.start()`` or ``serve.run(app)``."""

    _default = "Serve is not running in this session. Start it with serve.start() or serve.run(app)."


class InvalidDeploymentError(ServeError, ValueError):
    """A deployment, a graph or a route that cannot work. Raised at once where it is written, before anything starts."""


class DeploymentFailedError(ServeError, RuntimeError):
    """An application could not be started.

    Args:
        message: what happened.
        application: name of the application.
        deployment: name of the deployment that failed; "" when none is to blame.
        user_traceback: the traceback of the user's code, as text; "" when it was not the user's code.
    """

    def __init__(
        self, message: str = "", *, application: str = "", deployment: str = "", user_traceback: str = ""
    ) -> None:
        text = message
        if user_traceback and user_traceback.strip() not in message:
            text = f"{message}\n\n{user_traceback.rstrip()}"
        super().__init__(text)
        self.message = message
        self.application = application
        self.deployment = deployment
        self.user_traceback = user_traceback


class DeploymentNotFoundError(ServeError, KeyError):
    """There is no deployment, or no application, of this name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # a KeyError would show the message in quotes

    @classmethod
    def of(cls, what: str, name: str, known: Any) -> DeploymentNotFoundError:
        """The error for an unknown ``name``; ``known`` are the names that there are."""
        there = ", ".join(repr(each) for each in sorted(known)) or "none"
        return cls(f"There is no {what} {name!r}. There are: {there}.")


class BackPressureError(ServeError):
    """As many requests as ``max_queued_requests`` allows wait for this deployment already: this one was not taken.

    Try again later, or raise ``max_queued_requests``, ``max_ongoing_requests`` or the number of replicas.
    """

    def __init__(
        self,
        num_queued_requests: int = 0,
        max_queued_requests: int = 0,
        deployment: str = "",
        status_code: int = 503,
        retry_after_s: float | None = None,
    ) -> None:
        of = f" of deployment {deployment!r}" if deployment else ""
        super().__init__(
            f"Request dropped: {num_queued_requests} requests{of} wait already, and max_queued_requests is "
            f"{max_queued_requests}. Try again later."
        )
        self.num_queued_requests = num_queued_requests
        self.max_queued_requests = max_queued_requests
        self.deployment = deployment
        self.status_code = status_code  # for clients over HTTP, as retry_after_s: see BackpressureConfig
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        """The text, as in Ray."""
        return str(self)


class DeploymentUnavailableError(ServeError):
    """The deployment has no replicas and will get none by itself: it was deleted, or it could not be started.

    Args:
        deployment: its name (``app#name``).
        reason: why; "" when it was deleted.
    """

    def __init__(self, deployment: Any = "", reason: str = "") -> None:
        name = str(deployment)
        super().__init__(f"Deployment {name!r} is not available: {reason or 'it was deleted, or never deployed'}.")
        self.deployment = name
        self.reason = reason


class RequestTimeoutError(ServeError, TimeoutError):
    """A request took longer than ``request_timeout_s``.

    Args:
        request_id: of the request.
        timeout_s: the limit that it had, in seconds.
    """

    def __init__(self, request_id: str = "", timeout_s: float | None = None) -> None:
        limit = "" if timeout_s is None else f" within {timeout_s:g} s"
        super().__init__(f"Request {request_id} was not done{limit}." if request_id else f"Not done{limit}.")
        self.request_id = request_id
        self.timeout_s = timeout_s


class RequestCancelledError(ServeError):
    """The request was cancelled: its client left, or ``response.cancel()`` was called."""

    def __init__(self, request_id: str = "") -> None:
        super().__init__(f"Request {request_id} was cancelled." if request_id else "The request was cancelled.")
        self.request_id = request_id


RayServeException = ServeError
RayServeTimeout = RequestTimeoutError

__all__ = [
    "BackPressureError",
    "DeploymentFailedError",
    "DeploymentNotFoundError",
    "DeploymentUnavailableError",
    "InvalidDeploymentError",
    "RayServeException",
    "RayServeTimeout",
    "RequestCancelledError",
    "RequestTimeoutError",
    "ServeError",
    "ServeNotRunningError",
]
