"""Which engine this process talks to, and for how long.

``current`` is None, or the engine of the running session. It changes in three places only: :func:`init`,
:func:`shutdown` and :func:`attach` (a worker process says which engine it is). Remote functions compare ``current``
with the engine they were bound to at every call, so they follow a new session by themselves; references and handles
belong to the session that made them and are refused by any other.

Lock order: ``_lock`` is held while an engine starts and while it stops; engines never call back into this module then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from aktis._engine import Engine

current: Engine | None = None

_lock = threading.RLock()
_attached = False  # this is a worker process: its engine lives as long as it
_exit_hook = False
_handler: Any = None  # our log handler, when init() installed one


class SessionContext(Mapping[str, Any]):
    """What :func:`init` returns: facts about the session, as a mapping; ``with`` ends the session at exit."""

    def __init__(self, engine: Engine) -> None:
        import platform

        from aktis.__about__ import __version__

        facts = engine.context()
        self._engine = engine
        self.dashboard_url: str | None = None
        self.python_version = platform.python_version()
        self.aktis_version = __version__
        self.address_info: dict[str, Any] = {
            "node_id": facts.get("node_id"),
            "address": facts.get("address"),
            "gcs_address": facts.get("address"),
            "session_name": facts.get("session_name"),
            "session_dir": facts.get("session_dir"),
            "node_ip_address": facts.get("node_ip_address", "127.0.0.1"),
            "webui_url": None,
            "namespace": engine.namespace,
            "mode": engine.mode,
        }

    @property
    def ray_version(self) -> str:
        return self.aktis_version

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __enter__(self) -> SessionContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """End the session, if it is still this one."""
        if current is self._engine:
            shutdown()

    def __repr__(self) -> str:
        return f"SessionContext({self.address_info!r})"


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    mode: str | None = None,
    preload: list[str] | tuple[str, ...] | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    namespace: str | None = None,
    runtime_env: Any = None,
    log_to_driver: bool | None = None,
    logging_level: int | str | None = None,
    logging_format: str | None = None,
    logging_config: Any = None,
    configure_logging: bool = True,
    job_config: Any = None,
    **kwargs: Any,
) -> SessionContext:
    """Start a session, or connect to the one at ``address``.

    ``mode="inline"`` runs everything in this process, in a deterministic order, so that a debugger just works.
    ``preload`` names modules that are imported once, before workers are forked from the process that has them.
    Everything else means what it means in Ray; what has no meaning here (the dashboard's options) is accepted.
    """
    global current, _exit_hook
    given = {
        "address": address, "num_cpus": num_cpus, "num_gpus": num_gpus, "resources": resources, "labels": labels,
        "object_store_memory": object_store_memory, "mode": mode, "preload": preload, "namespace": namespace,
        "runtime_env": runtime_env, "log_to_driver": log_to_driver, "logging_level": logging_level,
        "logging_config": logging_config, "job_config": job_config,
    }  # fmt: skip
    with _lock:
        if current is not None:
            if ignore_reinit_error:
                return SessionContext(current)
            raise RuntimeError(
                "aktis.init() was called twice: a session is running. Call aktis.shutdown() first, "
                "or pass ignore_reinit_error=True to keep it"
            )
        if local_mode:
            import warnings

            warnings.warn("local_mode=True is deprecated: use mode='inline'", DeprecationWarning, stacklevel=2)
            given["mode"] = "inline"
        from aktis import _settings

        resolved, settings = _settings.resolve(given, kwargs)
        if configure_logging:
            _configure_logging(settings.logging_level, logging_format)
        if settings.left_aside:
            _say_left_aside(settings)
        engine = _start(resolved, settings)
        if not _exit_hook:
            import atexit

            atexit.register(shutdown)
            _exit_hook = True
        current = engine
    return SessionContext(engine)


def _start(mode: str, settings: Any) -> Engine:
    if mode == "inline":
        from aktis._inline import start

        return start(settings)
    if mode == "ray":
        from aktis._ray import load

        engine: Engine = load().start(settings)
        return engine
    from aktis._native.driver import connect

    return connect(settings)


def _configure_logging(level: int, form: str | None) -> None:
    """Make our own messages visible, unless the program has said how it wants to log."""
    global _handler
    import logging

    logger = logging.getLogger("aktis")
    logger.setLevel(level)
    if _handler is None and not logger.handlers and not logging.getLogger().handlers:
        _handler = logging.StreamHandler()
        _handler.setFormatter(logging.Formatter(form or "%(asctime)s\t%(levelname)s %(name)s -- %(message)s"))
        logger.addHandler(_handler)


def _say_left_aside(settings: Any) -> None:
    import logging

    what = ", ".join(settings.left_aside)
    logging.getLogger("aktis").info("%s: left aside, this session runs on the cluster at %s", what, settings.address)


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """End the session. Does nothing when there is none, and in workers. The engine always waits for its processes."""
    global current, _handler
    with _lock:
        engine = current
        if engine is None or _attached:
            return
        try:
            engine.shutdown()
        finally:
            current = None
            if _handler is not None:
                import logging

                logging.getLogger("aktis").removeHandler(_handler)
                _handler = None


def is_initialized() -> bool:
    """Whether a session is running in this process."""
    return current is not None


def require_engine() -> Engine:
    """The engine of this process; starts a session with the defaults when there is none."""
    engine = current
    if engine is None:
        init(ignore_reinit_error=True)  # another thread may have been faster
        engine = current
        if engine is None:
            raise RuntimeError("the session was shut down by another thread while it started")
    return engine


def running_engine() -> Engine:
    """The engine of this process, for calls that do not start a session by themselves."""
    engine = current
    if engine is None:
        from aktis.exceptions import AktisSystemError

        raise AktisSystemError("no session is running: call aktis.init() first")
    return engine


def attach(engine: Engine) -> None:
    """Called by a worker process: from now on this is its engine, and ``shutdown`` leaves it alone."""
    global current, _attached
    current = engine
    _attached = True
