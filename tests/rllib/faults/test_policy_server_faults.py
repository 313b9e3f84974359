"""A policy server among clients that die, drip, and get in each other's way."""

from __future__ import annotations

import socket
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tests.rllib.external.test_policy_server import serve  # noqa: F401  # a fixture

from aktis.rllib.env import _policy_protocol as protocol
from aktis.rllib.env.external_env import ExternalEnv
from aktis.rllib.env.policy_client import PolicyClient


def client_of(server: Any) -> PolicyClient:
    return PolicyClient(f"http://127.0.0.1:{server.port}", inference_mode="remote")


def play(client: PolicyClient, steps: int, episode: str | None = None) -> None:
    name = client.start_episode(episode)
    for _ in range(steps):
        client.get_action(name, np.ones(2, np.float32))
        client.log_returns(name, 1.0)
    client.end_episode(name, np.ones(2, np.float32))


def test_who_drips_bytes_is_cut_off(serve: Any) -> None:  # noqa: F811
    _, server = serve(request_timeout=0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20.0) as slow:
        slow.sendall(f"POST {protocol.PATH} HTTP/1.1\r\n".encode())
        ended = threading.Event()

        def drip() -> None:  # faster than the time-out of a single byte
            while not ended.wait(0.05):
                try:
                    slow.sendall(b"X: y\r\n")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            while slow.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        finally:
            ended.set()
            dripping.join()
    with client_of(server) as client:
        play(client, 3)


def test_a_client_that_vanishes_is_in_nobodys_way(serve: Any) -> None:  # noqa: F811
    worker, server = serve()
    gone = client_of(server)
    name = gone.start_episode("mine")
    gone.get_action(name, np.ones(2, np.float32))
    gone.close()  # in the middle of its episode
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(f"POST {protocol.PATH} HTTP/1.1\r\nContent-Length: 1000\r\n".encode())
    with client_of(server) as client:
        play(client, 12)
    assert worker.sample().count >= 5


def test_two_clients_with_one_episode(serve: Any) -> None:  # noqa: F811
    _, server = serve()
    with client_of(server) as one, client_of(server) as other:
        one.start_episode("same")
        with pytest.raises(ValueError, match="'same' is going on already"):
            other.start_episode("same")
        one.end_episode("same", np.ones(2, np.float32))
        with pytest.raises(ValueError, match="'same' has ended"):
            other.end_episode("same", np.ones(2, np.float32))
        with pytest.raises(ValueError, match="give a new episode another name"):
            other.start_episode("same")
        play(other, 1, "another")


def test_an_episode_without_a_step_is_none(serve: Any) -> None:  # noqa: F811
    worker, server = serve()
    with client_of(server) as client:
        play(client, 0)
        play(client, 12)
        assert worker.sample()["t"][0] == 0
    assert server._inference.error is None


def test_one_request_at_a_time_for_an_episode() -> None:
    asked = threading.Event()

    class Waits(ExternalEnv):
        def run(self) -> None:
            raise AssertionError("nobody starts it")

    env = Waits(gym.spaces.Discrete(2), gym.spaces.Box(-1, 1, (2,), np.float32))
    name = env.start_episode()
    episode = env._get(name)
    tell = episode._tell

    def tell_and_say(*args: Any) -> None:
        tell(*args)
        asked.set()

    episode._tell = tell_and_say  # type: ignore[method-assign]
    actions: list[Any] = []
    first = threading.Thread(target=lambda: actions.append(env.get_action(name, np.ones(2))))
    first.start()
    asked.wait()
    for request in (env.get_action, env.end_episode):
        with pytest.raises(ValueError, match="waits for an action already: one request at a time"):
            request(name, np.ones(2))
    episode.answer.put({"agent0": 1})
    first.join()
    assert actions == [1]
    env.end_episode(name, np.ones(2))
