"""What is asked for: a trainable, a search space, and how its trials run."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.exceptions import add_note
from aktis.tune.experiment.trial import Trial

if TYPE_CHECKING:
    from aktis.air.config import CheckpointConfig
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["Experiment"]


class Experiment:
    """A named experiment.

    Args:
        name: Name of the experiment and of its directory; None: made of the trainable's name and the time.
        run: What runs: a function, a subclass of Trainable, or the name of either in the registry.
        stop: When a trial ends: ``{"metric": value}`` (any key that reaches its value), a function of
            (trial_id, result), or a Stopper.
        time_budget_s: Seconds after which the whole run ends.
        config: The search space: constants, search domains, and dicts of them.
        resources_per_trial: ``{"cpu": 1, "gpu": 0.5, "custom_resources": {...}}`` or a PlacementGroupFactory.
        num_samples: How often the space is sampled; each time, grids are gone through. -1: without end.
        local_dir: Where the experiment's directory is made.
        checkpoint_config: How many checkpoints are kept, and when class trainables make them.
        max_failures: How often a trial is tried again after a failure; -1: without end.
        restore: A checkpoint's directory that every trial starts from.
        export_formats: What class trainables export at the end.
        log_to_file: True (files ``stdout`` and ``stderr``), the name of one file for both, or the names of two.
        trial_name_creator: Function of a trial that returns its name.
        trial_dirname_creator: Function of a trial that returns the name of its directory.

    Raises:
        TuneError: the name of a trainable that is not registered.
        ValueError, TypeError: anything else that makes no sense; the message says what would.
    """

    def __init__(
        self,
        name: str | None,
        run: Any,
        *,
        stop: Any = None,
        time_budget_s: Any = None,
        config: Mapping[str, Any] | None = None,
        resources_per_trial: Any = None,
        num_samples: int = 1,
        local_dir: str | None = None,
        checkpoint_config: CheckpointConfig | None = None,
        max_failures: int = 0,
        restore: str | None = None,
        export_formats: list[str] | None = None,
        log_to_file: Any = False,
        trial_name_creator: Callable[[Trial], str] | None = None,
        trial_dirname_creator: Callable[[Trial], str] | None = None,
        dirname: str | None = None,
    ) -> None:
        from aktis.air.storage import default_results_dir
        from aktis.tune._execution.naming import experiment_dirname, is_dated
        from aktis.tune.experiment import _checks as check

        self.trainable = check.trainable(run)
        self.trainable_name = check.trainable_name(run, self.trainable)
        self.is_function = check.is_function(self.trainable)
        self.can_save = check.can_save(self.trainable)
        self.config = check.config(config)
        self.num_samples = check.num_samples(num_samples)
        self.time_budget_s = time_budget_s
        self.stopping_criterion, self.stopper = check.stopping(stop, time_budget_s)
        self.checkpoint_config = check.checkpoint_config(checkpoint_config, self.is_function)
        self.max_failures = check.max_failures(max_failures)
        self.resources = check.resources(resources_per_trial, self.trainable)
        self.log_to_file = check.log_to_file(log_to_file)
        self.export_formats = list(export_formats or [])
        self.restore = check.restore_path(restore)
        self.trial_name_creator = check.creator("trial_name_creator", trial_name_creator)
        self.trial_dirname_creator = check.creator("trial_dirname_creator", trial_dirname_creator)
        self.local_dir = os.path.abspath(os.path.expanduser(local_dir or default_results_dir()))
        dated = None if not isinstance(run, str) else run  # a registered name is a name like one that was given
        self.dirname = dirname or experiment_dirname(check.name(name) or dated, self.trainable_name, time.time())
        self.name = name or self.dirname
        self._may_be_renamed = dirname is None and is_dated(check.name(name) or dated)

    @classmethod
    def from_json(cls, name: str, spec: Mapping[str, Any]) -> Experiment:
        """An experiment from a dict: ``{"run": ..., "stop": ..., "config": ..., "num_samples": ..., ...}``.

        Raises:
            TuneError: there is no ``run``, or an entry that is not known.
        """
        from aktis.tune.experiment._checks import from_json

        return cls(name, **from_json(name, spec))

    @property
    def path(self) -> str:
        """The experiment's directory."""
        return os.path.join(self.local_dir, self.dirname)

    def make_directory(self) -> None:
        """Make the experiment's directory. One that only the time names gets a number, if there is one of the same second.

        Raises:
            OSError: it cannot be made.
        """
        if not self._may_be_renamed:
            os.makedirs(self.path, exist_ok=True)
            return
        os.makedirs(self.local_dir, exist_ok=True)
        first = self.dirname
        for number in itertools.count(2):
            try:
                os.mkdir(self.path)
                break
            except FileExistsError:
                self.dirname = f"{first}-{number}"
        self._may_be_renamed = False

    checkpoint_dir = property(lambda self: self.path)
    run_identifier = property(lambda self: self.trainable_name)

    @property
    def spec(self) -> dict[str, Any]:
        """What a search algorithm needs to know."""
        return {"run": self.trainable_name, "config": self.config, "num_samples": self.num_samples}

    def resources_for(self, config: dict[str, Any]) -> PlacementGroupFactory:
        """What a trial with this configuration needs."""
        from aktis.tune.experiment._checks import resolved_resources

        return resolved_resources(self.resources, self.trainable, config)

    def new_trial(
        self, trial_id: str, config: dict[str, Any], evaluated_params: dict[str, Any], experiment_tag: str
    ) -> Trial:
        """A trial of this experiment. Its directory has no name yet."""
        return Trial(
            self.trainable_name,
            trial_id=trial_id,
            config=config,
            evaluated_params=evaluated_params,
            experiment_tag=experiment_tag,
            experiment_name=self.name,
            experiment_dir=self.path,
            stopping_criterion=self.stopping_criterion,
            checkpoint_config=self.checkpoint_config,
            max_failures=self.max_failures,
            restore_path=self.restore,
            export_formats=self.export_formats,
            can_save=self.can_save,
        )

    def place(self, trial: Trial, now: float) -> None:
        """Give a new trial its resources, its name and the name of its directory."""
        from aktis.tune._execution.naming import trial_dirname

        try:
            trial.placement_group_factory = self.resources_for(trial.config)
        except Exception as error:
            add_note(error, f"raised while the resources of trial {trial.trial_id} were made of its configuration")
            raise
        if self.trial_name_creator is not None:
            trial.custom_name = _created("trial_name_creator", self.trial_name_creator, trial)
        if self.trial_dirname_creator is not None:
            trial.custom_dirname = _created("trial_dirname_creator", self.trial_dirname_creator, trial)
            if os.path.sep in trial.custom_dirname:
                raise ValueError(
                    f"trial_dirname_creator returned {trial.custom_dirname!r}; it must be one name, without {os.path.sep!r}"
                )
        trial.relative_logdir = trial_dirname(trial, now)

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, {self.trainable_name!r})"


def _created(what: str, creator: Callable[[Trial], str], trial: Trial) -> str:
    try:
        return str(creator(trial))
    except Exception as error:
        add_note(error, f"raised by the {what} of the run, for trial {trial.trial_id}")
        raise
