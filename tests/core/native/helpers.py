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


def eventually(condition: Callable[[], bool], seconds: float = 10.0, collect: bool = True) -> bool:
    """Poll ``condition``: for what other processes do without telling us."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        if collect:
            gc.collect()
        sleep(0.01)
    return True


def stored() -> int:
    """Objects in the node's store."""
    memory: dict[str, Any] = _session.require_engine().request("memory")
    return int(memory["store"]["objects"])


def stored_at_last(count: int, collect: bool = True) -> bool:
    """Whether the store comes to hold ``count`` objects."""
    return eventually(lambda: stored_now() == count, collect=collect)


def stored_at_most(count: int) -> bool:
    return eventually(lambda: stored_now() <= count)


def stored_now() -> int:
    """Objects in the node's store, when it knows what this process has dropped."""
    runtime = core()
    runtime.pump.call_soon(runtime.drain_dropped)
    return stored()


def lose_everything() -> None:
    """Delete all segments behind the engine's back, as a failing machine would."""
    store = core().store
    for name in os.listdir(store.store_dir):
        os.unlink(os.path.join(store.store_dir, name))
    store.trim()


def lose(ref: Any) -> None:
    """Delete the segment of one object that this process owns."""
    store = core().store
    os.unlink(os.path.join(store.store_dir, ref.value[2]))
    store.trim()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid() -> int:
    return os.getpid()
