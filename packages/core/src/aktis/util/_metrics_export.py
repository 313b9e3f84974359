"""How the numbers of all processes come together.

::

    process A: registry ──► <session>/metrics/<pid>-<worker>.prom ──┐
    process B: registry ──► <session>/metrics/<pid>-<worker>.prom ──┼──► exposition() ──► HTTP exporter
    reader:    registry ────────────────────────────────────────────┘

A file is written whole and renamed into place, so a reader never sees half of one. The daemon thread ``aktis-metrics``
starts with the first observation and sleeps while nothing changes. Files stay when their process is gone:
what a worker counted is not lost with it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis import _config
from aktis._files import write_whole

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

_PREFIX = "aktis_"
_FLUSH_SECONDS = 2.0


class _Process:
    """The metrics of this process."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry

        self.registry = CollectorRegistry(auto_describe=False)
        self.families: dict[str, tuple[tuple[Any, ...], Any]] = {}
        self.lock = threading.Lock()
        self.changed = threading.Event()
        self.thread: threading.Thread | None = None

    def start_thread(self) -> None:
        with self.lock:
            if self.thread is None:
                atexit.register(self.write)
                self.thread = threading.Thread(target=self._flush_for_ever, name="aktis-metrics", daemon=True)
                self.thread.start()

    def _flush_for_ever(self) -> None:
        pause = threading.Event()
        while self is _process:
            self.changed.wait()
            self.changed.clear()
            with contextlib.suppress(OSError):  # the session directory is gone: so is everybody who would read it
                self.write()
            pause.wait(_FLUSH_SECONDS)

    def write(self) -> None:
        """Write the current numbers to this process's file."""
        folder = _folder()
        if folder is None or self is not _process:
            return
        from prometheus_client import generate_latest

        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            path = folder / _own_file_name()
            write_whole(path, generate_latest(_Collector(self.collect)))

    def collect(self) -> Iterator[Any]:
        """The families of this process, with the labels that say whose they are."""
        from prometheus_client.metrics_core import Metric

        labels = _own_labels()
        for plain in self.registry.collect():
            labelled = Metric(plain.name, plain.documentation, plain.type)
            labelled.samples = [
                sample._replace(labels={**sample.labels, **labels})
                for sample in plain.samples
                if not sample.name.endswith("_created")
            ]
            yield labelled


_process: _Process | None = None
_process_lock = threading.Lock()


def _current() -> _Process:
    global _process
    process = _process
    if process is None:
        with _process_lock:
            if _process is None:
                _process = _Process()
            process = _process
    return process


def _forget() -> None:
    """In a forked child: the numbers so far are the parent's, and the thread did not come along."""
    global _process, _process_lock
    _process = None
    _process_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget)


def family(kind: str, name: str, description: str, tag_keys: tuple[str, ...], parameters: dict[str, Any]) -> Any:
    """The prometheus-client object behind a metric; made once per process and name."""
    process = _current()
    shape = (kind, tag_keys, tuple(parameters.items()))
    known = process.families.get(name)
    if known is None:
        import prometheus_client

        make = {
            "counter": prometheus_client.Counter,
            "gauge": prometheus_client.Gauge,
            "histogram": prometheus_client.Histogram,
        }[kind]
        with process.lock:
            known = process.families.get(name)
            if known is None:
                made = make(_PREFIX + name, description, tag_keys, registry=process.registry, **parameters)
                known = process.families[name] = (shape, made)
    if known[0] != shape:
        raise ValueError(
            f"metric {name!r} exists in this process as a {known[0][0]} with tag_keys={known[0][1]}; "
            f"it can't be a {kind} with tag_keys={tag_keys} and {parameters} too"
        )
    return known[1]


def mark_changed() -> None:
    """There is something new to write."""
    process = _current()
    if process.thread is None:
        process.start_thread()
    process.changed.set()


def exposition() -> str:
    """The numbers of every process of the session, in Prometheus' text format."""
    from prometheus_client import generate_latest

    return generate_latest(_Collector(_merged)).decode()


class _Collector:
    """What ``generate_latest`` needs of a registry."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def collect(self) -> Iterator[Any]:
        return iter(self._source())


def _merged() -> list[Any]:
    from prometheus_client.parser import text_string_to_metric_families

    families: dict[str, Any] = {}

    def add(one: Any) -> None:
        known = families.setdefault(one.name, one)
        if known is not one:
            known.samples.extend(one.samples)

    for own in _current().collect():
        add(own)
    folder = _folder()
    for path in sorted(folder.glob("*.prom")) if folder else []:
        if path.name != _own_file_name():
            with contextlib.suppress(OSError):
                for one in text_string_to_metric_families(path.read_text()):
                    add(one)
    return [families[name] for name in sorted(families)]


def _own_labels() -> dict[str, str]:
    facts = _facts()
    return {label: str(facts.get(key) or "") for label, key in _LABELS.items()}


_LABELS = {"WorkerId": "worker_id", "NodeId": "node_id", "JobId": "job_id"}


def _own_file_name() -> str:
    return f"{os.getpid()}-{str(_facts().get('worker_id') or 'driver')[:12]}.prom"


def _folder() -> Path | None:
    session_dir = _facts().get("session_dir")
    return Path(session_dir) / "metrics" if session_dir else None


def _facts() -> dict[str, Any]:
    """About this process. Never starts a session: counting something is no reason to."""
    from aktis import _session

    engine = _session.current
    return engine.context() if engine is not None else {}


class MetricsServer:
    """Serves :func:`exposition` over HTTP until it is closed."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.address, self.port = str(server.server_address[0]), int(server.server_address[1])
        self._thread = threading.Thread(target=server.serve_forever, name="aktis-metrics-http", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        return f"http://{self.address}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_http_exporter(port: int | None = None, addr: str = "127.0.0.1") -> MetricsServer:
    """Serve :func:`exposition` at ``http://addr:port/metrics`` from this process.

    Args:
        port: 0 takes a free one (see ``.port``); None takes ``AKTIS_METRICS_PORT``, or a free one where that is not set.
        addr: Where to listen: only this machine is answered unless it says otherwise.

    Raises:
        OSError: the port is taken, or not allowed.
    """
    if port is None:
        port = _config.read("METRICS_PORT") or 0
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from prometheus_client import CONTENT_TYPE_LATEST

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] not in ("/", "/metrics"):
                self.send_error(404)
                return
            body = exposition().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    try:
        server = ThreadingHTTPServer((addr, port), Handler)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {addr}:{port}: {error.strerror}") from None
    server.daemon_threads = True
    return MetricsServer(server)
