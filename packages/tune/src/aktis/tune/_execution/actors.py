"""The actors of a run: made, asked, awaited, and ended, whatever they do.

```
 loop ── start / step / save ──► slot (one actor, at most one call in flight) ──► TrialActor
      ◄── wait(): (trial, what was asked, value or exception)
      ── release ──► the call in flight is forgotten; stop() is sent; the actor is killed if it does not answer in time
```
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aktis
from aktis.air.placement import actor_options
from aktis.tune import _settings

if TYPE_CHECKING:
    from aktis import ObjectRef
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune.trainable.messages import TrialSetup
    from aktis.util.placement_group import PlacementGroup

START, STEP, SAVE = "start", "step", "save"
FUNCTION_GRACE_S = 10.0  # how long a function that was stopped in the middle of a step may go on until its next report


@dataclass(slots=True)
class Slot:
    """One actor."""

    handle: Any
    group: PlacementGroup | None
    call: ObjectRef[Any] | None = None  # in flight


@dataclass(slots=True)
class Answer:
    """What came of a call: a value, or the exception."""

    trial_id: str
    what: str
    value: Any = None
    error: BaseException | None = None


class TrialActors:
    """All actors of a run."""

    def __init__(self, trainables: dict[str, Any], functions: frozenset[str]) -> None:
        """``trainables``: references of what runs, by experiment; ``functions``: the experiments that run functions."""
        self._trainables = trainables
        self._functions = functions
        self._slots: dict[int, Slot] = {}
        self._calls: dict[ObjectRef[Any], tuple[str, str]] = {}  # in flight: (trial, what)
        self._ending: dict[ObjectRef[Any], tuple[Slot, float]] = {}  # stopping: until when
        self._buffer = _settings.result_buffer()
        self._actor_class: Any = None

    # -- asking -----------------------------------------------------------------------------------

    def create(self, slot: int, experiment: str, factory: PlacementGroupFactory) -> None:
        """Make an actor with these resources. It comes to life when they are free."""
        if self._actor_class is None:
            from aktis.tune.trainable.host import TrialActor

            self._actor_class = aktis.remote(TrialActor)
        options, group = _placement(factory)
        handle = self._actor_class.options(**options).remote(self._trainables[experiment])
        self._slots[slot] = Slot(handle, group)

    def start(self, slot: int, setup: TrialSetup) -> None:
        self._ask(slot, setup.trial_id, START, self._slots[slot].handle.start.remote(setup))

    def step(self, slot: int, trial_id: str, buffered: bool) -> None:
        handle = self._slots[slot].handle
        length, least, most = self._buffer
        if buffered and length > 1:
            ref = handle.train_buffered.remote(max(least, min(most, 1.0)), length)
        else:
            ref = handle.train.remote()
        self._ask(slot, trial_id, STEP, ref)

    def save(self, slot: int, trial_id: str) -> None:
        self._ask(slot, trial_id, SAVE, self._slots[slot].handle.save.remote())

    def _ask(self, slot: int, trial_id: str, what: str, ref: ObjectRef[Any]) -> None:
        self._slots[slot].call = ref
        self._calls[ref] = trial_id, what

    def export(self, slot: int, formats: list[str]) -> None:
        """Have a trial export its model. Not waited for: stop() is sent behind it."""
        self._slots[slot].handle.export.remote(formats)

    def release(self, slot: int, experiment: str | None) -> None:
        """End an actor: politely first. Whatever it still does is forgotten."""
        entry = self._slots.pop(slot, None)
        if entry is None:  # it could not be made
            return
        busy = entry.call is not None and self._calls.pop(entry.call, None) is not None
        grace = _settings.force_cleanup_after()
        if busy and experiment in self._functions:
            grace = min(grace, FUNCTION_GRACE_S)
        self._ending[entry.handle.stop.remote()] = entry, time.monotonic() + grace

    # -- waiting ----------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Calls in flight."""
        return len(self._calls)

    def wait(self, timeout: float) -> list[Answer]:
        """What has been answered, after ``timeout`` seconds at the latest."""
        self._sweep()
        calls = self._calls
        if not calls:
            return []
        refs = [*calls, *self._ending] if self._ending else list(calls)
        if len(refs) == 1:
            return self._wait_for_one(refs[0], timeout)
        ready, rest = aktis.wait(refs, timeout=timeout)
        if ready and rest:
            more, _ = aktis.wait(rest, num_returns=len(rest), timeout=0)
            ready += more
        return [self._answer(ref) for ref in ready if ref in calls]

    def _wait_for_one(self, ref: ObjectRef[Any], timeout: float) -> list[Answer]:
        """One call instead of two: most of the time of a single trial that reports often goes here."""
        value: Any = None
        failure: Exception | None = None
        try:
            value = aktis.get(ref, timeout=timeout)
        except aktis.exceptions.GetTimeoutError as error:
            if not isinstance(error, aktis.exceptions.AktisTaskError):  # else it is the trial's own
                return []
            failure = error
        except Exception as error:
            failure = error
        trial_id, what = self._calls.pop(ref)
        return [Answer(trial_id, what, value, failure)]

    def _answer(self, ref: ObjectRef[Any]) -> Answer:
        trial_id, what = self._calls.pop(ref)
        try:
            return Answer(trial_id, what, aktis.get(ref))
        except Exception as error:
            return Answer(trial_id, what, error=error)

    # -- ending -----------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Let go of actors that have stopped, kill those that do not."""
        if not self._ending:
            return
        refs = list(self._ending)
        stopped, waiting = aktis.wait(refs, num_returns=len(refs), timeout=0)
        for ref in stopped:
            self._let_go(self._ending.pop(ref)[0])
        now = time.monotonic()
        for ref in waiting:
            entry, deadline = self._ending[ref]
            if now > deadline:
                del self._ending[ref]
                self._let_go(entry)

    @staticmethod
    def _let_go(entry: Slot) -> None:
        aktis.kill(entry.handle)
        if entry.group is not None:
            from aktis.util.placement_group import remove_placement_group

            remove_placement_group(entry.group)

    def close(self, at_once: bool = False, hurry: bool = False) -> None:
        """End all actors: those that stop in their time, and the others then.

        Args:
            at_once: All of them now.
            hurry: None gets more time than :data:`FUNCTION_GRACE_S`.
        """
        for slot in list(self._slots):
            self.release(slot, None)
        if hurry:
            latest = time.monotonic() + FUNCTION_GRACE_S
            self._ending = {ref: (entry, min(until, latest)) for ref, (entry, until) in self._ending.items()}
        while self._ending and not at_once:
            deadline = min(until for _, until in self._ending.values())
            aktis.wait(list(self._ending), timeout=max(0.0, min(1.0, deadline - time.monotonic())))
            self._sweep()
        for entry, _ in self._ending.values():
            self._let_go(entry)
        self._ending.clear()


def _placement(factory: PlacementGroupFactory) -> tuple[dict[str, Any], PlacementGroup | None]:
    """Options of an actor with these resources, and the placement group that was made for it."""
    if len(factory.bundles) == 1 and not factory.head_bundle_is_empty:
        return actor_options(factory.head_bundle), None
    if not factory.bundles:
        return {"num_cpus": 0}, None
    from aktis.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = factory.to_placement_group()
    head = {name: amount for name, amount in factory.head_bundle.items() if name != "memory"}
    strategy = PlacementGroupSchedulingStrategy(
        group,
        placement_group_bundle_index=-1 if factory.head_bundle_is_empty else 0,
        placement_group_capture_child_tasks=True,
    )
    return {**actor_options(head), "scheduling_strategy": strategy}, group
