"""Trials that wait for their turn, the one that has had least first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["TurnQueue"]

Entry = tuple[float, int, str]


class TurnQueue:
    """A heap for each kind of resources: who is first, and fits, is found without looking at all who wait.

    Entries may be out of date (the trial was started, or has ended): they are dropped when they come up.
    """

    def __init__(self) -> None:
        self._heaps: dict[Any, list[Entry]] = {}
        self._entries: dict[str, Entry] = {}

    def put(self, trial: Trial, turn: float, joined: int) -> None:
        """Enter the trial, or move it: smaller turns come first, among equals who joined first."""
        entry = (turn, joined, trial.trial_id)
        if self._entries.get(trial.trial_id) != entry:
            self._entries[trial.trial_id] = entry
            heappush(self._heaps.setdefault(trial.placement_group_factory, []), entry)

    def discard(self, trial_id: str) -> None:
        """The trial waits no more."""
        self._entries.pop(trial_id, None)

    def first(
        self, controller: TrialController, turn_of: Callable[[Trial], tuple[float, int]], before: float = math.inf
    ) -> Trial | None:
        """The first that could start now, of those whose turn is below ``before``."""
        self._add_strangers(controller, turn_of)
        best: Trial | None = None
        best_entry: Entry | None = None
        kinds = list(self._heaps)
        for kind in kinds:  # grows while it is gone through
            entry, moved_to = self._top(kind, controller)
            kinds += moved_to
            if entry is None or entry[0] >= before or (best_entry is not None and best_entry <= entry):
                continue
            trial = _waiting(controller, entry[2])
            if trial is not None and controller.has_resources_for_trial(trial):
                best, best_entry = trial, entry
        return best

    def _top(self, kind: Any, controller: TrialController) -> tuple[Entry | None, list[Any]]:
        """The first entry of a heap that is up to date; and the heaps that got those whose resources have changed."""
        heap = self._heaps.get(kind, [])
        moved_to: list[Any] = []
        while heap:
            entry = heap[0]
            trial = _waiting(controller, entry[2])
            current = self._entries.get(entry[2]) == entry
            if trial is not None and current and trial.placement_group_factory == kind:
                return entry, moved_to
            heappop(heap)
            if trial is None and current:
                del self._entries[entry[2]]
            elif trial is not None and current:
                heappush(self._heaps.setdefault(trial.placement_group_factory, []), entry)
                moved_to.append(trial.placement_group_factory)
        self._heaps.pop(kind, None)
        return None, moved_to

    def _add_strangers(self, controller: TrialController, turn_of: Callable[[Trial], tuple[float, int]]) -> None:
        """Take in trials that somebody else made wait (a user, or a scheduler around the one that has this queue)."""
        if len(self._entries) >= len(controller.pending) + len(controller.paused):
            return
        for trial in chain(controller.pending.values(), controller.paused.values()):
            if trial.trial_id not in self._entries:
                self.put(trial, *turn_of(trial))


def _waiting(controller: TrialController, trial_id: str) -> Trial | None:
    pending: Mapping[str, Trial] = controller.pending
    return pending.get(trial_id) or controller.paused.get(trial_id)
