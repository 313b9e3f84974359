"""Looking inside the native engine, for what the public API does not show."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from aktis import _session


def core() -> Any:
    """The runtime of this process."""
    return _session.require_engine().core  # type: ignore[attr-defined]


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Poll ``condition``: for what other processes do without telling us."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        gc.collect()
        sleep(0.01)
    return True


def stored() -> int:
    """Objects in the node's store."""
    memory: dict[str, Any] = _session.require_engine().request("memory")
    return int(memory["store"]["objects"])


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid() -> int:
    return os.getpid()
