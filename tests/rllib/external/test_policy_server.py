"""A policy server and its clients, over HTTP."""

from __future__ import annotations

import http.client
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.env import _policy_protocol as protocol
from aktis.rllib.env.policy_client import PolicyClient, PolicyServerError, PolicyServerUnreachable
from aktis.rllib.env.policy_server_input import PolicyServerInput
from aktis.rllib.evaluation.rollout_worker import RolloutWorker
from aktis.rllib.policy.policy import Policy, PolicySpec
from aktis.rllib.utils._codec import decode, encode

OBS = gym.spaces.Box(-1000, 1000, (2,), np.float32)
ACT = gym.spaces.Discrete(100)


class EchoPolicy(Policy):
    """Its action is its weight plus the first number of the observation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.view_requirements = {}
        self.weight = 0

    def compute_actions(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    def compute_actions_from_input_dict(self, input_dict: Any, **kwargs: Any) -> Any:
        return input_dict["obs"][:, 0].astype(np.int64) + self.weight, [], {}

    def get_weights(self) -> Any:
        return {"w": np.array([self.weight])}

    def set_weights(self, weights: Any) -> None:
        self.weight = int(weights["w"][0])


def config_of(multi_agent: bool = False) -> AlgorithmConfig:
    spec = PolicySpec(EchoPolicy, OBS, ACT, {})
    policies = {"p": spec, "q": spec} if multi_agent else {"default_policy": spec}
    mapping = (lambda agent, *args, **kwargs: agent) if multi_agent else (lambda *args, **kwargs: "default_policy")
    return (
        AlgorithmConfig()
        .environment(None, observation_space=OBS, action_space=ACT)
        .rollouts(num_rollout_workers=0, rollout_fragment_length=5)
        .multi_agent(policies=policies, policy_mapping_fn=mapping)
    )


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[RolloutWorker, PolicyServerInput]]]:
    workers: list[RolloutWorker] = []

    def start(multi_agent: bool = False, **options: Any) -> tuple[RolloutWorker, PolicyServerInput]:
        config = config_of(multi_agent).offline_data(input_=lambda ioctx: PolicyServerInput(ioctx, port=0, **options))
        worker = RolloutWorker(config=config)
        workers.append(worker)
        return worker, worker.sampler.reader

    yield start
    for worker in workers:
        worker.stop()


def in_thread(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def episodes(client: PolicyClient, count: int, length: int = 5) -> list[Any]:
    actions = []
    for _ in range(count):
        name = client.start_episode()
        for t in range(length):
            actions.append(client.get_action(name, np.array([t, 0], np.float32)))
            client.log_returns(name, 2.0, {"t": t})
        client.end_episode(name, np.array([length, 0], np.float32))
    return actions


@pytest.mark.parametrize("mode", ["remote", "local"])
def test_actions_go_out_and_experience_comes_in(mode: str, serve: Any) -> None:
    worker, server = serve()
    worker.policy_map["default_policy"].weight = 10
    server._take_weights()
    found: list[Any] = []

    def drive() -> None:
        with PolicyClient(f"http://127.0.0.1:{server.port}", mode, update_interval=None) as client:
            found.extend(episodes(client, 3))

    thread = in_thread(drive)
    batches = [worker.sample() for _ in range(2)]
    thread.join(20)
    assert not thread.is_alive()
    assert [int(action) for action in found] == [10, 11, 12, 13, 14] * 3
    for batch in batches:
        assert batch["obs"][:, 0].tolist() == [0, 1, 2, 3, 4]
        assert batch["rewards"].tolist() == [2.0] * 5
        assert batch["terminateds"].tolist() == [False] * 4 + [True]
    metrics = worker.get_metrics()
    assert {(episode.episode_length, episode.episode_reward) for episode in metrics} == {(5, 10.0)}


def test_clients_get_new_weights(serve: Any) -> None:
    worker, server = serve()
    with PolicyClient(f"127.0.0.1:{server.port}", "local", update_interval=None) as client:
        assert int(episodes(client, 1)[0]) == 0
        worker.sample()
        worker.policy_map["default_policy"].weight = 50
        server._take_weights()
        client.update_policy_weights()
        episodes(client, 1)  # of the fragment that runs already
        worker.sample()
        assert int(episodes(client, 1)[0]) == 50


def test_several_agents(serve: Any) -> None:
    worker, server = serve(multi_agent=True)
    with PolicyClient(f"127.0.0.1:{server.port}", "remote") as client:
        name = client.start_episode("mine")
        assert name == "mine"
        for t in range(5):
            seen = {"p": np.array([t, 0], np.float32), "q": np.array([50 + t, 0], np.float32)}
            actions = client.get_action(name, seen)
            assert actions == {"p": t, "q": 50 + t}
            client.log_returns(name, {"p": 1.0, "q": -1.0}, None, {"q": t == 4})
        client.end_episode(name, {"p": np.zeros(2, np.float32)})
    batch = worker.sample()
    assert batch["q"]["rewards"].tolist() == [-1.0] * 5
    assert batch.env_steps() == 5 and batch.agent_steps() == 10


def test_logged_actions(serve: Any) -> None:
    worker, server = serve()
    with PolicyClient(f"127.0.0.1:{server.port}", "remote") as client:
        name = client.start_episode()
        for _ in range(5):
            client.log_action(name, np.zeros(2, np.float32), 77)
            client.log_returns(name, 1.0)
        client.end_episode(name, np.zeros(2, np.float32))
        with pytest.raises(ValueError, match="has ended"):
            client.get_action(name, np.zeros(2))
        with pytest.raises(KeyError, match="no episode 'nobody'"):
            client.get_action("nobody", np.zeros(2))
        with pytest.raises(ValueError, match="type object cannot be sent"):
            client.get_action(name, object())
    assert worker.sample()["actions"].tolist() == [77] * 5


def test_nobody_without_the_token(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(protocol.TOKEN_VARIABLE, raising=False)
    _, server = serve(token="secret")
    address = f"127.0.0.1:{server.port}"
    for token in (None, False, "wrong", "secre", "secrets"):
        with PolicyClient(address, "remote", token=token) as client:
            with pytest.raises(PolicyServerError, match="token is missing or wrong"):
                client.start_episode()
    monkeypatch.setenv(protocol.TOKEN_VARIABLE, "secret")
    with PolicyClient(address, "remote") as client:
        client.start_episode()
    with pytest.raises(PolicyServerError, match="token is missing or wrong"):
        PolicyClient(address, "local", token="wrong")


def test_who_may_listen_where(monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    monkeypatch.delenv(protocol.TOKEN_VARIABLE, raising=False)
    with pytest.raises(ValueError, match="needs a token"):
        serve(address="0.0.0.0")
    with pytest.raises(ValueError, match=r"may only listen on 127.0.0.1, not on '0.0.0.0'"):
        serve(address="0.0.0.0", token=False)
    _, open_server = serve(token=False)
    with PolicyClient(f"127.0.0.1:{open_server.port}", "remote", token=False) as client:
        client.start_episode()
    # Without any: one of its own, in a file that only this user can read, and that goes with the server.
    _, server = serve()
    path = protocol._token_file(server.port)
    assert path.stat().st_mode & 0o077 == 0 and path.read_text() == server._token
    server.shutdown()
    assert not path.exists()


def post(server: PolicyServerInput, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    given = {"Content-Type": protocol.CONTENT_TYPE, "Authorization": f"Bearer {server._token}", **headers}
    try:
        connection.request("POST", protocol.PATH, body, given)
        response = connection.getresponse()
        return response.status, decode(response.read())
    finally:
        connection.close()


def test_bad_requests_are_refused_and_the_server_goes_on(serve: Any) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (os.mkdir, ("/this/must/not/be/made",))

    worker, server = serve(max_body_bytes=10_000)
    assert post(server, pickle.dumps(Trap()))[0] == 400
    assert post(server, b"")[0] == 400
    assert post(server, encode([1]))[0] == 400
    assert post(server, encode({"client": "c", "number": 1, "command": "EXECUTE"}))[0] == 400
    assert post(server, b"x" * 20_000)[0] == 413
    assert post(server, encode({}), **{"Content-Type": "text/plain"})[0] == 415
    for samples in (
        {},
        {"columns": {"rewards": [1]}},
        {"columns": {"rewards": np.zeros(2), "obs": np.zeros(3)}},
        {"policies": {}, "env_steps": "x"},
    ):
        message = {"client": "c", "number": id(samples), "command": "REPORT_SAMPLES", "samples": samples}
        assert post(server, encode(message))[0] == 400, samples
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 405
    connection.close()
    with PolicyClient(f"127.0.0.1:{server.port}", "remote") as client:
        episodes(client, 1)
    assert worker.sample().env_steps() == 5


def test_a_repeated_request_is_done_once(serve: Any) -> None:
    worker, server = serve()
    with PolicyClient(f"127.0.0.1:{server.port}", "remote") as client:
        name = client.start_episode()
        ask = {"client": "c", "command": "GET_ACTION", "episode_id": name, "observation": np.array([3, 0], np.float32)}
        first, second = (post(server, encode({**ask, "number": 1})) for _ in range(2))
        assert first == second == (200, {"result": 3})
        post(server, encode({"client": "c", "number": 2, "command": "LOG_RETURNS", "episode_id": name, "reward": 1.0}))
        post(server, encode({"client": "c", "number": 2, "command": "LOG_RETURNS", "episode_id": name, "reward": 1.0}))
        client.end_episode(name, np.zeros(2, np.float32))
        episodes(client, 1)
    batch = worker.sample()
    assert batch["rewards"][0] == 1.0 and batch["t"].tolist()[:2] == [0, 0]


@pytest.mark.parametrize("mode", ["remote", "local"])
def test_filters_learn_from_clients(mode: str) -> None:
    config = config_of().rollouts(observation_filter="MeanStdFilter")
    worker = RolloutWorker(config=config.offline_data(input_=lambda ioctx: PolicyServerInput(ioctx, port=0)))
    server = worker.sampler.reader
    try:
        with PolicyClient(f"127.0.0.1:{server.port}", mode) as client:
            for _ in range(2):
                name = client.start_episode()
                for t in range(5):
                    client.get_action(name, np.array([t, 100], np.float32))
                client.end_episode(name, np.array([5, 100], np.float32))
        worker.sample()
        worker.sample()
        server._take_weights()
        stats = worker.filters["default_policy"].running_stats
        assert stats.n == 10 and stats.mean.tolist() == [2.0, 100.0]
        if mode == "local":
            for wrong in ({"default_policy": 1}, {"nobody": {}}, [1]):
                message = {"client": "c", "number": 1, "command": "REPORT_SAMPLES", "filters": wrong}
                assert post(server, encode({**message, "client": repr(wrong)}))[0] == 400
    finally:
        worker.stop()


@pytest.mark.parametrize("mode", ["remote", "local"])
def test_a_server_that_ends_is_told_to_those_who_wait(mode: str, serve: Any) -> None:
    worker, server = serve()
    client = PolicyClient(f"127.0.0.1:{server.port}", mode, connect_timeout=0.3)
    with pytest.raises((PolicyServerError, PolicyServerUnreachable)):
        worker.stop()
        episodes(client, 3)
    client.close()
    with pytest.raises(RuntimeError, match="has been shut down"):
        server.next()


def test_a_client_waiting_for_an_action_is_woken(serve: Any) -> None:
    worker, server = serve(max_queued_batches=1)
    raised: list[BaseException] = []

    def drive() -> None:
        client = PolicyClient(f"127.0.0.1:{server.port}", "remote", connect_timeout=0.3)
        try:
            episodes(client, 100)  # nobody takes the batches: at some time it waits
        except (PolicyServerError, PolicyServerUnreachable) as error:
            raised.append(error)
        client.close()

    thread = in_thread(drive)
    while not server._samples.full():
        thread.join(0.01)
    worker.stop()
    thread.join(20)
    assert raised and not thread.is_alive()


def test_no_server() -> None:
    with PolicyClient("127.0.0.1:9", "remote", connect_timeout=0.2) as client:
        with pytest.raises(PolicyServerUnreachable, match=r"at 127.0.0.1:9 .*still running"):
            client.start_episode()
    with pytest.raises(ValueError, match="inference_mode='far'"):
        PolicyClient("x", "far")
    with pytest.raises(ValueError, match="no address"):
        PolicyClient("ftp://x", "remote")


def test_code_of_a_server_that_does_not_know_the_token_is_not_run(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, server = serve(token="secret")
    monkeypatch.setattr(server, "_token", None)  # somebody in its place, who lets everybody in
    with pytest.raises(PolicyServerError, match="not signed with the token"):
        PolicyClient(f"127.0.0.1:{server.port}", "local", token="secret")
