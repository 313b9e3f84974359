"""Callbacks: what a run tells those who listen to it (loggers, progress displays, the user's own).

A run calls the hooks in its event loop, one at a time, in the order in which the callbacks were given. A hook that raises
ends the run, so loggers catch what they can go on without.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from aktis.air.exceptions import add_note

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint

__all__ = ["Callback", "CallbackList", "LoggerCallback", "TrialInfo"]


logger = logging.getLogger(__name__)


class TrialInfo(Protocol):
    """What callbacks may rely on of a trial. ``str(trial)`` is its name; trials are hashable and compare by id."""

    @property
    def trial_id(self) -> str:
        """Its id, unique in the experiment."""

    @property
    def trainable_name(self) -> str:
        """Name of what is trained."""

    @property
    def experiment_tag(self) -> str:
        """Its number and its hyper-parameters, short."""

    @property
    def config(self) -> dict[str, Any]:
        """The hyper-parameters, with what is fixed."""

    @property
    def evaluated_params(self) -> dict[str, Any]:
        """Those of them that were searched or sampled, by their path."""

    @property
    def logdir(self) -> str:
        """Its directory."""

    @property
    def status(self) -> str:
        """PENDING, RUNNING, PAUSED, TERMINATED or ERROR."""

    @property
    def last_result(self) -> dict[str, Any]:
        """Its latest result; {} before the first."""

    @property
    def experiment_dir_name(self) -> str:
        """Name of the experiment's directory."""


class Callback:
    """Hooks of a run. Subclasses override what they need; every keyword may grow, so take ``**info``.

    ``iteration`` counts the turns of the event loop, ``trials`` are all trials so far (do not change the list).
    """

    def setup(
        self, stop: Any = None, num_samples: int | None = None, total_num_samples: int | None = None, **info: Any
    ) -> None:
        """Before the first trial."""

    def on_step_begin(self, iteration: int, trials: Sequence[TrialInfo], **info: Any) -> None:
        """A turn of the event loop begins."""

    def on_step_end(self, iteration: int, trials: Sequence[TrialInfo], **info: Any) -> None:
        """A turn of the event loop ended."""

    def on_trial_start(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        """The trial was started, or started again."""

    def on_trial_restore(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        """The trial goes on from a checkpoint."""

    def on_trial_save(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        """A checkpoint of the trial is complete (also reported by :meth:`on_checkpoint`)."""

    def on_trial_result(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, result: dict[str, Any], **info: Any
    ) -> None:
        """The trial reported. ``result`` is this callback's to read, not to change."""

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        """The trial ended well: by itself, by a stopping rule or by the scheduler."""

    def on_trial_error(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        """The trial failed and will not be tried again."""

    def on_checkpoint(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, checkpoint: Checkpoint, **info: Any
    ) -> None:
        """A checkpoint of the trial is complete."""

    def on_experiment_end(self, trials: Sequence[TrialInfo], **info: Any) -> None:
        """After the last trial, also when the run was interrupted."""

    def get_state(self) -> dict[str, Any] | None:
        """What :meth:`set_state` of a resumed run needs; None when there is nothing to keep."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` gave, before :meth:`setup`."""


class LoggerCallback(Callback):
    """A callback that keeps a log per trial: four hooks, with the bookkeeping done."""

    def log_trial_start(self, trial: TrialInfo) -> None:
        """Begin, or go on with, the trial's log."""

    def log_trial_restore(self, trial: TrialInfo) -> None:
        """The trial goes on from a checkpoint."""

    def log_trial_save(self, trial: TrialInfo) -> None:
        """A checkpoint of the trial is complete."""

    def log_trial_result(self, iteration: int, trial: TrialInfo, result: dict[str, Any]) -> None:
        """Write one result."""

    def log_trial_end(self, trial: TrialInfo, failed: bool = False) -> None:
        """Close the trial's log."""

    def on_trial_start(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        self.log_trial_start(trial)

    def on_trial_restore(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        self.log_trial_restore(trial)

    def on_trial_save(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        self.log_trial_save(trial)

    def on_trial_result(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, result: dict[str, Any], **info: Any
    ) -> None:
        self.log_trial_result(iteration, trial, result)

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        self.log_trial_end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        self.log_trial_end(trial, failed=True)


class CallbackList:
    """Callbacks of one run, called in order. A hook that nobody overrides costs nothing."""

    HOOKS = (
        "setup", "on_step_begin", "on_step_end", "on_trial_start", "on_trial_restore", "on_trial_save", "on_trial_result",
        "on_trial_complete", "on_trial_error", "on_checkpoint", "on_experiment_end",
    )  # fmt: skip

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    f"callbacks must be instances of Callback, got {callback!r} ({type(callback).__name__})"
                )
        self._listeners = {
            hook: [getattr(callback, hook) for callback in self.callbacks if _overrides(callback, hook)]
            for hook in self.HOOKS
        }

    def call(self, hook: str, *args: Any, **info: Any) -> None:
        """Call ``hook`` of everyone who has one."""
        for listener in self._listeners[hook]:
            _call(listener, hook, args, info)

    def call_all(self, hook: str, *args: Any, **info: Any) -> None:
        """Call ``hook`` of everyone who has one, also when one raises. The first error is raised then, others are logged."""
        first: BaseException | None = None
        for listener in self._listeners[hook]:
            try:
                _call(listener, hook, args, info)
            except BaseException as error:
                if first is not None:
                    logger.error("%s of the callback %s raised, too", hook, _name_of(listener), exc_info=error)
                first = first or error
        if first is not None:
            raise first

    def listens(self, hook: str) -> bool:
        """Whether anyone has that hook."""
        return bool(self._listeners[hook])

    def get_states(self) -> dict[int, dict[str, Any]]:
        """The states worth keeping, by position."""
        states = {index: callback.get_state() for index, callback in enumerate(self.callbacks)}
        return {index: state for index, state in states.items() if state is not None}

    def set_states(self, states: dict[int, dict[str, Any]]) -> None:
        """Give the states back; positions that no longer exist are left out."""
        for index, state in states.items():
            if index < len(self.callbacks):
                self.callbacks[index].set_state(state)


def _call(listener: Any, hook: str, args: tuple[Any, ...], info: dict[str, Any]) -> None:
    try:
        listener(*args, **info)
    except BaseException as error:
        add_note(error, f"raised by {hook} of the callback {_name_of(listener)}")
        raise


def _name_of(listener: Any) -> str:
    return type(getattr(listener, "__self__", listener)).__name__


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(Callback, hook) or hook in vars(callback)
