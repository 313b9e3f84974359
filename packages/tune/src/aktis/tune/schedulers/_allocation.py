"""Who gets what is free: allocation functions for :class:`ResourceChangingScheduler`."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.nested import lookup
from aktis.tune.schedulers._ranking import Ranking

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.resource_changing_scheduler import ResourceChangingScheduler
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["DistributeResources", "DistributeResourcesToTopJob"]

_ROUNDING = 1e-9
Amounts = dict[str, float]


class DistributeResources:
    """Share all resources evenly among the trials that have not ended.

    Resources are handed out in units. A trial never gets less than it began with, and gives units back when others need them
    (because trials were added).

    Subclasses override :meth:`units_for`.

    Args:
        add_bundles: Whether each unit is a new bundle (for trials that start workers). False: the trial's one bundle grows.
        increase_by: A unit, for example ``{"CPU": 2, "GPU": 1}``. By default: with ``add_bundles`` the last bundle of the trial,
            else one GPU if the trial has GPUs, else one CPU.
        increase_by_times: The most units for one trial; below 1 there is no limit. Counts only with ``increase_by``.
        reserve_resources: What is not handed out.

    Raises:
        ValueError: ``increase_by`` or ``reserve_resources`` with amounts below 0, or a unit of nothing.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
    ) -> None:
        self.add_bundles = add_bundles
        self.increase_by = dict(increase_by or {})
        self.increase_by_times = increase_by_times
        self.reserve_resources = dict(reserve_resources or {})
        for name, amounts in (("increase_by", self.increase_by), ("reserve_resources", self.reserve_resources)):
            if any(amount < 0 for amount in amounts.values()):
                raise ValueError(f"{name} must not have amounts below 0, got {amounts!r}")
        if self.increase_by and not any(self.increase_by.values()):
            raise ValueError(f"increase_by must have an amount above 0, got {self.increase_by!r}")

    def copy(self) -> DistributeResources:
        """One like it, with a state of its own."""
        return copy.deepcopy(self)

    def __call__(
        self, controller: TrialController, trial: Trial, result: dict[str, Any], scheduler: ResourceChangingScheduler
    ) -> PlacementGroupFactory | None:
        """The resources that the trial is to have from now on; None: those that it has."""
        base = scheduler.base_trial_resources or trial.placement_group_factory
        if base is None:
            return None
        self._check_base(base)
        training_iteration = lookup(result, "training_iteration")
        if training_iteration is not None and training_iteration < 1:
            return None
        pool = _Pool(self, base, controller, scheduler.changed_trials())
        current = pool.units_of(trial)
        units = self.units_for(controller, trial, result, scheduler, pool, current)
        return trial.placement_group_factory if units == current else pool.resources(units)

    def units_for(
        self,
        controller: TrialController,
        trial: Trial,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
        pool: _Pool,
        current: int,
    ) -> int:
        """How many units the trial is to have, beyond what it began with; ``current`` is how many it has."""
        fair = math.ceil(pool.all_units / pool.num_trials) if pool.num_trials else 0
        return pool.limited(min(current + pool.free_units, fair))

    def unit(self, base: PlacementGroupFactory) -> Amounts:
        """What is handed out at once."""
        if self.increase_by:
            return self.increase_by
        if self.add_bundles:
            return base.bundles[-1]
        return {"GPU": 1} if base.required_resources.get("GPU") else {"CPU": 1}

    def _check_base(self, base: PlacementGroupFactory) -> None:
        if not self.add_bundles and len(base.bundles) > 1:
            raise ValueError(
                f"{type(self).__name__} without add_bundles enlarges the one bundle of a trial, but trials have "
                f"{len(base.bundles)} bundles ({base}): pass add_bundles=True"
            )


class DistributeResourcesToTopJob(DistributeResources):
    """Give all that is free to the best trial (the next best, when it has ``increase_by_times`` units).

    A former best keeps what it has, unless there is less than nothing left. Trials without a result do not
    compete (in Ray they count as the best).

    Args:
        add_bundles: As for :class:`DistributeResources`, like the next three.
        increase_by: A unit.
        increase_by_times: The most units for one trial.
        reserve_resources: What is not handed out.
        metric: By what trials are compared. None: the scheduler's.
        mode: "min" or "max". None: the scheduler's.
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        if mode not in (None, "min", "max"):
            raise ValueError(f"the mode of {type(self).__name__} must be 'min' or 'max', not {mode!r}")
        self.metric = metric
        self.mode = mode
        self._ranking = Ranking()
        self._joined: dict[str, int] = {}
        self._count = 0

    def units_for(
        self,
        controller: TrialController,
        trial: Trial,
        result: dict[str, Any],
        scheduler: ResourceChangingScheduler,
        pool: _Pool,
        current: int,
    ) -> int:
        self._note(trial, result, scheduler)
        if pool.free_units < 0 or self._best_below_limit(controller, pool) == trial.trial_id:
            return pool.limited(current + pool.free_units)
        return current

    def forget(self, trial: Trial) -> None:
        """The trial has ended."""
        self._ranking.discard(trial.trial_id)
        self._joined.pop(trial.trial_id, None)

    def _note(self, trial: Trial, result: dict[str, Any], scheduler: ResourceChangingScheduler) -> None:
        metric, mode = self.metric or scheduler.metric, self.mode or scheduler.mode
        if metric is None or mode is None:
            raise ValueError(
                f"{type(self).__name__} compares trials, so it needs a metric (now {metric!r}) and a mode (now {mode!r}): "
                "give them to it, to the base scheduler or to tune.TuneConfig()"
            )
        value = lookup(result, metric)
        if value is None:
            return
        score = float(value) if mode == "max" else -float(value)
        if trial.trial_id not in self._joined:
            self._count += 1
            self._joined[trial.trial_id] = self._count
        # Among equals the one that came first is best: the ranking has it last.
        self._ranking.put(trial.trial_id, -math.inf if math.isnan(score) else score, -self._joined[trial.trial_id])

    def _best_below_limit(self, controller: TrialController, pool: _Pool) -> str | None:
        """The best trial that may still get something; the best of all when there is none."""
        for rank in range(1, len(self._ranking) + 1):
            trial = controller.get_trial(self._ranking.at(-rank))
            if trial is not None and pool.limited(pool.units_of(trial) + 1) > pool.units_of(trial):
                return trial.trial_id
        return self._ranking.at(-1) if len(self._ranking) else None


class _Pool:
    """What there is to hand out, counted in units.

    The sums need no look at all trials: those that have not ended are counted, and what few have beyond the base is added.
    """

    def __init__(
        self,
        rule: DistributeResources,
        base: PlacementGroupFactory,
        controller: TrialController,
        changed: Iterable[Trial],
    ) -> None:
        self.rule = rule
        self.base = base
        self.unit = {name: amount for name, amount in rule.unit(base).items() if amount}
        self.num_trials = len(controller.pending) + len(controller.paused) + len(controller.running)
        has = controller.total_resources
        beyond_base = {
            name: has.get(name, 0.0)
            - rule.reserve_resources.get(name, 0.0)
            - self.num_trials * base.required_resources.get(name, 0.0)
            for name in self.unit
        }
        free = dict(beyond_base)
        for trial in changed:
            need = trial.placement_group_factory.required_resources if trial.placement_group_factory else {}
            for name in free:
                free[name] -= need.get(name, 0.0) - base.required_resources.get(name, 0.0)
        self.all_units = max(0, self._units_in(beyond_base))
        self.free_units = self._units_in(free)

    def _units_in(self, amounts: Amounts) -> int:
        return min(math.floor(amounts[name] / amount + _ROUNDING) for name, amount in self.unit.items())

    def units_of(self, trial: Trial) -> int:
        """How many units the trial has beyond what it began with."""
        if trial.placement_group_factory is None:
            return 0
        need = trial.placement_group_factory.required_resources
        beyond = {name: need.get(name, 0.0) - self.base.required_resources.get(name, 0.0) for name in self.unit}
        return max(0, self._units_in(beyond))

    def limited(self, units: int) -> int:
        """The number of units, kept between nothing and ``increase_by_times``."""
        if self.rule.increase_by and self.rule.increase_by_times > 0:
            units = min(units, self.rule.increase_by_times)
        return max(0, units)

    def resources(self, units: int) -> PlacementGroupFactory:
        """What the trial began with, and so many units."""
        from aktis.air.placement import PlacementGroupFactory

        base = self.base
        bundles: list[Mapping[str, float]] = [{}] if base.head_bundle_is_empty else []
        if self.rule.add_bundles:
            bundles += base.bundles + [self.unit] * units
        else:
            (bundle,) = base.bundles
            grown = dict(bundle)
            for name, amount in self.unit.items():
                grown[name] = grown.get(name, 0.0) + amount * units
            bundles.append(grown)
        return PlacementGroupFactory(bundles, base.strategy, *base._args, **base._kwargs)
