"""The actor of a trial: a trainable, and the surroundings that its code sees. ``aktis.remote(TrialActor)`` makes the actor class.

Life of an actor (all methods are called one at a time)::

    start(setup) ──► train(), save(), export(), ... ──► stop(keep=True) ──► start(next setup) ──► ... ──► stop()
         │ needs_new_actor, or an error                      │ not reusable
         └────────────────────────► the runner ends the actor ◄┘
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.air import session_host
from aktis.air.exceptions import SessionError
from aktis.air.session_host import SessionHost
from aktis.air.tee import Tee
from aktis.air.tracebacks import without_our_frames
from aktis.tune.error import TuneError
from aktis.tune.registry import take_over
from aktis.tune.trainable import _checkpoint_files as files
from aktis.tune.trainable._facts import host_facts
from aktis.tune.trainable._surroundings import Surroundings
from aktis.tune.trainable.function_trainable import FunctionTrainable
from aktis.tune.trainable.messages import (
    DUPLICATE,
    SavedCheckpoint,
    StartInfo,
    StepResult,
    StopInfo,
    TrialSetup,
    process_token,
)
from aktis.tune.trainable.trainable import Trainable

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["TrialActor"]


class TrialActor:
    """Runs one trial after the other.

    Args:
        trainable: The Trainable class. As an argument of an actor it may be a reference, so that it is pickled once.
    """

    def __init__(self, trainable: type[Trainable]) -> None:
        self._cls = trainable
        self._trainable: Trainable | None = None
        self._setup: TrialSetup | None = None
        self._session: SessionHost | None = None
        self._surroundings = Surroundings(Tee(None), Tee(None))
        self._shares_process = False
        self._unusable = ""  # why no other trial may run here

    def __repr__(self) -> str:
        # In front of its output on the driver.
        return getattr(self._cls, "_name", "") or self._cls.__name__

    # -- life --------------------------------------------------------------------------------------

    def start(self, setup: TrialSetup) -> StartInfo:
        """Begin a trial: with a new trainable, or with that of the trial before, which is reset.

        Raises:
            Whatever the user's ``setup``, ``reset_config`` or ``load_checkpoint`` raises. The actor cannot be used after that.
        """
        if self._setup is not None:
            self.stop(keep=True)
        os.makedirs(setup.logdir, exist_ok=True)
        host = host_facts()
        if self._unusable:
            return StartInfo(**host._asdict(), needs_new_actor=True, reason=self._unusable)
        files.discard_leftovers(setup.logdir)
        self._shares_process = setup.process == process_token()
        if setup.registered and not self._shares_process:
            take_over(setup.registered)
        self._setup = setup
        was_reset = self._trainable is not None
        try:
            self._surroundings.prepare(setup.logdir, setup.chdir, setup.env, setup.log_to_file)
            with self._user_code():
                ready = self._reset(setup) if was_reset else self._create(setup)
                if ready and setup.checkpoint is not None:
                    self._restore(setup.checkpoint, setup.iteration)
        except BaseException as error:
            self._unusable = f"{type(error).__name__} at the start of trial {setup.trial_id}"
            self._end_trial()
            raise without_our_frames(error)  # noqa: B904 - it is the same error
        if not ready:
            self._unusable = f"reset_config() of {self!r} returned False, or its function did not end"
            with contextlib.suppress(Exception):  # the next actor is what counts
                self.stop()
            return StartInfo(**host._asdict(), needs_new_actor=True, reason=self._unusable)
        return StartInfo(**host._asdict(), was_reset=was_reset)

    def _create(self, setup: TrialSetup) -> bool:
        # Not cls(config): setup(), which the constructor calls, already asks which trial it is.
        trainable = self._cls.__new__(self._cls)
        self._join(trainable, setup)
        trainable.__init__(setup.config)  # type: ignore[misc]
        self._trainable = trainable
        return True

    def _reset(self, setup: TrialSetup) -> bool:
        trainable = self._current()
        self._join(trainable, setup)
        return trainable.reset(setup.config)

    def _join(self, trainable: Trainable, setup: TrialSetup) -> None:
        resources = _resources(setup.resources)
        trainable._join_trial(setup.trial_name, setup.trial_id, resources, setup.logdir, setup.experiment_name)
        if not isinstance(trainable, FunctionTrainable):  # a function has a session in its thread
            self._session = ClassSession(setup, resources)
            session_host.install(self._session)

    def _restore(self, checkpoint: Checkpoint | str, iteration: int | None) -> None:
        trainable = self._current()
        trainable.restore(checkpoint)
        if iteration is not None and not trainable._iteration:
            trainable._iteration = iteration

    def restore(self, checkpoint: Checkpoint | str, iteration: int | None = None) -> None:
        """Go on from another checkpoint, in the same trial."""
        with self._user_code():
            self._restore(checkpoint, iteration)

    def reset(self, setup: TrialSetup) -> StartInfo:
        """The same as :meth:`start`."""
        return self.start(setup)

    def stop(self, keep: bool = False) -> StopInfo:
        """End the trial. A function is ended in its report; nothing of its code runs after that but what cleans up.

        Args:
            keep: Whether the actor is to be used for another trial: the trainable is kept, to be reset.

        Raises:
            Whatever the user's ``cleanup`` raises.
        """
        trainable = self._trainable
        try:
            if trainable is not None:
                with self._user_code():
                    if isinstance(trainable, FunctionTrainable) and not trainable.end_function():
                        self._unusable = f"the function {self!r} has not ended"
                    if not keep:
                        self._trainable = None
                        trainable.stop()
        except BaseException as error:
            self._unusable = f"{type(error).__name__} while a trial was stopped"
            raise
        finally:
            self._end_trial()
        return StopInfo(not self._unusable, self._unusable)

    def _end_trial(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session_host.uninstall(session)
        self._surroundings.close()
        self._setup = None

    def __del__(self) -> None:
        # Dropped while a trial runs: in inline mode the function's thread would wait for its next turn forever.
        trainable = self._trainable
        if self._shares_process and isinstance(trainable, FunctionTrainable):
            trainable.abandon()

    # -- work --------------------------------------------------------------------------------------

    def train(self) -> StepResult:
        """One step: of a function, until its next report.

        Raises:
            TuneError: no trial was started, or the code called ``sys.exit``.
            Whatever the user's code raises.
        """
        trainable = self._current()
        try:
            with self._user_code():
                metrics = trainable.train()
        except BaseException as error:
            self._unusable = f"{type(error).__name__} in a step"
            raise without_our_frames(error)  # noqa: B904 - it is the same error
        return self._step_result(trainable, metrics)

    def train_buffered(self, seconds: float, max_length: int = 1000) -> list[StepResult]:
        """Steps for ``seconds``, ``max_length`` at most; the last one is done, asks for a checkpoint or has one, if any does."""
        end = time.monotonic() + seconds
        results: list[StepResult] = []
        while True:
            result = self.train()
            results.append(result)
            if result.done or result.checkpoint is not None or result.metrics.get("should_checkpoint"):
                return results
            if len(results) >= max_length or time.monotonic() >= end:
                return results

    def save(self) -> SavedCheckpoint | None:
        """Make a checkpoint. Of a function: the latest that it reported, None if it has reported none."""
        trainable = self._current()
        if isinstance(trainable, FunctionTrainable) and not trainable.has_checkpoint():
            return None
        with self._user_code():
            path = trainable.save()
        directory = files.find_directory(path) or path
        metadata = files.read_metadata(directory) or {}
        return SavedCheckpoint(directory, metadata.get("iteration", trainable.iteration))

    def export(self, formats: str | Sequence[str]) -> dict[str, str]:
        """Export the model; the paths by format."""
        with self._user_code():
            return self._current().export_model(formats)

    def _step_result(self, trainable: Trainable, metrics: dict[str, Any]) -> StepResult:
        metrics = dict(metrics)
        metrics.pop("config", None)  # the runner has it
        duplicate = metrics.pop(DUPLICATE, False)
        checkpoint = trainable.step_checkpoint if isinstance(trainable, FunctionTrainable) else None
        return StepResult(metrics, checkpoint, bool(metrics["done"]), duplicate)

    def _current(self) -> Trainable:
        if self._trainable is None:
            raise TuneError("no trial runs in this actor: start() one before")
        return self._trainable

    @contextlib.contextmanager
    def _user_code(self) -> Iterator[None]:
        """Surround what may run the user's code."""
        self._surroundings.enter()
        if self._shares_process and self._session is not None:
            session_host.install(self._session)
        try:
            yield
        except SystemExit as error:
            if type(error) is not SystemExit:  # the actor ends itself, on purpose
                raise
            raise TuneError(f"{self!r} called sys.exit({error.code!r})") from error
        finally:
            if self._shares_process:
                if self._session is not None:
                    session_host.uninstall(self._session)
                self._surroundings.leave()


class ClassSession(SessionHost):
    """Answers a class trainable: facts of its trial. It does not report, it returns."""

    def __init__(self, setup: TrialSetup, resources: PlacementGroupFactory | None) -> None:
        self._setup = setup
        self._resources = resources

    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        raise SessionError("a class trainable does not report: return the metrics from step()")

    def get_checkpoint(self) -> Checkpoint | None:
        return None  # load_checkpoint() gets it

    def get_experiment_name(self) -> str | None:
        return self._setup.experiment_name

    def get_trial_name(self) -> str | None:
        return self._setup.trial_name

    def get_trial_id(self) -> str | None:
        return self._setup.trial_id

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        return self._resources

    def get_trial_dir(self) -> str | None:
        return self._setup.logdir


def _resources(given: PlacementGroupFactory | Mapping[str, float] | None) -> PlacementGroupFactory | None:
    if isinstance(given, Mapping):
        from aktis.air.placement import resource_dict_to_pg_factory

        return resource_dict_to_pg_factory(given)
    return given
