"""Nothing may leave this machine: attempts are refused at once, and remembered."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

# Read by the clients when they are imported, so this module comes before them.
for _variable in ("COMET_ERROR_TRACKING_ENABLE", "WANDB_ERROR_REPORTING"):
    os.environ[_variable] = "false"
os.environ["COMET_DISABLE_AUTO_LOGGING"] = (
    "1"  # or whatever goes to MLflow after it was imported becomes an experiment of Comet's
)
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

_HERE = {None, "", b"", "localhost", "127.0.0.1", "::1", "0.0.0.0"}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Import this name into a test module, and each of its tests fails that looks up or connects to another host."""
    attempts: list[tuple[Any, str]] = []
    real_connect, real_lookup = socket.socket.connect, socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _HERE:
            attempts.append((address, "".join(traceback.format_stack(limit=30))))
            raise OSError(f"a test tried to connect to {address}")
        real_connect(self, address)

    def lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in _HERE:
            attempts.append((host, "".join(traceback.format_stack(limit=30))))
            raise socket.gaierror(f"a test tried to look up {host}")
        return real_lookup(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    yield
    assert not attempts, "\n".join(f"{what}\n{where}" for what, where in attempts)
