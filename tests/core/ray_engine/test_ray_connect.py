"""Connecting where no cluster is. Needs Ray; what works on a cluster is checked by the conformance tests with ``--engine ray``."""

from __future__ import annotations

import socket

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
