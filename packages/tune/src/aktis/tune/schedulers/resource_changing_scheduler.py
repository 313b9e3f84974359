"""Giving trials more resources while they run, around any other scheduler."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Union

from aktis.tune.schedulers._allocation import DistributeResources, DistributeResourcesToTopJob
from aktis.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

    AllocationFunction = Callable[
        [TrialController, Trial, dict[str, Any], "ResourceChangingScheduler"],
        Union[PlacementGroupFactory, Mapping[str, float], None],
    ]

__all__ = ["DistributeResources", "DistributeResourcesToTopJob", "ResourceChangingScheduler"]


class ResourceChangingScheduler(TrialScheduler):
    """Ask after each result which resources the trial is to have from now on. Everything else the base scheduler decides.

    A trial whose resources change is saved and started again with the new ones, so trials must be able to save
    their state; actors cannot be reused. All trials must begin with the same resources.

    Args:
        base_scheduler: What decides about trials; None: FIFO.
        resources_allocation_function: Called as ``f(controller, trial, result, scheduler)``. It returns a
            ``PlacementGroupFactory``, a dict such as ``{"cpu": 2}``, or None for no change. The default shares what is free
            evenly (:class:`DistributeResources`); None changes nothing, with a warning.

    Raises:
        TypeError: ``base_scheduler`` is no scheduler, or the function cannot be called.
    """

    def __init__(
        self,
        base_scheduler: TrialScheduler | None = None,
        resources_allocation_function: AllocationFunction | None = DistributeResources(),  # noqa: B008 - copied below
    ) -> None:
        if base_scheduler is not None and not isinstance(base_scheduler, TrialScheduler):
            raise TypeError(f"base_scheduler must be a scheduler such as ASHAScheduler(), not {base_scheduler!r}")
        if resources_allocation_function is None:
            warnings.warn(
                "resources_allocation_function is None, so no trial ever gets other resources: leave it out to share what is free",
                stacklevel=2,
            )
        elif not callable(resources_allocation_function):
            raise TypeError(
                f"resources_allocation_function must be callable, such as DistributeResources(), not "
                f"{resources_allocation_function!r}"
            )
        self._base_scheduler = base_scheduler or FIFOScheduler()
        self._function = resources_allocation_function
        if type(self._function) is DistributeResources:  # the default is one object for all schedulers
            self._function = self._function.copy()
        self._base_trial_resources: PlacementGroupFactory | None = None
        self._changed: dict[str, Trial] = {}  # live trials whose resources are not those of the beginning
        self._run_metric: str | None = None
        self._run_mode: str | None = None

    @property
    def metric(self) -> str | None:
        return self._base_scheduler.metric or self._run_metric

    @property
    def mode(self) -> str | None:
        """Whether the metric is to grow ("max") or to shrink ("min")."""
        return self._base_scheduler._mode or self._run_mode

    @property
    def base_scheduler(self) -> TrialScheduler:
        """What decides about trials."""
        return self._base_scheduler

    @property
    def base_trial_resources(self) -> PlacementGroupFactory | None:
        """What each trial begins with; None before the first one."""
        return self._base_trial_resources

    @property
    def supports_buffered_results(self) -> bool:
        return self._base_scheduler.supports_buffered_results

    @property
    def supports_search_algorithms(self) -> bool:  # type: ignore[override]
        """Whether a search algorithm goes with the base scheduler."""
        return self._base_scheduler.supports_search_algorithms

    def changed_trials(self) -> list[Trial]:
        """The live trials that have other resources than they began with."""
        for trial in [trial for trial in self._changed.values() if trial.is_finished()]:
            del self._changed[trial.trial_id]
        return list(self._changed.values())

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        self._run_metric, self._run_mode = metric, mode
        return self._base_scheduler.set_search_properties(metric, mode, **spec)

    def on_trial_add(self, controller: TrialController, trial: Trial) -> None:
        if self._base_trial_resources is None:
            self._base_trial_resources = trial.placement_group_factory
        elif trial.trial_id not in self._changed and trial.placement_group_factory != self._base_trial_resources:
            raise RuntimeError(
                f"{type(self).__name__} needs trials that begin with the same resources: the first one had "
                f"{self._base_trial_resources}, {trial} has {trial.placement_group_factory}"
            )
        self._base_scheduler.on_trial_add(controller, trial)

    def on_trial_error(self, controller: TrialController, trial: Trial) -> None:
        self._base_scheduler.on_trial_error(controller, trial)

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        decision = self._base_scheduler.on_trial_result(controller, trial, result)
        if decision != self.CONTINUE or self._function is None:
            return decision
        resources = self._function(controller, trial, result, self)
        if not resources:
            return decision
        factory = _as_factory(resources)
        if factory == trial.placement_group_factory:
            return decision
        if factory == self._base_trial_resources:
            self._changed.pop(trial.trial_id, None)
        else:
            self._changed[trial.trial_id] = trial
        controller.update_trial_resources(trial, factory)
        return self.NOOP

    def on_trial_complete(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> None:
        self._forget(trial)
        self._base_scheduler.on_trial_complete(controller, trial, result)

    def on_trial_remove(self, controller: TrialController, trial: Trial) -> None:
        self._forget(trial)
        self._base_scheduler.on_trial_remove(controller, trial)

    def choose_trial_to_run(self, controller: TrialController) -> Trial | None:
        return self._base_scheduler.choose_trial_to_run(controller)

    def pop_log_records(self) -> list[tuple[str, str]]:
        return self._base_scheduler.pop_log_records()

    def debug_string(self) -> str:
        return f"(ResourceChangingScheduler) {self._base_scheduler.debug_string()}"

    def validate(self) -> None:
        self._base_scheduler.validate()

    def _forget(self, trial: Trial) -> None:
        self._changed.pop(trial.trial_id, None)
        forget = getattr(self._function, "forget", None)
        if forget is not None:
            forget(trial)


def _as_factory(resources: Any) -> PlacementGroupFactory:
    from aktis.air.placement import resource_dict_to_pg_factory

    return resource_dict_to_pg_factory(resources)
