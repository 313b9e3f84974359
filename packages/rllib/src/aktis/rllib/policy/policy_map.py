"""The policies of a worker: as many as wanted, of which so many are in memory."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis.rllib.policy import _checkpoint

if TYPE_CHECKING:
    from aktis.rllib.policy.policy import Policy


class PolicyMap(MutableMapping[str, "Policy"]):
    """A dict of policies by id, of which at most `capacity` are in memory: those used last.

    The states of the others are in the object store, or on disk where aktis is not initialised, and come back when
    they are asked for. A
    policy that is no longer in the map's memory must not be used any more: what it learns would be lost.

    Args:
        capacity: How many are in memory at most.
        policy_states_are_swappable: A policy that comes back may take over the object of the one that goes (of the
            same class, with the
            same spaces), which is faster than to make a new one.
        worker_index: Of the worker that has this map.
        num_workers: How many workers there are.
        policy_config: Has no meaning any more.
        session_creator: Has no meaning any more.
        seed: Has no meaning any more.

    Raises:
        ValueError: `capacity` is not positive.
    """

    def __init__(
        self,
        *,
        capacity: int = 100,
        policy_states_are_swappable: bool = False,
        worker_index: int | None = None,
        num_workers: int | None = None,
        policy_config: Any = None,
        session_creator: Any = None,
        seed: int | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"policy_map_capacity={capacity}: at least one policy is in memory.")
        self.capacity = capacity
        self.policy_states_are_swappable = policy_states_are_swappable
        self._order: dict[str, None] = {}  # all ids, in the order in which they were added
        self._live: OrderedDict[str, Policy] = OrderedDict()  # the last is the one used last
        self._stash = _Stash()
        self._lock = threading.RLock()

    def __getitem__(self, key: str) -> Policy:
        with self._lock:
            if key in self._live:
                self._live.move_to_end(key)
                return self._live[key]
            if key not in self._order:
                raise KeyError(key)
            policy = self._bring_back(key)
            self._live[key] = policy
            return policy

    def __setitem__(self, key: str, value: Policy) -> None:
        with self._lock:
            self._stash.drop(key)
            self._order.setdefault(key)
            self._live[key] = value
            self._live.move_to_end(key)
            while len(self._live) > self.capacity:
                self._evict()

    def __delitem__(self, key: str) -> None:
        with self._lock:
            del self._order[key]
            self._live.pop(key, None)
            self._stash.drop(key)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._order))

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, key: object) -> bool:
        return key in self._order

    def in_memory(self) -> list[str]:
        """Ids of the policies in memory; the one used last is the last."""
        return list(self._live)

    def __repr__(self) -> str:
        return f"<PolicyMap policies={list(self._order)} in memory={self.in_memory()}>"

    def _evict(self) -> Policy:
        key, policy = self._live.popitem(last=False)
        self._stash.put(key, policy.get_state())
        return policy

    def _bring_back(self, key: str) -> Policy:
        from aktis.rllib.policy.policy import Policy

        state = self._stash.get(key)
        leaving = self._evict() if len(self._live) >= self.capacity else None
        if leaving is not None and self.policy_states_are_swappable and _same_kind(leaving, state):
            leaving.set_state(state)
            policy = leaving
        else:
            policy = Policy.from_state(state)
        self._stash.drop(key)
        return policy


class _Stash:
    """States of policies: references into the object store, or directories."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}
        self._directory: Path | None = None
        self._made = 0

    def put(self, key: str, state: dict[str, Any]) -> None:
        import aktis

        self.drop(key)
        if aktis.is_initialized():
            self._kept[key] = aktis.put(state)
            return
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="aktis-policies-"))
            weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._made += 1
        place = self._directory / str(self._made)
        _checkpoint.write_policy(place, state)
        self._kept[key] = place

    def get(self, key: str) -> dict[str, Any]:
        import aktis

        kept = self._kept[key]
        if isinstance(kept, Path):
            return _checkpoint.read_policy(kept)
        state: dict[str, Any] = aktis.get(kept)
        return state

    def drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if isinstance(kept, Path):
            shutil.rmtree(kept, ignore_errors=True)


def _same_kind(policy: Policy, state: dict[str, Any]) -> bool:
    from aktis.rllib.policy._policy_spec import find_class

    spec = state.get("policy_spec") or {}
    return (
        find_class(spec.get("policy_class")) is type(policy)
        and spec.get("observation_space") == policy.observation_space
        and spec.get("action_space") == policy.action_space
    )
