"""Connecting where no cluster is. Needs Ray; what works on a cluster is checked by the conformance tests with ``--engine ray``."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

import aktis

pytest.importorskip("ray")


@pytest.mark.parametrize("address", ["ray+127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_nobody_listens(address: str) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        given = address.format(taken.getsockname()[1])
        with pytest.raises(ConnectionError, match="no Ray cluster answers at address=.*refused"):
            aktis.init(given, configure_logging=False)
    assert not aktis.is_initialized()


def test_the_variable_of_ray_names_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(ConnectionError, match=f"at address='ray' .127.0.0.1:{port}.*refused"):
            aktis.init("ray", configure_logging=False)


@pytest.mark.parametrize(
    ("failures", "message", "calls"),
    [
        (1, "Starting Ray client server failed", 2),
        (2, "Starting Ray client server failed", 2),
        (1, "Initialization failure from server: psutil.NoSuchProcess: process no longer exists", 2),
        (1, "Authentication failed", 1),
    ],
)
def test_a_server_for_the_client_that_did_not_start(
    monkeypatch: pytest.MonkeyPatch, failures: int, message: str, calls: int
) -> None:
    """Ray sometimes fails to start it, and can the next time; nothing else is tried again."""
    import ray

    from aktis._ray import connect

    tried: list[str] = []

    def init(address: str, **_: Any) -> None:
        tried.append(address)
        if len(tried) <= failures:
            raise ConnectionAbortedError(message)

    monkeypatch.setattr(ray, "init", init)
    settings: Any = SimpleNamespace(namespace="n", log_to_driver=False)
    if calls > failures:
        connect._connect("ray://head:1", settings, {})
    else:
        with pytest.raises(ConnectionError, match=message) as caught:
            connect._connect("ray://head:1", settings, {})
        assert ("token" in str(caught.value)) == (calls == 1)
    assert tried == ["ray://head:1"] * calls
