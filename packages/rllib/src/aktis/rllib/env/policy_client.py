"""A client of a policy server: for an environment that runs elsewhere, in a simulator, a service or a game."""

from __future__ import annotations

import http.client
import threading
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

from aktis.rllib.env._embedded_worker import InferenceThread, embedded_worker, take_filters
from aktis.rllib.env._policy_protocol import (
    CONTENT_TYPE,
    PATH,
    Commands,
    PolicyServerError,
    PolicyServerUnreachable,
    batch_to_wire,
    client_token,
    is_loopback,
    metrics_to_wire,
    same,
    sign,
)
from aktis.rllib.utils._codec import CodecError, decode, encode

__all__ = ["Commands", "PolicyClient", "PolicyServerError", "PolicyServerUnreachable"]


class PolicyClient:
    """Asks a policy server (`PolicyServerInput`) for actions, and tells it of rewards.

    Observations, actions, rewards and infos are those of one agent; or, if the server's configuration has several agents,
    dicts by agent.

    Args:
        address: Of the server: `"http://host:port"`, `"https://..."` or `"host:port"`.
        inference_mode: `"remote"`: the server computes each action. `"local"`: this process does, with the server's
            policies (whose code it gets from the server), and reports whole batches: faster.
        update_interval: With local inference, seconds after which weights are fetched anew; None: only with
            `update_policy_weights()`.
        token: The server's token. None: that of AKTIS_RLLIB_TOKEN, or the one that a server on this machine has left for
            its user. False: none.
        timeout: Seconds to wait for an answer.
        connect_timeout: Seconds for which a connection is tried again (a server that is being started).

    Raises:
        ValueError: An unknown mode or address.
        PolicyServerUnreachable: There is no server.
        PolicyServerError: It refuses, for example the token.
    """

    def __init__(
        self,
        address: str,
        inference_mode: str = "local",
        update_interval: float | None = 10.0,
        *,
        token: str | bool | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 10.0,
    ) -> None:
        if inference_mode not in ("local", "remote"):
            raise ValueError(f"inference_mode={inference_mode!r}: it is 'local' or 'remote'")
        self.address = address
        self.inference_mode = inference_mode
        self.update_interval = update_interval
        self._connection = _Connection(address, token, timeout, connect_timeout)
        self._lock = threading.Lock()
        self._last_update = 0.0
        self._weights_version = -1
        self._pending: Any = None  # weights for the thread that computes actions
        self._inference: Any = None
        self.env: Any = None
        if inference_mode == "local":
            try:
                self._start_inference()
            except BaseException:
                self._connection.close()
                raise

    # ---- episodes ----

    def start_episode(self, episode_id: str | None = None, training_enabled: bool = True) -> str:
        """Begin an episode.

        Args:
            episode_id: Its name; a new one is made without it.
            training_enabled: Whether it is learned from.

        Returns:
            The name.
        """
        if self.env is not None:
            self._check()
            name: str = self.env.start_episode(episode_id, training_enabled)
            return name
        episode_id = (
            uuid.uuid4().hex if episode_id is None else episode_id
        )  # named here, so that asking twice is no harm
        name = self._ask(Commands.START_EPISODE, episode_id=episode_id, training_enabled=training_enabled)
        return name

    def get_action(self, episode_id: str, observation: Any) -> Any:
        """The action for an observation (for several agents: a dict by agent)."""
        if self.env is not None:
            self._check()
            return self._stopped_means_error(self.env.get_action, episode_id, observation)
        return self._ask(Commands.GET_ACTION, episode_id=episode_id, observation=observation)

    def log_action(self, episode_id: str, observation: Any, action: Any) -> None:
        """An observation and the action that was done, which was chosen here."""
        if self.env is not None:
            self._check()
            self._stopped_means_error(self.env.log_action, episode_id, observation, action)
        else:
            self._ask(Commands.LOG_ACTION, episode_id=episode_id, observation=observation, action=action)

    def log_returns(
        self,
        episode_id: str,
        reward: Any,
        info: dict[Any, Any] | None = None,
        multiagent_done_dict: dict[Any, Any] | None = None,
    ) -> None:
        """A reward since the last action (for several agents: dicts by agent)."""
        if self.env is not None:
            self._check()
            if multiagent_done_dict is not None:
                self.env.log_returns(episode_id, reward, info, multiagent_done_dict)
            else:
                self.env.log_returns(episode_id, reward, info)
        else:
            self._ask(Commands.LOG_RETURNS, episode_id=episode_id, reward=reward, info=info, dones=multiagent_done_dict)

    def end_episode(self, episode_id: str, observation: Any) -> None:
        """The episode is over; with the last observation."""
        if self.env is not None:
            self._check()
            self._stopped_means_error(self.env.end_episode, episode_id, observation)
        else:
            self._ask(Commands.END_EPISODE, episode_id=episode_id, observation=observation)

    def update_policy_weights(self) -> None:
        """Fetch the server's weights now (local inference); they are in force with the next batch."""
        if self._inference is None:
            return
        answer = self._ask(Commands.GET_WEIGHTS)
        with self._lock:
            self._last_update = time.monotonic()
            if answer["version"] != self._weights_version:
                self._weights_version = answer["version"]
                self._pending = (answer["weights"], answer["global_vars"], answer["filters"])

    def close(self) -> None:
        """End the thread that computes actions, and the connection."""
        if self._inference is not None:
            self._inference.stop()
        self._connection.close()

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    # ---- inside ----

    def _ask(self, command: Commands, **arguments: Any) -> Any:
        return self._connection.ask({"command": command.value, **arguments})

    def _check(self) -> None:
        """Before each call, with local inference: is everything well, and is it time for new weights?"""
        error = self._inference.error
        if error is not None:
            if isinstance(error, (PolicyServerError, PolicyServerUnreachable)):
                raise error
            raise PolicyServerError(f"computing actions failed: {type(error).__name__}: {error}") from error
        if self.update_interval is not None and time.monotonic() - self._last_update >= self.update_interval:
            self.update_policy_weights()

    def _stopped_means_error(self, method: Any, *arguments: Any) -> Any:
        from aktis.rllib.env.external_env import EnvStopped

        try:
            return method(*arguments)
        except EnvStopped:
            self._inference.join(5.0)
            self._check()
            raise

    def _start_inference(self) -> None:
        import pickle

        answer = self._ask(Commands.GET_WORKER_ARGS)
        token = self._connection.token
        if token is None and not is_loopback(self._connection.host):
            raise PolicyServerError(
                "local inference runs code that the server sends: from another machine, only with a token, which proves who sent it"
            )
        if not same(sign(answer["args"], token), answer["signature"]):
            raise PolicyServerError(
                "what the server sent is not signed with the token: it is not the server that this token is of"
            )
        args = pickle.loads(answer["args"])
        worker, self.env = embedded_worker(args["config"], args["spaces"], args["default_policy_class"], 0)
        self._inference = InferenceThread(worker, self._report, self._take_pending)
        self.update_policy_weights()
        self._inference.start()

    def _take_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, None
        if pending is not None:
            weights, global_vars, filters = pending
            self._inference.worker.set_weights(weights, global_vars)
            take_filters(self._inference.worker, filters)

    def _report(self, batch: Any, metrics: list[Any], filters: dict[str, Any]) -> None:
        self._ask(
            Commands.REPORT_SAMPLES, samples=batch_to_wire(batch), metrics=metrics_to_wire(metrics), filters=filters
        )


class _Connection:
    """Requests to a server, numbered; one connection for each thread that asks.

    A request whose answer was lost is sent again with its number: the server does it once.
    """

    def __init__(self, address: str, token: str | bool | None, timeout: float, connect_timeout: float) -> None:
        parts = urlsplit(address if "//" in address else f"http://{address}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{address!r} is no address of a policy server: it is like 'http://127.0.0.1:9900'")
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self._secure = parts.scheme == "https"
        self._given_token = token
        self.token = client_token(token, self.host, self.port)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._local = threading.local()
        self._all: list[http.client.HTTPConnection] = []
        self._closed = False

    def ask(self, message: dict[str, Any]) -> Any:
        local = self._local
        if not hasattr(local, "client"):
            local.client, local.number, local.connection = uuid.uuid4().hex, 0, None
        local.number += 1
        try:
            body = encode({"client": local.client, "number": local.number, **message})
        except CodecError as error:
            raise ValueError(f"{message['command']}: {error}") from None
        deadline = time.monotonic() + self._connect_timeout
        while True:
            try:
                status, answer = self._post(body)
                break
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if self._closed or time.monotonic() > deadline or isinstance(error, TimeoutError):
                    raise PolicyServerUnreachable(
                        f"there is no answer from a policy server at {self.host}:{self.port} ({error or type(error).__name__}): "
                        "is the algorithm with PolicyServerInput still running?"
                    ) from error
            time.sleep(0.1)
            self.token = client_token(self._given_token, self.host, self.port)  # of a server that has just come
        return _result(status, answer, self.host, self.port)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        local = self._local
        if local.connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            local.connection = kind(self.host, self.port, timeout=self._timeout)
            self._all.append(local.connection)
        headers = {"Content-Type": CONTENT_TYPE}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        local.connection.request("POST", PATH, body, headers)
        response = local.connection.getresponse()
        return response.status, response.read()

    def _drop(self) -> None:
        connection, self._local.connection = self._local.connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        self._closed = True
        for connection in self._all:
            connection.close()


def _result(status: int, answer: bytes, host: str, port: int) -> Any:
    try:
        message = decode(answer)
    except CodecError:
        raise PolicyServerError(f"what answers at {host}:{port} is no policy server (status {status})") from None
    if status == 200:
        return message["result"]
    error = message.get("error", {})
    text = str(error.get("message", f"status {status}"))
    if error.get("type") == "KeyError":
        raise KeyError(text)
    if error.get("type") == "ValueError":
        raise ValueError(text)
    raise PolicyServerError(text)
