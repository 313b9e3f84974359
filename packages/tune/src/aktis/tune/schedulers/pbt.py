"""Population based training.

Max Jaderberg, Valentin Dalibard, Simon Osindero, Wojciech M. Czarnecki, Jeff Donahue, Ali Razavi, Oriol Vinyals, Tim Green, Iain
Dunning, Karen Simonyan, Chrisantha Fernando, Koray Kavukcuoglu: "Population Based Training of Neural Networks", 2017,
arXiv:1711.09846. The names exploit, explore and ready are those of its Algorithm 1.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.air.nested import lookup
from aktis.tune.error import TuneError
from aktis.tune.schedulers._explore import call_custom, check_mutations, explore, fill_in, flat_values, perturbed_tag
from aktis.tune.schedulers._objective import ObjectiveScheduler
from aktis.tune.schedulers._ranking import Ranking
from aktis.tune.schedulers._waiting import TurnQueue
from aktis.tune.schedulers.pbt_replay import PopulationBasedTrainingReplay

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["PopulationBasedTraining", "PopulationBasedTrainingReplay"]


class PopulationBasedTraining(ObjectiveScheduler):
    """Population based training: all trials train at once; now and then bad ones go on from the state of good ones, with other
    hyperparameters.

    A trial is ready every ``perturbation_interval``. If it is then among the worst ``quantile_fraction`` of the population,
    it takes over the checkpoint and configuration of one of the best ``quantile_fraction`` (exploit; truncation selection,
    section 4.1.1), and changes the hyperparameters (explore): each is drawn anew with
    ``resample_probability``, else a number is multiplied by one of ``perturbation_factors`` (and not cut to its bounds),
    and a value of a list moves to a neighbour. Integers stay integers. The best save a checkpoint when they are ready; a
    donor without one of its latest score is left alone.

    With more trials than resources the trials take turns: a ready trial pauses when others wait, and the one that has trained
    least goes on. With ``synch=True`` all wait for each other at each multiple of the interval (appendix A.1).

    The history is in ``pbt_global.txt`` and ``pbt_policy_<trial id>.txt`` of the experiment's directory, as JSON lines
    ``[target tag, donor's tag, target's iteration, donor's iteration, donor's configuration, new configuration]``;
    :class:`PopulationBasedTrainingReplay` trains one trial by such a file.

    Differences from Ray: a trial whose metric is NaN is the worst; lists from ``tune.choice`` move to a neighbour like
    plain lists (Ray multiplies their values); missing nested hyperparameters are drawn; the donor's iteration in the log is
    that of its checkpoint; with ``synch=True`` a trial that ends or fails lets the others go on, and so do results that are
    further apart than the interval (in Ray both wait for ever); a trial that is tried again after a failure stays what it
    was.

    Args:
        time_attr: The attribute of results that says how far a trial is. It must grow.
        metric: The attribute of results that decides. None: that of the run.
        mode: "min" or "max". None: that of the run.
        perturbation_interval: Time between two moments at which a trial is ready, in units of ``time_attr``.
        burn_in_period: Before this time nobody is ready.
        hyperparam_mutations: What is mutated: name -> list of values, search space (not ``sample_from``), function without
            arguments that draws a value, or a dict of these. What a configuration lacks is drawn when its trial is added.
        quantile_fraction: Between 0 and 0.5.
        resample_probability: The probability that a hyperparameter is drawn anew rather than perturbed.
        perturbation_factors: What numbers are multiplied by.
        custom_explore_fn: Called with the new configuration at the end of explore; returns the one to be used.
        log_config: Whether the history is written.
        require_attrs: Whether a result without ``time_attr`` or ``metric`` is an error. False: it is passed over.
        synch: Whether all trials are perturbed together.
        seed: For choosing donors and exploring.

    Raises:
        TypeError: a value of ``hyperparam_mutations`` that cannot be mutated.
        ValueError: another argument that makes no sense.
        TuneError: neither ``hyperparam_mutations`` nor ``custom_explore_fn``.
    """

    supports_search_algorithms: ClassVar[bool] = False
    """It changes configurations itself: only the generator of random and grid variants goes with it."""

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: dict[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: Sequence[float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        *,
        seed: int | None = None,
    ) -> None:
        super().__init__(time_attr, metric, mode)
        self._hyperparam_mutations = dict(hyperparam_mutations or {})
        check_mutations(self._hyperparam_mutations)
        if not self._hyperparam_mutations and custom_explore_fn is None:
            raise TuneError(
                f"{type(self).__name__} has nothing to explore: give it hyperparam_mutations or a custom_explore_fn"
            )
        if not 0 <= quantile_fraction <= 0.5:
            raise ValueError(f"quantile_fraction must be between 0 and 0.5, got {quantile_fraction!r}")
        if not perturbation_interval > 0:
            raise ValueError(f"perturbation_interval must be above 0, got {perturbation_interval!r}")
        if not 0 <= resample_probability <= 1:
            raise ValueError(f"resample_probability must be between 0 and 1, got {resample_probability!r}")
        if not perturbation_factors:
            raise ValueError("perturbation_factors must have at least one factor, got none")
        self._perturbation_interval = perturbation_interval
        self._burn_in_period = burn_in_period
        self._quantile_fraction = quantile_fraction
        self._resample_probability = resample_probability
        self._perturbation_factors = tuple(perturbation_factors)
        self._custom_explore_fn = custom_explore_fn
        self._log_config = log_config
        self._require_attrs = require_attrs
        self._synch = synch
        self._rng = random.Random(seed)
        self._members: dict[str, _Member] = {}
        self._ranking = Ranking()
        self._turns = TurnQueue()
        self._joined = 0
        self._next_sync = max(perturbation_interval, burn_in_period)
        self._behind: set[str] = set()  # with synch: who has not come to the next sync point
        self._log_records: list[tuple[str, str]] = []
        self._num_checkpoints = 0
        self._num_perturbations = 0

    # -- events -------------------------------------------------------------------------------------

    def on_trial_add(self, controller: TrialController, trial: Trial) -> None:
        self._require_objective()
        member = self._members.get(trial.trial_id)
        if member is None:
            kept = trial.scheduler_data
            member = kept if isinstance(kept, _Member) else self._new_member(trial)  # kept: it is tried again
            trial.scheduler_data = None
            self._members[trial.trial_id] = member
        if member.last_train_time < self._next_sync:
            self._behind.add(trial.trial_id)
        self._turns.put(trial, *self._turn_of(trial))

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        member = self._members[trial.trial_id]
        self._turns.discard(trial.trial_id)  # it runs
        time, score = self._time(result), self._score(result)
        if time is None or score is None:
            self._complain(time, result)
            return self.CONTINUE
        if self._synch:
            if time < self._next_sync:
                return self.CONTINUE
            self._record(trial, member, time, score, result)
            member.has_checkpoint = True  # pausing makes one
            return self._yield(trial)  # the perturbation follows when all are here: choose_trial_to_run
        if time < self._burn_in_period or time - member.last_perturbation_time < self._perturbation_interval:
            return self.CONTINUE
        self._record(trial, member, time, score, result)
        member.last_perturbation_time = time
        return self._perturb(controller, trial, member)

    def on_trial_complete(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> None:
        self._forget(trial)

    def on_trial_remove(self, controller: TrialController, trial: Trial) -> None:
        self._forget(trial)

    def on_trial_error(self, controller: TrialController, trial: Trial) -> None:
        member = self._forget(trial)
        if member is not None:
            member.has_checkpoint = False
            trial.scheduler_data = member  # in case it is tried again

    def choose_trial_to_run(self, controller: TrialController) -> Trial | None:
        """The waiting trial that has trained least."""
        if self._synch and not self._behind and self._members and not controller.running:
            self._perturb_all(controller)
        return self._turns.first(controller, self._turn_of, before=self._next_sync if self._synch else math.inf)

    def pop_log_records(self) -> list[tuple[str, str]]:
        records, self._log_records = self._log_records, []
        return records

    def debug_string(self) -> str:
        return f"{type(self).__name__}: {self._num_checkpoints} checkpoints, {self._num_perturbations} perturbs"

    # -- the population -----------------------------------------------------------------------------

    def _new_member(self, trial: Trial) -> _Member:
        drawn = fill_in(trial.config, self._hyperparam_mutations, self._rng)
        trial.evaluated_params.update(drawn)
        self._joined += 1
        return _Member(self._joined, trial.experiment_tag)

    def _forget(self, trial: Trial) -> _Member | None:
        self._ranking.discard(trial.trial_id)
        self._turns.discard(trial.trial_id)
        self._behind.discard(trial.trial_id)
        return self._members.pop(trial.trial_id, None)

    def _record(self, trial: Trial, member: _Member, time: float, score: float, result: dict[str, Any]) -> None:
        """The trial is ready: p = eval(theta) (Algorithm 1, line 5)."""
        member.last_train_time = time
        member.iteration = int(lookup(result, "training_iteration") or 0)
        member.has_checkpoint = False
        self._ranking.put(trial.trial_id, score, member.joined)
        if time >= self._next_sync:
            self._behind.discard(trial.trial_id)

    def _quantile_size(self) -> int:
        """How many are in the lower and in the upper quantile: never more than half of the population."""
        population = len(self._ranking)
        return min(math.ceil(population * self._quantile_fraction), population // 2)

    def _turn_of(self, trial: Trial) -> tuple[float, int]:
        member = self._members.get(trial.trial_id)
        return (member.last_train_time, member.joined) if member is not None else (0.0, 0)

    def _yield(self, trial: Trial) -> str:
        self._turns.put(trial, *self._turn_of(trial))
        return self.PAUSE

    # -- exploit and explore --------------------------------------------------------------------------

    def _perturb(self, controller: TrialController, trial: Trial, member: _Member) -> str:
        """What a ready trial does: truncation selection (section 4.1.1) among those that have a score."""
        size = self._quantile_size()
        rank = self._ranking.rank(trial.trial_id)
        assert rank is not None
        others_wait = bool(controller.pending or controller.paused)
        if rank >= len(self._ranking) - size:  # one of the best: others may want its state
            self._num_checkpoints += 1
            member.has_checkpoint = True
            if not others_wait:
                controller.save_trial(trial)
        elif rank < size and self._exploit(controller, trial, self._ranking.at(-size + self._rng.randrange(size))):
            self._turns.put(trial, *self._turn_of(trial))
            if others_wait and trial.trial_id in controller.running:
                controller.pause_trial(trial, should_checkpoint=False)
            return self.NOOP
        if others_wait:
            member.has_checkpoint = True  # pausing makes one
            return self._yield(trial)
        return self.CONTINUE

    def _perturb_all(self, controller: TrialController) -> None:
        """All wait at the sync point: the worst go on from the best, and everybody is to train up to the next one."""
        size = self._quantile_size()
        lower, upper = self._ranking.slice(0, size), self._ranking.slice(len(self._ranking) - size, len(self._ranking))
        self._num_checkpoints += len(upper)
        for trial_id in lower:
            trial = controller.get_trial(trial_id)
            if trial is not None:
                self._exploit(controller, trial, self._rng.choice(upper))
        latest = max(member.last_train_time for member in self._members.values())
        while self._next_sync <= latest:
            self._next_sync += self._perturbation_interval
        self._behind = set(self._members)
        for trial_id in self._members:
            trial = controller.get_trial(trial_id)
            if trial is not None:
                self._turns.put(trial, *self._turn_of(trial))

    def _exploit(self, controller: TrialController, trial: Trial, donor_id: str) -> bool:
        """theta, h = exploit and explore (Algorithm 1, lines 7 to 9). False when the donor has no checkpoint of its score."""
        donor = controller.get_trial(donor_id)
        member, donor_member = self._members[trial.trial_id], self._members[donor_id]
        if donor is None or not donor_member.has_checkpoint:
            return False
        config = self._new_config(trial, donor)
        tag = perturbed_tag(member.tag, flat_values(config, self._hyperparam_mutations))
        old_config = donor.config
        if not controller.exploit(trial, donor, config, tag):
            return False
        if self._log_config:
            self._log(trial, donor, old_config, config)
        self._num_perturbations += 1
        # It is as far as its donor now. The score stays that of before: selection among those who were ready
        # together would go wrong if each change counted at once.
        member.last_perturbation_time = donor_member.last_perturbation_time
        member.last_train_time = donor_member.last_train_time
        member.has_checkpoint = False
        return True

    def _new_config(self, trial: Trial, donor: Trial) -> dict[str, Any]:
        """h = explore(h', theta', P)"""
        config = explore(
            donor.config, self._hyperparam_mutations, self._resample_probability, self._perturbation_factors, self._rng
        )
        if self._custom_explore_fn is not None:
            config = call_custom(self._custom_explore_fn, config, self._rng)
        return config

    def _log(self, trial: Trial, donor: Trial, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        member, donor_member = self._members[trial.trial_id], self._members[donor.trial_id]
        entry = [member.tag, donor_member.tag, member.iteration, donor_member.iteration, old_config, new_config]
        line = json.dumps(entry, default=_jsonable) + "\n"
        # The trial's past is that of its donor now.
        member.past = (donor_member.past, line)
        path = f"pbt_policy_{trial.trial_id}.txt"
        self._log_records += [("pbt_global.txt", line), (path, ""), (path, "".join(member.lines()))]

    def _complain(self, time: float | None, result: dict[str, Any]) -> None:
        if self._require_attrs:
            missing = self._time_attr if time is None else self._metric
            raise RuntimeError(
                f"{type(self).__name__} needs {missing!r} in every result, but a trial reported only {sorted(result)}: report it, "
                f"or pass require_attrs=False if such results are to be passed over"
            )

    def validate(self) -> None:
        self._ranking.validate()
        assert all(trial_id in self._members for trial_id in self._behind)
        assert len({member.joined for member in self._members.values()}) == len(self._members)
        if self._synch:
            assert self._behind == {k for k, m in self._members.items() if m.last_train_time < self._next_sync}


class _Member:
    """What is known of a trial of the population."""

    __slots__ = ("has_checkpoint", "iteration", "joined", "last_perturbation_time", "last_train_time", "past", "tag")

    def __init__(self, joined: int, tag: str) -> None:
        self.joined = joined
        self.tag = tag  # the one that it began with
        self.last_train_time = 0.0  # when it was ready last
        self.last_perturbation_time = 0.0
        self.iteration = 0  # when it was ready last
        self.has_checkpoint = False  # of when it was ready last
        self.past: Any = None  # lines of its policy file, newest first, shared with its donor: (earlier, line)

    def lines(self) -> list[str]:
        """The lines of its policy file."""
        found, past = [], self.past
        while past is not None:
            past, line = past
            found.append(line)
        return found[::-1]


def _jsonable(value: Any) -> Any:
    """What JSON does not know: numbers of numpy as numbers, everything else as text."""
    convert = getattr(value, "tolist", None)
    return convert() if convert is not None else str(value)
