"""The process that serves for the commands: a session, Serve, the REST API, and a file that says where they are.

``serve run`` is such a process in the foreground. ``serve start`` leaves one behind::

    serve start ──starts (own session of processes, output to a log)──► python -m aktis.serve._host
          ◄── one line of JSON over a pipe: where it is, or why it could not start
    serve shutdown ──DELETE──► REST ──► ended ──► drain, end Serve, end the session, remove the file

It ends when it is asked to by REST, by SIGTERM or SIGINT, and when its session ends; each time with all that it started.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aktis.serve import _state
from aktis.serve.exceptions import ServeError
from aktis.util.processes import started

START_TIMEOUT = 60.0  # seconds for the process of `serve start` to be ready
KEPT_LOGS = 5  # of processes that did not end well
LOOK_PERIOD = 2.0  # seconds between two looks whether the session is still there
logger = logging.getLogger("aktis.serve")


@dataclass(kw_only=True)
class HostOptions:
    """What a host is started with. Plain data: it travels as JSON."""

    kind: str = "start"
    address: str | None = None  # of a session to serve in; None: one of its own
    http: dict[str, Any] = field(default_factory=dict)  # of config.HTTPOptions
    grpc: dict[str, Any] = field(default_factory=dict)  # of config.gRPCOptions
    logging_config: dict[str, Any] | None = None
    rest_host: str = "127.0.0.1"
    rest_port: int | None = None
    token: str = ""
    app_dir: str = ""  # searched for the user's modules, first
    environment: dict[str, Any] = field(default_factory=dict)  # under that of each application
    log: str = ""


class Latch:
    """An event that handlers of signals may set: they run on the thread that waits, in the middle of anything."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def set(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"x")

    def wait(self, timeout: float) -> bool:
        """Whether it is set, at once when it is; False after ``timeout`` seconds."""
        return bool(select.select([self._read], [], [], timeout)[0])

    def is_set(self) -> bool:
        return self.wait(0)


class HostStartError(RuntimeError):
    """It could not be started: text for people."""


class Host:
    """Serve, in this process's session. Everything is up when the constructor returns; :meth:`close` ends it all."""

    def __init__(self, options: HostOptions, ended: Latch) -> None:
        self._options = options
        self.ended = ended
        self._rest: Any = None
        self._deployer: Any = None
        self._downloads: Path | None = None
        self._misses = 0
        self._started = False
        self._guest = False  # Serve had been there before
        if options.app_dir and options.app_dir not in sys.path:
            sys.path.insert(0, options.app_dir)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        import aktis
        from aktis import serve
        from aktis.serve._admin import Administration
        from aktis.serve._deployer import ConfigDeployer, controller

        options = self._options
        context = aktis.init(address=options.address, namespace="serve")
        self.session = str(context.address_info["session_dir"])
        # What the REST API needs takes a while to import, and so do the controller and the proxy to start.
        imports = threading.Thread(target=importlib.import_module, args=("aktis.serve._rest",), daemon=True)
        imports.start()
        self._guest = _is_running()
        client = serve.start(
            detached=True,
            http_options=options.http or None,
            grpc_options=options.grpc or None,
            logging_config=options.logging_config or None,
        )
        self._started = True
        self._downloads = _state.state_directory() / f"code-{os.getpid()}"
        self._deployer = ConfigDeployer(self._downloads, options.environment)
        grpc = aktis.get(controller().grpc_options.remote())
        options_of = {"http": _plain_options(client.http_options), "grpc": _plain_options(grpc)}
        self.admin = Administration(self._deployer, self.ended.set, options_of)
        imports.join()
        from aktis.serve._rest import RestServer

        self._rest = RestServer(self.admin, options.rest_host, options.rest_port, options.token)
        self.state = _state.HostState(
            pid=os.getpid(),
            born=started(os.getpid()) or 0,
            rest=self._rest.url,
            http=[_url(host, port, options.http) for host, port in client.http],
            grpc=[f"{host}:{port}" for host, port in client.grpc],
            session=self.session,
            log=options.log,
            token=options.token,
            started=time.time(),
            kind=options.kind,
        )
        _state.write_state(self.state)

    def alive(self) -> bool:
        """Whether the session is still there, and Serve in it. To be asked now and then: once may be a bad moment."""
        import aktis
        from aktis.serve._deployer import controller

        try:
            aktis.nodes()
            controller()
        except Exception:
            self._misses += 1
        else:
            self._misses = 0
        return self._misses < 2

    def close(self) -> None:
        """Finish what runs, and end everything that this process started.

        Where Serve had been running in the session before, that is the applications that were deployed here.
        """
        import aktis

        _state.remove_state(os.getpid())
        if self._rest is not None:
            self._rest.close()
        own = list(self._deployer.configs()) if self._deployer is not None else []
        if self._deployer is not None:
            self._deployer.close()
        if aktis.is_initialized():
            if self._started:
                with contextlib.suppress(Exception):
                    self._end_serve(own)
            aktis.shutdown()
        if self._downloads is not None:
            shutil.rmtree(self._downloads, ignore_errors=True)

    def _end_serve(self, own: list[str]) -> None:
        from aktis import serve

        if not self._guest or self.admin.ends_all:
            serve.shutdown()
        elif own:
            self.admin.delete(own)


def _plain_options(options: Any) -> dict[str, Any]:
    """The options that are in force, as plain data."""
    values = asdict(options) if options is not None else {}
    values.pop("ssl_keyfile_password", None)
    simple = (str, int, float, bool, type(None))
    return {key: value if isinstance(value, simple) else _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    return (
        [item if isinstance(item, str) else repr(item) for item in value]
        if isinstance(value, (list, tuple))
        else str(value)
    )


def _url(host: str, port: int, http: dict[str, Any]) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if http.get('ssl_certfile') else 'http'}://{name}:{port}"


def _is_running() -> bool:
    from aktis.serve._deployer import controller

    try:
        controller()
    except ServeError:
        return False
    return True


# The process that `serve start` leaves behind ------------------------------------------------------------------------


def spawn(options: HostOptions) -> _state.HostState:
    """Start a host that outlives this process, and return when it is ready. Raises HostStartError with what it says."""
    folder = _state.state_directory()
    for old in sorted(folder.glob("host-*.log"))[:-KEPT_LOGS]:
        with contextlib.suppress(OSError):
            old.unlink()
    options.log = str(folder / f"host-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log")
    read, write = os.pipe()
    with open(os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "aktis.serve._host", str(write)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(write,),
            start_new_session=True,
        )
    os.close(write)
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(json.dumps(asdict(options)).encode())
    answer = _read_line(read, process)
    process.returncode = 0  # nobody here waits for it, on purpose
    if "error" in answer:
        raise HostStartError(answer["error"])
    return _state.HostState(**answer)


def _read_line(descriptor: int, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    data = b""
    deadline = time.monotonic() + START_TIMEOUT
    with open(descriptor, "rb", buffering=0) as pipe:
        while not data.endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
            part = pipe.read(1 << 16) if ready else None
            if not part:
                process.kill()
                process.wait()
                why = "it ended" if ready else f"it was not ready within {START_TIMEOUT:g} s"
                return {
                    "error": f"the process that serves could not be started: {why} (exit code {process.returncode})"
                }
            data += part
    answer: dict[str, Any] = json.loads(data)
    return answer


def main() -> int:
    """The process: options as JSON on standard input, the answer to the descriptor in the first argument."""
    answer = int(sys.argv[1])
    options = HostOptions(**json.load(sys.stdin))
    ended = Latch()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.argv = ["serve"]
    try:
        host = Host(options, ended)
    except (OSError, ValueError, ServeError) as error:  # a port that is taken, an option that cannot be
        _say(answer, {"error": str(error)})
        os.unlink(options.log)
        return 2
    except Exception as error:
        logger.error("could not start", exc_info=True)
        _say(answer, {"error": f"{type(error).__name__}: {error}\n(its log: {options.log})"})
        return 1
    _say(answer, asdict(host.state))
    try:
        while not ended.wait(LOOK_PERIOD):
            if not host.alive():
                logger.error("the session has ended")
                return 1
    finally:
        host.close()
    with contextlib.suppress(OSError):
        os.unlink(options.log)  # it is for those that did not end well
    return 0


def _say(descriptor: int, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError), open(descriptor, "wb") as pipe:  # nobody may listen any more
        pipe.write(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
