"""What a scheduler is: it says after each result whether a trial goes on, and which trial runs next.

Schedulers are pure: no I/O, no clock, no threads, and randomness only from a generator of their own (``random.Random``,
seeded in the constructor), because a resumed experiment replays its journal through them. Their state is pickled now and then.

What they want done they return (CONTINUE, PAUSE, STOP, NOOP) or ask of the :class:`TrialController` that every hook gets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune.experiment.trial import Trial

__all__ = ["FIFOScheduler", "TrialController", "TrialScheduler"]


class TrialController(Protocol):
    """What a scheduler may see and ask for. The trial runner's brain implements it, and so does the simulator."""

    @property
    def now(self) -> float:
        """The time of the event that is being handled, in seconds; only differences mean something."""

    @property
    def pending(self) -> Mapping[str, Trial]:
        """Trials that wait to be started, by id, first in queue first."""

    @property
    def paused(self) -> Mapping[str, Trial]:
        """Trials that were paused, by id, the one that was paused first first."""

    @property
    def running(self) -> Mapping[str, Trial]:
        """Trials that run, by id."""

    @property
    def expects_trials(self) -> bool:
        """Whether the search algorithm may add trials before anything else happens."""

    def get_trials(self) -> Collection[Trial]:
        """All trials so far, finished ones too. Looking at each on every result is what makes a scheduler slow."""

    def get_live_trials(self) -> Collection[Trial]:
        """Trials that have not ended."""

    def get_trial(self, trial_id: str) -> Trial | None:
        """The trial of that id."""

    def has_resources_for_trial(self, trial: Trial) -> bool:
        """Whether the trial could start now."""

    def pause_trial(self, trial: Trial, should_checkpoint: bool = True) -> None:
        """Stop a running trial, and keep it (with a checkpoint) to go on later. A paused one is left as it is."""

    def unpause_trial(self, trial: Trial) -> None:
        """Put a paused trial at the end of the queue. Others are left as they are."""

    def stop_trial(self, trial: Trial) -> None:
        """End a trial for good, whatever it does now: it counts as completed."""

    def save_trial(self, trial: Trial) -> None:
        """Have a running trial make a checkpoint before its next step."""

    def exploit(self, trial: Trial, donor: Trial, config: dict[str, Any], experiment_tag: str) -> bool:
        """Let ``trial`` go on from ``donor``'s latest checkpoint (one that is being made is waited for) with ``config``.

        False, and nothing changes, when the donor has no checkpoint and none is on its way. A running trial restarts as soon
        as it can, a paused one when it is unpaused.
        """

    def update_trial_resources(self, trial: Trial, resources: PlacementGroupFactory) -> None:
        """Give a trial other resources: a running one is saved and restarted with them."""

    @property
    def total_resources(self) -> dict[str, float]:
        """What the cluster has, e.g. ``{"CPU": 8.0, "GPU": 1.0}``."""


class TrialScheduler:
    """Base of all schedulers. Every hook gets the controller first."""

    CONTINUE: ClassVar[str] = "CONTINUE"  # go on
    PAUSE: ClassVar[str] = "PAUSE"  # keep it for later
    STOP: ClassVar[str] = "STOP"  # end it
    NOOP: ClassVar[str] = "NOOP"  # the scheduler already asked the controller for what it wants

    _metric: str | None = None
    _mode: str | None = None
    _supports_buffered_results = True
    supports_search_algorithms: ClassVar[bool] = True
    """Whether a searcher may suggest the configurations. False: the scheduler changes them itself."""

    @property
    def metric(self) -> str | None:
        """The metric that decides."""
        return self._metric

    @property
    def supports_buffered_results(self) -> bool:
        """Whether several results of a trial may arrive at once (a decision then comes late)."""
        return self._supports_buffered_results

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take metric and mode of the run. False when the scheduler has its own already and others are given."""
        if self._metric and metric:
            return False
        if self._mode and mode:
            return False
        if metric:
            self._metric = metric
        if mode:
            self._mode = mode
        return True

    def on_trial_add(self, controller: TrialController, trial: Trial) -> None:
        """A trial exists now, or is back after a failure."""

    def on_trial_error(self, controller: TrialController, trial: Trial) -> None:
        """A trial failed (it may be added again)."""

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        """A running trial reported: CONTINUE, PAUSE, STOP or NOOP."""
        return self.CONTINUE

    def on_trial_complete(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> None:
        """A trial ended well, after ``result``."""

    def on_trial_remove(self, controller: TrialController, trial: Trial) -> None:
        """A trial that was not running was taken out."""

    def choose_trial_to_run(self, controller: TrialController) -> Trial | None:
        """The trial to start now, from ``controller.pending`` or ``controller.paused``; None when none should start.

        Called again and again until None comes back. Choose only trials for which ``has_resources_for_trial`` holds.
        """
        return first_that_fits(controller.pending, controller) or first_that_fits(controller.paused, controller)

    def debug_string(self) -> str:
        """One or two lines for the progress display."""
        return type(self).__name__

    def pop_log_records(self) -> list[tuple[str, str]]:
        """What is to be written to log files since the last call: (path relative to the experiment's directory, text), in order.

        Schedulers do no I/O, so whoever runs them writes: each text goes to the end of its file, and an empty text begins the
        file anew. The files are for people and for later runs; no decision depends on them.
        """
        return []

    def validate(self) -> None:
        """Raise AssertionError if the state contradicts itself. For tests; may look at everything."""

    def save(self, checkpoint_path: str) -> None:
        """Write the state to a file."""
        import pickle

        with open(checkpoint_path, "wb") as file:
            pickle.dump(self.__dict__, file)

    def restore(self, checkpoint_path: str) -> None:
        """Take over the state that :meth:`save` wrote."""
        import pickle

        with open(checkpoint_path, "rb") as file:
            self.__dict__.update(pickle.load(file))


class FIFOScheduler(TrialScheduler):
    """Trials run in the order in which they were made, to their end."""

    def debug_string(self) -> str:
        return "Using FIFO scheduling algorithm."


def first_that_fits(
    trials: Mapping[str, Trial], controller: TrialController, accept: Callable[[Trial], bool] | None = None
) -> Trial | None:
    """The first of the trials that could start now.

    Most trials of a run need the same, so what does not fit is remembered by its resources: a queue of thousands costs
    one question.
    """
    refused: set[Any] = set()
    last: Any = refused  # nobody's resources
    for trial in trials.values():
        need = trial.placement_group_factory
        if need is last or need in refused or (accept is not None and not accept(trial)):
            continue
        if controller.has_resources_for_trial(trial):
            return trial
        refused.add(need)
        last = need  # trials of a run share the object: comparing it is faster than its hash
    return None
