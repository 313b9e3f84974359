"""Where the members of a group find each other: the session's key-value store.

::

    rank 0                                     rank r
    put token := T                             poll token ──► T
    poll T/here/1 ... T/here/n-1       ◄────   put T/here/r
    put T/go, delete token             ────►   poll T/go (and token: a newer T starts over)
    gloo exchanges addresses under T/store     gloo exchanges addresses under T/store

The token exists only while rank 0 waits, so what a crashed group of the same name left behind can't be joined.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

NAMESPACE = "aktis.collective"
_FIRST_POLL = 0.002
_LONGEST_POLL = 0.05


class RendezvousTimeout(TimeoutError):
    """The members of a group did not find each other in time."""


class KeyValues:
    """The session's key-value store, under a prefix, with waiting."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._mine: set[str] = set()

    def put(self, key: str, value: bytes) -> None:
        self._mine.add(key)
        _request("kv_put", key=self._full(key), value=value, overwrite=True)

    def get(self, key: str) -> bytes | None:
        value: bytes | None = _request("kv_get", key=self._full(key))
        return value

    def delete(self, key: str) -> bool:
        self._mine.discard(key)
        return bool(_request("kv_del", key=self._full(key)))

    def delete_mine(self) -> None:
        """Delete what this object has put."""
        for key in list(self._mine):
            self.delete(key)

    def _full(self, key: str) -> bytes:
        return f"{self._prefix}/{key}".encode()


def _request(method: str, **arguments: Any) -> Any:
    from aktis import _session

    return _session.require_engine().request(method, namespace=NAMESPACE, **arguments)


def poll(look: Callable[[], Any], timeout: float, complaint: Callable[[], str]) -> Any:
    """Call ``look`` until it returns something else than None."""
    deadline = time.monotonic() + timeout
    pause = _FIRST_POLL
    while (found := look()) is None:
        if time.monotonic() >= deadline:
            raise RendezvousTimeout(complaint())
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_POLL)
    return found


def meet(group_name: str, world_size: int, rank: int, timeout: float) -> KeyValues:
    """Wait until all members are here; the store that they share from now on."""
    lobby = KeyValues(f"group/{group_name}")
    if rank == 0:
        return _host(lobby, group_name, world_size, timeout)

    def look() -> KeyValues | None:
        token = lobby.get("token")
        if token is not None and token.decode() not in joined:
            joined[token.decode()] = room = KeyValues(f"room/{token.decode()}")
            room.put(f"here/{rank}", b"1")
        return next((room for room in joined.values() if room.get("go") is not None), None)

    joined: dict[str, KeyValues] = {}
    found: KeyValues = poll(
        look,
        timeout,
        lambda: (
            f"rank {rank} of collective group {group_name!r} found no rank 0 within {timeout:g} s: "
            f"all {world_size} members must call init_collective_group"
        ),
    )
    return found


def _host(lobby: KeyValues, group_name: str, world_size: int, timeout: float) -> KeyValues:
    token = secrets.token_hex(8)
    room = KeyValues(f"room/{token}")
    missing = list(range(1, world_size))
    lobby.put("token", token.encode())

    def look() -> bool | None:
        missing[:] = [rank for rank in missing if room.get(f"here/{rank}") is None]
        return None if missing else True

    try:
        poll(
            look,
            timeout,
            lambda: (
                f"collective group {group_name!r}: rank(s) {missing} of {world_size} did not call "
                f"init_collective_group within {timeout:g} s"
            ),
        )
        room.put("go", b"1")
    finally:
        lobby.delete("token")
    return room


def torch_store(values: KeyValues, timeout: float) -> Any:
    """The key-value store as torch.distributed wants it."""
    from torch.distributed import Store

    class SessionStore(Store):  # type: ignore[misc]
        def set(self, key: str, value: Any) -> None:
            values.put(f"store/{key}", value.encode() if isinstance(value, str) else bytes(value))

        def get(self, key: str) -> bytes:
            return bytes(
                poll(
                    lambda: values.get(f"store/{key}"),
                    timeout,
                    lambda: f"a member of the collective group left while it was set up ({key!r} did not come)",
                )
            )

        def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
            for key in keys:
                self.get(key)

        def check(self, keys: list[str]) -> bool:
            return all(values.get(f"store/{key}") is not None for key in keys)

        def set_timeout(self, timeout: timedelta) -> None:
            pass

        def delete_key(self, key: str) -> bool:
            return values.delete(f"store/{key}")

    return SessionStore()
