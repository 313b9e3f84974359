"""A policy server: environments elsewhere ask it for actions over HTTP, and a worker learns from what they report.

    HTTP threads ── episodes ──► PassiveEnv ◄── inference thread: EpisodeSampler with policies of its own
         │ (clients with local inference: whole batches)       │ batches
         └───────────────────────► samples ◄───────────────────┘
                                     │
    the worker's thread: next() ◄────┘ and leaves its weights for the inference thread and for clients

Guarantees: the worker's policies are used by its own thread only. `shutdown()` ends the server, the inference thread and
every request that waits. Nothing that a client sends is unpickled.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from aktis.rllib.env._embedded_worker import (
    InferenceThread,
    add_filter_changes,
    check_filter_changes,
    embedded_worker,
    filter_states,
    take_filters,
)
from aktis.rllib.env._policy_protocol import (
    CONTENT_TYPE,
    PATH,
    Commands,
    batch_from_wire,
    is_loopback,
    metrics_from_wire,
    remove_token_file,
    same,
    server_token,
    sign,
)
from aktis.rllib.env.external_env import EnvStopped
from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.utils._codec import CodecError, decode, encode

if TYPE_CHECKING:
    from aktis.rllib.evaluation.metrics import RolloutMetrics
    from aktis.rllib.offline.io_context import IOContext
    from aktis.rllib.policy.sample_batch import SampleBatchType

logger = logging.getLogger(__name__)

__all__ = ["PolicyServerInput"]

_CLIENTS_REMEMBERED = 10_000  # whose last answer is kept, in case it is asked for again


class PolicyServerInput(InputReader):
    """Serves policies to clients and reads their experience, as `config.offline_data(input_=f)` with an `f(ioctx)` that makes it.

    The configuration has no environment then, but its spaces: `config.environment(None, observation_space=, action_space=)`.

    Args:
        ioctx: Where it runs.
        address: The address to listen on; the default is seen by this machine only.
        port: The port; 0: any that is free (`port` says which).
        idle_timeout: Seconds without experience after which a line in the log says so (`next` goes on waiting).
        token: What clients must know. None: that of AKTIS_RLLIB_TOKEN; if that is not set, and the server is for this
            machine only, a new one that clients of the same user find by themselves. False: none (this machine only).
        max_body_bytes: The longest request.
        request_timeout: Seconds that a client may take to send a request.
        max_queued_batches: How many batches wait for `next`; clients wait before they may report more.

    Raises:
        ValueError: Other machines could reach it without a token.
        OSError: The port is taken.

    Example:
        >>> def make_input(ioctx):  # doctest: +SKIP
        ...     return PolicyServerInput(ioctx, "127.0.0.1", 9900)
        >>> config = PPOConfig().offline_data(input_=make_input)  # doctest: +SKIP
    """

    def __init__(
        self,
        ioctx: IOContext,
        address: str = "127.0.0.1",
        port: int = 9900,
        idle_timeout: float = 3.0,
        *,
        token: str | bool | None = None,
        max_body_bytes: int = 256 << 20,
        request_timeout: float = 60.0,
        max_queued_batches: int = 100,
    ) -> None:
        self.rollout_worker: Any = ioctx.worker
        self.idle_timeout = idle_timeout
        self.max_body_bytes = max_body_bytes
        self._samples: queue.Queue[SampleBatchType] = queue.Queue(max_queued_batches)
        self._filters: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._metrics: queue.SimpleQueue[list[RolloutMetrics]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, tuple[int, Future[Any]]] = OrderedDict()
        self._weights: Any = None
        self._weights_number = 0
        self._inference: InferenceThread | None = None
        self._env: Any = None
        self._closed = threading.Event()
        host = "127.0.0.1" if address == "localhost" else address
        if not is_loopback(host):  # before the port is open
            server_token(token, host, port)
        self._server = _Server((host, port), type("Handler", (_Handler,), {"owner": self, "timeout": request_timeout}))
        self.address, self.port = host, int(self._server.server_address[1])
        try:
            self._token = server_token(token, host, self.port)
        except BaseException:
            self._server.server_close()
            raise
        self._take_weights()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True, name="policy-server"
        )
        self._thread.start()
        logger.info("Policy server at http://%s:%s", self.address, self.port)

    # ---- for the worker ----

    def next(self) -> SampleBatchType:
        """The next batch that came from clients; waits until there is one.

        Raises:
            RuntimeError: The server has been shut down, or computing actions failed.
        """
        self._take_weights()
        told = False
        waiting_since = time.monotonic()
        while True:
            try:
                return self._samples.get(timeout=min(0.2, self.idle_timeout or 0.2))
            except queue.Empty:
                pass
            if self._closed.is_set() or not self._thread.is_alive():
                raise RuntimeError(
                    f"the policy server at {self.address}:{self.port} has been shut down: there is no more experience"
                )
            error = self._inference.error if self._inference is not None else None
            if error is not None:
                raise RuntimeError(f"computing actions for clients failed: {type(error).__name__}: {error}") from error
            if not told and time.monotonic() - waiting_since > self.idle_timeout:
                told = True
                logger.info("The policy server at %s:%s waits for experience of clients", self.address, self.port)

    def get_metrics(self) -> list[RolloutMetrics]:
        """The episodes of clients that ended since the last call."""
        found: list[RolloutMetrics] = []
        while True:
            try:
                found.extend(self._metrics.get_nowait())
            except queue.Empty:
                return found

    def shutdown(self, patience: float = 1.0) -> None:
        """End the server; requests that wait get an error. Twice is once.

        Args:
            patience: Seconds to wait until those errors have been sent.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        with self._lock:
            inference = self._inference
        if inference is not None:
            inference.stop()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10.0)
        self._server.close_connections()
        remove_token_file(self.port, self._token)

    close = shutdown

    def _take_weights(self) -> None:
        """Called by the worker's thread, in which nothing learns now."""
        worker = self.rollout_worker
        with contextlib.suppress(queue.Empty):
            while True:
                add_filter_changes(worker, self._filters.get_nowait())
        weights, filters = worker.get_weights(), filter_states(worker)
        with self._lock:
            self._weights = (weights, dict(worker.get_global_vars()), filters)
            self._weights_number += 1

    # ---- for clients ----

    def answer(self, message: Any) -> Any:
        """What a client is told (in the thread of its connection).

        Raises:
            CodecError: The message is none.
        """
        if not isinstance(message, dict):
            raise CodecError("a message is a dict")
        client, number = message.get("client"), message.get("number")
        if not isinstance(client, str) or not isinstance(number, int) or len(client) > 100:
            raise CodecError("a message has `client`, a name, and `number`, its number")
        with self._lock:
            last = self._answers.get(client)
            if last is not None and last[0] == number:
                future, mine = last[1], False
            else:
                future, mine = Future(), True
                self._answers[client] = (number, future)
                self._answers.move_to_end(client)
                while len(self._answers) > _CLIENTS_REMEMBERED:
                    self._answers.popitem(last=False)
        if mine:
            try:
                future.set_result(self._do(message))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _do(self, message: dict[str, Any]) -> Any:
        try:
            command = Commands(message.get("command"))
        except ValueError:
            raise CodecError(f"unknown command {message.get('command')!r}") from None
        if command is Commands.GET_WEIGHTS:
            with self._lock:
                (weights, global_vars, filters), version = self._weights, self._weights_number
            return {"weights": weights, "global_vars": global_vars, "filters": filters, "version": version}
        if command is Commands.GET_WORKER_ARGS:
            return self._worker_args()
        if command in (Commands.ACTION_SPACE, Commands.OBSERVATION_SPACE):
            space = self._spaces()[0 if command is Commands.OBSERVATION_SPACE else 1]
            return repr(space)
        if command is Commands.REPORT_SAMPLES:
            filters = check_filter_changes(self.rollout_worker, message.get("filters") or {})
            batch = batch_from_wire(message.get("samples"))
            return self._report(batch, metrics_from_wire(message.get("metrics") or []), filters)
        return self._episode(command, message)

    def _episode(self, command: Commands, message: dict[str, Any]) -> Any:
        env = self._episodes()
        episode_id = message.get("episode_id")
        if episode_id is not None and not isinstance(episode_id, str):
            raise CodecError("`episode_id` is a string")
        if command is Commands.START_EPISODE:
            return env.start_episode(episode_id, bool(message.get("training_enabled", True)))
        if command is Commands.GET_ACTION:
            return env.get_action(episode_id, message["observation"])
        if command is Commands.LOG_ACTION:
            return env.log_action(episode_id, message["observation"], message["action"])
        if command is Commands.END_EPISODE:
            return env.end_episode(episode_id, message["observation"])
        if self.rollout_worker.config.is_multi_agent():
            return env.log_returns(episode_id, message["reward"], message.get("info"), message.get("dones"))
        return env.log_returns(episode_id, message["reward"], message.get("info"))

    def _report(self, batch: Any, metrics: list[Any], filters: dict[str, Any]) -> None:
        if metrics:
            self._metrics.put(metrics)
        if filters:
            self._filters.put(filters)
        while True:
            try:
                self._samples.put(batch, timeout=0.2)
                return
            except queue.Full:
                if self._closed.is_set():
                    raise EnvStopped("the policy server has been shut down") from None

    def _spaces(self) -> Any:
        return next(iter(self._all_spaces().values()))

    def _all_spaces(self) -> dict[str, Any]:
        specs = self.rollout_worker.policy_dict
        return {policy_id: (_original(spec.observation_space), spec.action_space) for policy_id, spec in specs.items()}

    def _worker_args(self) -> dict[str, Any]:
        """What a client needs to compute actions itself: pickled, and signed with the token."""
        import cloudpickle

        args = self.rollout_worker.creation_args()
        config = self.rollout_worker.config.copy(copy_frozen=False)
        config.input_ = "sampler"
        data = cloudpickle.dumps(
            {"config": config, "spaces": self._all_spaces(), "default_policy_class": args["default_policy_class"]}
        )
        return {"args": data, "signature": sign(data, self._token)}

    def _episodes(self) -> Any:
        """The environment of clients that ask for each action, made with the thread that computes them at the first request."""
        with self._lock:
            if self._closed.is_set():
                raise EnvStopped("the policy server has been shut down")
            if self._env is None:
                args = self.rollout_worker.creation_args()
                worker, self._env = embedded_worker(
                    self.rollout_worker.config,
                    self._all_spaces(),
                    args["default_policy_class"],
                    self.rollout_worker.worker_index,
                )
                taken = [0]

                def take_weights() -> None:
                    with self._lock:
                        (weights, global_vars, filters), version = self._weights, self._weights_number
                    if version != taken[0]:
                        taken[0] = version
                        worker.set_weights(weights, global_vars)
                        take_filters(worker, filters)

                weights, global_vars, filters = self._weights
                worker.set_weights(weights, global_vars)
                take_filters(worker, filters)
                self._inference = InferenceThread(worker, self._report, take_weights)
                self._inference.start()
            return self._env


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}  # of requests that are being read

    def reading(self, connection: Any, seconds: float | None) -> None:
        """A request is being read from now on, and has to be there in so many seconds. None: it is there."""
        with self._open_lock:
            if seconds is None:
                self._deadlines.pop(connection, None)
            else:
                self._deadlines[connection] = time.monotonic() + seconds

    def service_actions(self) -> None:
        """Called again and again: who sends a byte now and then would hold on to a thread for ever."""
        with self._open_lock:
            now = time.monotonic()
            late = [connection for connection, deadline in self._deadlines.items() if now > deadline]
            for connection in late:
                del self._deadlines[connection]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Clients keep connections open; their threads end with them."""
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection. A class of it is made for each server, with the server as `owner`."""

    owner: PolicyServerInput
    protocol_version = "HTTP/1.1"
    server_version = "aktis-rllib"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # head and body leave together

    def handle_one_request(self) -> None:
        """Wait for a request (a client keeps its connection for the next one), read it, and answer."""
        server: Any = self.server
        try:
            self.rfile.peek(1)  # type: ignore[attr-defined]  # it is buffered
        except OSError:  # nothing came for too long, or the client has gone
            self.close_connection = True
            return
        server.reading(self.connection, self.timeout)
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True
        finally:
            server.reading(self.connection, None)

    def do_POST(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            self.close_connection = True  # the body has not been read
            self._error(*refusal)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.reading(self.connection, None)  # type: ignore[attr-defined]
        try:
            answer = encode({"result": self.owner.answer(decode(body))})
        except CodecError as error:
            self._error(400, str(error), "CodecError")
        except EnvStopped as error:
            self._error(503, str(error), "EnvStopped")
        except (KeyError, ValueError) as error:
            self._error(409, str(error.args[0]) if error.args else str(error), type(error).__name__)
        except Exception as error:
            logger.exception("A request of a policy client failed")
            self._error(500, f"{type(error).__name__}: {error}", type(error).__name__)
        else:
            self._send(200, answer)

    def do_GET(self) -> None:
        self.close_connection = True
        self._error(405, "this is a policy server of aktis.rllib; it is spoken to with PolicyClient")

    def _refusal(self) -> tuple[int, str] | None:
        """Why a request is not even read: status and message."""
        owner = self.owner
        if self.path != PATH:
            return 404, f"there is nothing here; a policy client asks for {PATH}"
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if owner._token is not None and not same(given.encode(), owner._token.encode()):
            hint = "give PolicyClient(token=...) that of the server, or set AKTIS_RLLIB_TOKEN"
            return 401, f"the token is missing or wrong: {hint}"
        if self.headers.get("Content-Type") != CONTENT_TYPE:
            return 415, f"the content type must be {CONTENT_TYPE}"
        length = self.headers.get("Content-Length") or ""
        if not length.isdigit():
            return 411, "the request does not say how long it is"
        if int(length) > owner.max_body_bytes:
            return 413, f"{length} bytes are more than the server takes (max_body_bytes={owner.max_body_bytes})"
        return None

    def _error(self, status: int, message: str, kind: str = "") -> None:
        self._send(status, encode({"error": {"type": kind, "message": message}}))

    def _send(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client has gone
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _original(space: Any) -> Any:
    return getattr(space, "original_space", space)
