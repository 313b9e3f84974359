"""From fragments to train batches: put together, mixed with old ones, and (in actors) both beside the algorithm."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from aktis.rllib.policy.sample_batch import concat_samples

logger = logging.getLogger(__name__)

__all__ = ["Aggregators", "Replay", "take_batches"]


def take_batches(fragments: list[Any], size: int) -> list[Any]:
    """Batches of at least ``size`` environment steps, of whole fragments; those that are used are taken out of the list."""
    batches, begin, steps = [], 0, 0
    for end, fragment in enumerate(fragments, start=1):
        steps += fragment.env_steps()
        if steps >= size:
            batches.append(concat_samples(fragments[begin:end]))
            begin, steps = end, 0
    del fragments[:begin]
    return batches


class Replay:
    """Old batches for new ones (Espeholt et al. 2018, section 5.2.2).

    Args:
        proportion: Old batches for each new one; 1.5 is one, and a second one every other time.
        slots: How many are kept; the oldest goes first. 0: none.
        seed: Of the choice.
    """

    def __init__(self, proportion: float, slots: int, seed: int | None = None) -> None:
        self._proportion = proportion if slots else 0.0
        self._slots: list[Any] = []
        self._size = slots
        self._at = 0
        self._owed = 0.0
        self._rng = np.random.default_rng(seed)

    def mix(self, batch: Any) -> list[Any]:
        """The new batch, and the old ones that come with it."""
        if not self._proportion:
            return [batch]
        old = []
        self._owed += self._proportion
        while self._owed >= 1.0 and self._slots:
            old.append(self._slots[int(self._rng.integers(len(self._slots)))])
            self._owed -= 1.0
        self._owed %= 1.0
        if len(self._slots) < self._size:
            self._slots.append(batch)
        else:
            self._slots[self._at] = batch
            self._at = (self._at + 1) % self._size
        return [batch, *old]


class _Aggregator:
    """An actor that puts fragments together."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._fragments: list[Any] = []

    def add(self, fragment: Any) -> list[Any]:
        self._fragments.append(fragment)
        return take_batches(self._fragments, self._size)


class Aggregators:
    """Actors that get references to fragments, and give whole batches: the algorithm's process copies each step once, not twice.

    Args:
        count: How many.
        size: Environment steps of a batch.
        in_flight: Fragments under way to each.
        remake: Whether one that died is made anew (the fragments that it had are lost).
    """

    def __init__(self, count: int, size: int, in_flight: int, remake: bool = False) -> None:
        import aktis

        self._actor: Any = aktis.remote(num_cpus=0)(_Aggregator)
        self._size = size
        self._actors = [self._make() for _ in range(count)]
        self._in_flight = in_flight
        self._remake = remake
        self._waiting: list[Any] = []  # references to fragments
        self._pending: dict[Any, int] = {}  # reference of a call -> the actor's index

    def process(self, fragments: list[Any], wait_s: float) -> list[Any]:
        """Hand over references to fragments; the batches that are ready.

        Raises:
            AktisError: an aggregation worker died, or failed.
        """
        import aktis

        self._waiting += fragments
        self._hand_over()
        if not self._pending:
            return []
        ready, _ = aktis.wait(list(self._pending), num_returns=len(self._pending), timeout=wait_s)
        batches = []
        for call in ready:
            index = self._pending.pop(call, None)
            if index is None:  # of one that has been made anew
                continue
            try:
                batches += aktis.get(call)
            except aktis.exceptions.AktisActorError as error:
                if not self._remake:
                    raise
                self._replace(index, error)
        self._hand_over()
        return batches

    def _make(self) -> Any:
        return self._actor.remote(self._size)

    def _replace(self, index: int, error: Exception) -> None:
        import aktis

        logger.warning("aggregation worker %d is made anew: %s", index, error)
        aktis.kill(self._actors[index])
        self._actors[index] = self._make()
        self._pending = {call: of for call, of in self._pending.items() if of != index}

    def _hand_over(self) -> None:
        busy = [0] * len(self._actors)
        for index in self._pending.values():
            busy[index] += 1
        while self._waiting:
            index = min(range(len(busy)), key=busy.__getitem__)
            if busy[index] >= self._in_flight:
                return
            self._pending[self._actors[index].add.remote(self._waiting.pop(0))] = index
            busy[index] += 1

    def stop(self) -> None:
        """End the actors."""
        import aktis

        for actor in self._actors:
            aktis.kill(actor)
        self._actors = []
