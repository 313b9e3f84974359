"""The driver's side of Serve: the session, the controller, and what its answers mean."""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aktis
from aktis.exceptions import AktisError
from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE, ApplicationSpec, ApplicationState, DeploymentState
from aktis.serve.config import ApplicationStatus, HTTPOptions, LoggingConfig, ServeStatus, gRPCOptions
from aktis.serve.exceptions import (
    DeploymentFailedError,
    DeploymentNotFoundError,
    InvalidDeploymentError,
    ServeNotRunningError,
)

if TYPE_CHECKING:
    from aktis.serve.route_traffic import Traffic

logger = logging.getLogger("aktis.serve")
refused = ""  # why code in this process must not deploy: while a module is imported for somebody else who does
# What all processes of Serve import: once, in the process that they are forked from, when the session is ours.
# Not what HTTP takes (uvicorn): the proxy imports that while replicas start, and all others would have it in their memory.
_PRELOAD = ("aktis.serve._controller.actor", "aktis.serve._proxy.dispatch", "aktis.serve._replica.actor")
_POLL_S = 1.0  # how often progress is shown while an application starts


@dataclass
class ServeClient:
    """The Serve instance of this session: what ``serve.start()`` gives."""

    controller: Any
    session: str
    http: list[tuple[str, int]] = field(default_factory=list)
    grpc: list[tuple[str, int]] = field(default_factory=list)
    http_options: HTTPOptions = field(default_factory=HTTPOptions)
    logging_config: LoggingConfig | None = None

    # Facts -----------------------------------------------------------------------------------------------------------

    @property
    def root_url(self) -> str | None:
        """Where clients reach it, without a slash at the end; None when there is no proxy."""
        if self.http_options.root_url:
            return self.http_options.root_url
        if not self.http:
            return None
        host, port = self.http[0]
        scheme = "https" if self.http_options.ssl_certfile else "http"
        host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{port}{self.http_options.root_path}"

    def status(self) -> ServeStatus:
        """All applications and proxies."""
        found: ServeStatus = self._ask("status")
        return found

    get_serve_status = status

    def traffic(self) -> Traffic:
        """Requests and latencies of each route since its proxies started."""
        from aktis.serve.route_traffic import Traffic

        proxies = self._ask("details")["proxies"].values()
        return Traffic.of([proxy["stats"] for proxy in proxies])

    def application(self, name: str) -> ApplicationStatus:
        """The status of one. Raises DeploymentNotFoundError when there is none of this name."""
        found = self.status().applications
        if name not in found:
            raise DeploymentNotFoundError.of("application", name, found)
        return found[name]

    # Deploying -------------------------------------------------------------------------------------------------------

    def deploy(self, specs: list[ApplicationSpec], *, replace_all: bool = False) -> None:
        """Journals what is wanted. Raises at once when it cannot be (two applications on one route)."""
        if refused:
            raise InvalidDeploymentError(refused)
        self._ask("deploy_applications", specs, replace_all=replace_all)

    def wait(self, name: str, timeout_s: float | None = None) -> ApplicationStatus:
        """Waits until an application runs.

        Raises:
            DeploymentFailedError: it cannot be started, with the user's traceback.
            TimeoutError: it does not run after ``timeout_s``.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with _Progress(name) as progress:
            while True:
                status: ApplicationStatus = self._ask("wait_application", name, _POLL_S)
                if status.status is ApplicationState.RUNNING:
                    return status
                if status.status is ApplicationState.DEPLOY_FAILED:
                    raise failure(status)
                if status.status in (ApplicationState.DELETING, ApplicationState.NOT_STARTED):
                    raise DeploymentFailedError(f"Application {name!r} was deleted before it ran.", application=name)
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"Application {name!r} does not run after {timeout_s} s: {status.message}")
                progress.show(status)

    def delete(self, names: list[str], *, wait: bool = True) -> None:
        """Ends applications: their replicas finish what they have. Names that there are not are no error."""
        self._ask("delete_applications", names, wait=wait)

    def shutdown(self) -> None:
        """Ends all of Serve in this session."""
        with contextlib.suppress(AktisError):
            self._ask("shutdown")
        with contextlib.suppress(AktisError, ValueError):
            aktis.kill(self.controller)
        forget(self)

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _unwrapped(getattr(self.controller, method).remote(*args, **kwargs))


def _unwrapped(ref: Any) -> Any:
    """The controller's answer. An error of Serve itself comes out as it was raised there, without the remote frames."""
    from aktis.exceptions import AktisTaskError
    from aktis.serve.exceptions import ServeError

    try:
        return aktis.get(ref)
    except AktisTaskError as error:
        if isinstance(error.cause, (ServeError, OSError, ValueError, TypeError, ImportError)):
            raise error.cause from None
        raise


def failure(status: ApplicationStatus) -> DeploymentFailedError:
    """The error of an application that could not be started."""
    failed = [each for each in status.deployments.values() if each.status is DeploymentState.UNHEALTHY]
    which = failed[0].name if failed else ""
    text = (failed[0].message if failed else "") or status.message
    summary = f"Application {status.name!r} could not be started"
    if which:
        summary += f": deployment {which!r} failed"
    return DeploymentFailedError(f"{summary}.", application=status.name, deployment=which, user_traceback=text)


# The client of this process ------------------------------------------------------------------------------------------

_current: ServeClient | None = None


def _session() -> str:
    return aktis.get_runtime_context().get_session_name()


def forget(client: ServeClient | None = None) -> None:
    """Drops the client of this process (or ``client``, if it is that)."""
    global _current
    if client is None or client is _current:
        _current = None


def connect() -> ServeClient:
    """The client of the Serve instance that runs in this session.

    Raises:
        ServeNotRunningError: there is none.
    """
    global _current
    if not aktis.is_initialized():
        _current = None
        raise ServeNotRunningError()
    session = _session()
    try:
        controller = aktis.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
    except ValueError:
        _current = None
        raise ServeNotRunningError() from None
    if _current is not None and _current.session == session and _current.controller == controller:
        return _current
    client = ServeClient(controller, session)
    http, grpc = client._ask("http_options"), client._ask("grpc_options")
    if http is not None:
        client.http_options = http
        client.http = [(http.host, http.port)] if http.enabled else []
    if grpc is not None and grpc.enabled:
        client.grpc = [(grpc.host, grpc.port)]
    _current = client
    return client


def connected() -> ServeClient | None:
    """The same; None when Serve does not run."""
    try:
        return connect()
    except (ServeNotRunningError, AktisError):
        return None


def root_url() -> str | None:
    """Where clients reach Serve; None when it does not run."""
    client = connected()
    return None if client is None else client.root_url


def start(
    http_options: HTTPOptions,
    grpc_options: gRPCOptions | None,
    logging_config: LoggingConfig | None = None,
    *,
    detached: bool = True,
    chosen: bool = True,
    meanwhile: Callable[[ServeClient], None] = lambda client: None,
) -> ServeClient:
    """Starts Serve, or connects to what runs.

    Args:
        http_options, grpc_options: where and how to listen.
        logging_config: of deployments that have none.
        detached: whether it lives on when this program ends.
        chosen: whether somebody gave these options, and is to be told when they are ignored.
        meanwhile: called while the proxies start.
    """
    global _current
    if not aktis.is_initialized():
        aktis.init(namespace=NAMESPACE, preload=_PRELOAD)
    running = connected()
    if running is not None:
        if chosen and _differ(running, http_options):
            logger.warning(
                "Serve runs already, with other HTTP options: the new ones are ignored. Call serve.shutdown() first."
            )
        running.logging_config = logging_config or running.logging_config
        meanwhile(running)
        return running
    from aktis.serve._controller import get_or_create_controller

    if grpc_options is not None and (warning := grpc_options.in_vain()):
        logger.warning(warning)
    client = ServeClient(
        get_or_create_controller(), _session(), http_options=http_options, logging_config=logging_config
    )
    try:
        starting = client.controller.start_proxies.remote(http_options, grpc_options)
        meanwhile(client)
        doors = _unwrapped(starting)
    except BaseException:
        client.shutdown()  # nothing is left of a start that failed
        raise
    client.http, client.grpc = list(doors.get("http") or ()), list(doors.get("grpc") or ())
    _current = client
    if not detached:
        atexit.register(_end_at_exit, client)
    for host, port in client.grpc:
        _say(f"Serve listens for gRPC on {host}:{port}")
    if client.root_url is not None:
        _say(f"Serve listens on {client.root_url}/")
    return client


def _differ(running: ServeClient, wanted: HTTPOptions) -> bool:
    ports = {port for _, port in running.http}
    if wanted.port == 0 or wanted.port in ports:
        wanted = replace(wanted, port=running.http_options.port)
    return running.http_options != wanted


def _end_at_exit(client: ServeClient) -> None:
    if _current is client and aktis.is_initialized():
        with contextlib.suppress(Exception):
            client.shutdown()


# What the user sees --------------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    """On a terminal it is printed; elsewhere it is logged."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
    else:
        logger.info("%s", text)


class _Progress:
    """Shows how far an application has come, on a terminal, when it takes longer than a moment."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._live: Any = None
        self._said = ""

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, status: ApplicationStatus) -> None:
        summary = _summary(status)
        if not sys.stderr.isatty():
            if summary != self._said:
                logger.info("Application %r starts: %s", self._name, summary)
            self._said = summary
            return
        if self._live is None:
            from rich.console import Console
            from rich.status import Status

            self._live = Status("", console=Console(stderr=True))
            self._live.start()
        self._live.update(f"Application '{self._name}' starts: {summary}")


def _summary(status: ApplicationStatus) -> str:
    parts = []
    for each in status.deployments.values():
        running = each.replica_states.get("RUNNING", 0)
        parts.append(f"{each.name} {running}/{each.target_num_replicas}")
        if each.message and not each.message.endswith("run as wanted."):
            parts[-1] += f" ({each.message.strip().splitlines()[-1]})"
    return ", ".join(parts) or status.message
