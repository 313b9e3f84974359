"""Training one trial by the schedule of hyperparameters that population based training found."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.air.nested import lookup
from aktis.tune.schedulers._explore import perturbed_tag
from aktis.tune.schedulers.trial_scheduler import TrialScheduler

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["PopulationBasedTrainingReplay"]


class PopulationBasedTrainingReplay(TrialScheduler):
    """Replay a run of :class:`PopulationBasedTraining`: one trial, whose configuration changes when that of the original did.

    The trial pauses at each change and goes on from its own checkpoint with the next configuration.

    Args:
        policy_file: ``pbt_policy_<trial id>.txt`` of the run, written by Aktis or Ray.

    Raises:
        ValueError: there is no such file, or it is no policy.
    """

    supports_search_algorithms: ClassVar[bool] = False

    def __init__(self, policy_file: str) -> None:
        self.policy_file = os.path.expanduser(policy_file)
        self.config, self._policy = _read_policy(self.policy_file)
        self.current_config = self.config
        self.experiment_tag = f"replay_{os.path.basename(self.policy_file)}"
        self._trial_id: str | None = None
        self._position = 0  # in the policy
        self._due: dict[str, Any] | None = None  # the configuration that the paused trial is to get
        self._current_step = 0
        self._num_perturbations = 0

    def on_trial_add(self, controller: TrialController, trial: Trial) -> None:
        if self._trial_id == trial.trial_id:  # it failed, and is tried again
            return
        if self._trial_id is not None:
            raise ValueError(
                "a replay of population based training takes one trial, and a second one was added: use num_samples=1"
            )
        self._trial_id = trial.trial_id
        if self.config is None:
            if not trial.config:
                raise ValueError(
                    f"{self.policy_file} has no changes and the trial has no configuration: give the configuration of the "
                    "original trial as param_space"
                )
            self.config = self.current_config = trial.config
        else:
            trial.config.clear()
            trial.config.update(self.config)

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        step = lookup(result, "training_iteration")
        if step is None:
            return self.CONTINUE
        self._current_step = step
        if self._position == len(self._policy) or step < self._policy[self._position][0]:
            return self.CONTINUE
        self._due = self._policy[self._position][1]
        self._position += 1
        return self.PAUSE

    def choose_trial_to_run(self, controller: TrialController) -> Trial | None:
        trial = controller.paused.get(self._trial_id or "")
        if trial is not None and self._due is not None:
            tag = perturbed_tag(self.experiment_tag, self._due)
            if controller.exploit(trial, trial, dict(self._due), tag):
                self.current_config = self._due
                self._num_perturbations += 1
            self._due = None
        return super().choose_trial_to_run(controller)

    def debug_string(self) -> str:
        return f"PopulationBasedTraining replay: Step {self._current_step}, perturb {self._num_perturbations}"


def _read_policy(path: str) -> tuple[dict[str, Any] | None, list[tuple[int, dict[str, Any]]]]:
    """The configuration to begin with (None when nothing ever changed), and the changes: (iteration, configuration)."""
    if not os.path.exists(path):
        raise ValueError(f"there is no policy file {path!r}: give the path of a pbt_policy_<trial id>.txt")
    policy: list[tuple[int, dict[str, Any]]] = []
    first: dict[str, Any] | None = None
    donor: str | None = None
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.strip()]
    # From the end: each line says from whom the trial came, whose past is in the lines before. A line of somebody else
    # is from before the trial took over another one's state.
    for number, line in reversed(list(enumerate(lines, start=1))):
        try:
            target, came_from, _, step, old, new = json.loads(line)
        except ValueError:
            raise ValueError(
                f"{path} is no policy file: line {number} is not a JSON list of six entries as population based training writes it"
            ) from None
        if donor is not None and target != donor:
            break
        donor, first = came_from, old
        policy.append((step, new))
    return first, policy[::-1]
