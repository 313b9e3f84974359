"""The HTTP server of a run.

```
 a client ──▶ handler (a daemon thread per connection) ── runner.request(event) ──▶ run's loop
          ◀── JSON ────── reads trials as they are        ◀── future: dealt with ──
```

It has no passwords, so it listens on 127.0.0.1 only, and refuses what a web page could send: requests for another host name (DNS
rebinding), with the origin of another page, or with a body that is not declared as JSON (which no page may send elsewhere without
asking first; it never gets leave).
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from aktis.tune._execution import events as ev
from aktis.tune._execution.additions import trials_from
from aktis.tune.error import TuneError

if TYPE_CHECKING:
    from aktis.tune._execution.loop import TrialRunner
    from aktis.tune.experiment.trial import Trial

HOST = "127.0.0.1"
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
LARGEST_BODY = 4 * 2**20
SILENCE_S = 30.0  # how long a client may say nothing
PATIENCE_S = 60.0  # how long the run's loop may take to deal with a request

logger = logging.getLogger(__name__)


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Listener:
    """A port that is held from the beginning; requests are answered from :meth:`serve` to :meth:`close`.

    Raises:
        TuneError: the port is taken.
        ValueError, TypeError: there is no such port.
    """

    def __init__(self, port: int) -> None:
        if isinstance(port, bool) or not isinstance(port, int):
            raise TypeError(f"server_port must be the number of a port, not {port!r} ({type(port).__name__})")
        if not 0 <= port <= 65535:
            raise ValueError(f"server_port must be between 1 and 65535, or 0 for any that is free, not {port}")
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            raise TuneError(
                f"the server of the run cannot listen on {HOST}:{port} ({error.strerror or error}): "
                "another run or program has the port. "
                "Give another server_port, or 0 for any that is free"
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def serve(self, runner: TrialRunner) -> None:
        """Answer requests about this run from now on."""
        self._server.runner = runner
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="aktis-tune-server", daemon=True
        )
        self._thread.start()
        logger.info("the run answers at http://%s:%d/trials", HOST, self.port)

    def close(self) -> None:
        """Let go of the port. Connections that are still open get no more answers."""
        self._server.over = True
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    runner: TrialRunner
    over = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a client of the run's server left", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENCE_S
    protocol_version = "HTTP/1.1"
    server_version = "aktis"
    sys_version = ""

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    # -- requests ---------------------------------------------------------------------------------

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def do_OPTIONS(self) -> None:  # by which a browser asks whether a page may do what follows
        self._answer("OPTIONS")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class says of requests that are not HTTP, as JSON like everything else."""
        self.close_connection = True
        self._send(HTTPStatus(code), {"error": message or HTTPStatus(code).phrase})

    def _answer(self, method: str) -> None:
        status: HTTPStatus = HTTPStatus.OK
        try:
            if self.server.over:
                raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the run has ended")
            self._check_sender()
            body = self._body() if method in ("POST", "PUT", "DELETE") else None
            status, found = _route(self.server.runner, method, urlsplit(self.path).path, body)
        except Refusal as refusal:
            status, found = refusal.status, {"error": str(refusal)}
            self.close_connection = True  # there may be a body that was not read
        except Exception as error:
            logger.exception("the run's server could not answer %s %s", method, self.path)
            status, found = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{type(error).__name__}: {error}"}
            self.close_connection = True
        self._send(status, found)

    def _send(self, status: HTTPStatus, found: dict[str, Any]) -> None:
        data = json.dumps(found, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _check_sender(self) -> None:
        """Refuse what a web page of somebody else may have sent."""
        host = self.headers.get("Host", "")
        if _host_name(host) not in LOCAL_NAMES:
            raise Refusal(HTTPStatus.FORBIDDEN, f"requests must be for {HOST} or localhost, not for {host!r}")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise Refusal(HTTPStatus.FORBIDDEN, f"web pages of another origin ({origin}) may not use this server")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refusal(HTTPStatus.FORBIDDEN, "web pages of another site may not use this server")

    def _body(self) -> Any:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"what changes a run must have the Content-Type application/json, not {kind!r}",
            )
        text = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not text.isdecimal():
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "say how long the body is (Content-Length)")
        if int(text) > LARGEST_BODY:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have {LARGEST_BODY} bytes, not {text}")
        data = self.rfile.read(int(text))
        if not data:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from None


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


# -- what is asked for ----------------------------------------------------------------------------


def _route(runner: TrialRunner, method: str, path: str, body: Any) -> tuple[HTTPStatus, dict[str, Any]]:
    parts = [unquote(part) for part in path.split("/") if part]
    if parts == ["trials"]:
        _allow(method, "GET", "POST")
        if method == "GET":
            return HTTPStatus.OK, {"trials": [_info(trial) for trial in list(runner.brain.trials.values())]}
        return HTTPStatus.CREATED, {"trials": [_info(trial) for trial in _add(runner, body)]}
    if len(parts) == 2 and parts[0] == "trials":
        _allow(method, "GET", "PUT", "DELETE")
        trial = runner.brain.trials.get(parts[1])
        if trial is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"there is no trial {parts[1]!r}")
        if method != "GET" and not trial.is_finished():
            _wait(runner.request(ev.StopTrial(time.time(), trial.trial_id)))
        return HTTPStatus.OK, {"trial": _info(trial)}
    if parts == ["stop_experiment"]:
        _allow(method, "PUT", "POST")
        _wait(runner.request(ev.StopAll(time.time())))
        return HTTPStatus.OK, {"trials": [_info(trial) for trial in list(runner.brain.trials.values())]}
    raise Refusal(
        HTTPStatus.NOT_FOUND, f"there is nothing at {path}: there are /trials, /trials/<id> and /stop_experiment"
    )


def _allow(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} means nothing here; {', '.join(allowed)} do")


def _add(runner: TrialRunner, body: Any) -> list[Trial]:
    if not isinstance(body, Mapping) or set(body) != {"name", "spec"}:
        raise Refusal(HTTPStatus.BAD_REQUEST, 'the body must be {"name": <experiment>, "spec": {"config": {...}}}')
    if runner.brain.stopping:
        raise Refusal(HTTPStatus.CONFLICT, "the run is ending: no trials can be added any more")
    try:
        trials = trials_from(body["name"], body["spec"], runner.experiments)
    except (ValueError, TypeError, TuneError) as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
    for future in [runner.add(trial) for trial in trials]:
        _wait(future)
    return trials


def _wait(future: Future[None]) -> None:
    try:
        future.result(PATIENCE_S)
    except TuneError as error:
        raise Refusal(HTTPStatus.CONFLICT, str(error)) from error
    except NotInTime:
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"the run has not dealt with it for {PATIENCE_S:.0f} s: a callback or the search is slow",
        ) from None


def _info(trial: Trial) -> dict[str, Any]:
    """What clients see of a trial."""
    result = dict(trial.last_result)  # one step: the run's thread may be changing it
    factory = trial.placement_group_factory
    return {
        "id": trial.trial_id,
        "name": str(trial),
        "trainable_name": trial.trainable_name,
        "experiment": trial.experiment_name,
        "config": _plain(trial.config),
        "status": trial.status,
        "result": _plain({key: value for key, value in result.items() if key != "config"}) if result else None,
        "error": str(trial.error) if trial.error is not None else None,
        "logdir": trial.logdir,
        "resources": _plain(dict(factory.required_resources)) if factory is not None else None,
    }


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it: numbers that are not finite are null, other objects their text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if depth > 20:
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in list(value.items())}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    convert = getattr(value, "tolist", None)  # arrays and scalars of NumPy
    if callable(convert) and getattr(value, "size", 0) <= 10_000:
        return _plain(convert(), depth + 1)
    return repr(value)
