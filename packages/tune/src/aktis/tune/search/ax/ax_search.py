"""Search by Ax, with Gaussian processes of BoTorch: https://ax.dev."""

from __future__ import annotations

import contextlib
import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, require, value_at
from aktis.tune.search._library.space import NamedSpace, Point, Space, TuneSpace

__all__ = ["AxSearch"]


class AxSearch(LibrarySearcher):
    """Search by Ax: some quasi-random configurations, then Bayesian optimisation.

    Args:
        space: Tune domains, or a list of Ax parameters (dicts with ``name``, ``type``, ``bounds`` and so on). Left out,
            ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        parameter_constraints: Such as ``"x + y <= 1"``.
        outcome_constraints: Such as ``"memory <= 8"``, on metrics that results hold.
        ax_client: An ``AxClient``. When it has an experiment, then space, metric and mode are the experiment's.
        ax_kwargs: For ``AxClient``; ``random_seed`` makes the search reproducible.
    """

    able = Capabilities("Ax", log_real=True, log_integer=True)

    def __init__(
        self,
        space: dict[str, Any] | list[dict[str, Any]] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parameter_constraints: Sequence[str] | None = None,
        outcome_constraints: Sequence[str] | None = None,
        ax_client: Any = None,
        **ax_kwargs: Any,
    ) -> None:
        _import_ax()
        if ax_client is not None and ax_kwargs:
            raise ValueError(f"an ax_client of your own takes its options itself, got {ax_kwargs!r}")
        seed = ax_kwargs.get("random_seed")
        self._random = random.Random(seed)
        self._randomness = PrivateRandom(seed, torch=True)
        self._parameter_constraints = list(parameter_constraints or ())
        self._outcome_constraints = list(outcome_constraints or ())
        self._parameters: list[dict[str, Any]] = []
        self._outcomes: list[str] = []
        self._kwargs = ax_kwargs
        self._client = ax_client
        searched: Any = space
        self._has_experiment = ax_client is not None and getattr(ax_client, "_experiment", None) is not None
        if self._has_experiment:
            if space is not None or metric is not None or mode is not None:
                raise ValueError(
                    "space, metric and mode are in the experiment of the ax_client already: leave them out, or give a client "
                    f"without an experiment (got space={space!r}, metric={metric!r}, mode={mode!r})"
                )
            searched, metric, mode = _of_experiment(ax_client.experiment)
        super().__init__(searched, metric, mode, points_to_evaluate, seed=seed)

    def _own_space(self, space: Any) -> Space:
        if isinstance(space, _Experiment):
            return NamedSpace(space.names)
        if not isinstance(space, list) or not all(isinstance(each, dict) and "name" in each for each in space):
            raise ValueError(f"space must be a dict of Tune domains or a list of Ax parameters, got {space!r}")
        self._parameters = [dict(parameter) for parameter in space]
        return NamedSpace([parameter["name"] for parameter in space])

    def _begin(self) -> None:
        from ax.service.ax_client import AxClient, ObjectiveProperties

        if isinstance(self._space, TuneSpace):
            self._parameters = [_parameter(axis) for axis in self.axes]
            self._check_constraints()
        with self._working():
            if self._client is None:
                self._client = AxClient(verbose_logging=False, **self._kwargs)
            if not self._has_experiment:
                self._client.create_experiment(
                    parameters=self._parameters,
                    objectives={self._metric: ObjectiveProperties(minimize=self._mode == "min")},
                    parameter_constraints=self._parameter_constraints or None,
                    outcome_constraints=self._outcome_constraints or None,
                )
        configuration = self._client.experiment.optimization_config
        self._outcomes = (
            [constraint.metric.name for constraint in configuration.outcome_constraints]
            if (hasattr(configuration, "outcome_constraints"))
            else []
        )

    def _check_constraints(self) -> None:
        """Constraints are on values, so the variables in them must be values on Ax' side, too."""
        words = {word for constraint in self._parameter_constraints for word in re.findall(r"[^\s<>=+*]+", constraint)}
        for axis in self.axes:
            if axis.name in words and (axis.scale != "linear" or axis.log):
                raise ValueError(
                    f"a parameter constraint cannot have {axis.name!r}, which is {axis.domain!r}: it needs tune.uniform() or "
                    "tune.randint()"
                )

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        from ax.utils.common.logger import ROOT_STREAM_HANDLER

        level = ROOT_STREAM_HANDLER.level
        ROOT_STREAM_HANDLER.setLevel(max(level, logging.ERROR))
        try:
            # What is warned of is how Ax and BoTorch call torch, and that fits were tried again.
            with self._randomness, quiet(ignore=(".*",)):
                yield
        finally:
            ROOT_STREAM_HANDLER.setLevel(level)

    def _ask(self, trial_id: str) -> tuple[Any, Point] | str | None:
        from ax.exceptions.core import DataRequiredError, SearchSpaceExhausted
        from ax.exceptions.generation_strategy import MaxParallelismReachedException

        with self._working():
            try:
                parameters, index = self._client.get_next_trial()
            except SearchSpaceExhausted:
                return self.FINISHED
            except (DataRequiredError, MaxParallelismReachedException):
                # It waits for results; where none is to come, because trials failed, it gets one of somewhere else.
                return None if self._live or not isinstance(self._space, TuneSpace) else self._random_point()
        return index, dict(parameters)

    def _random_point(self) -> tuple[Any, Point]:
        point = {axis.name: axis.draw(self._random.random()) for axis in self.axes}
        return self._adopt(point), point

    def _adopt(self, point: Point) -> Any:
        with self._working():
            _, index = self._client.attach_trial(point)
        return index

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        data: dict[str, Any] = {str(self._metric): self.sign * loss}
        for name in self._outcomes:
            value = self._as_loss(value_at(self._result, name))
            if value is None:
                self._tell_failure(token, point)
                return
            data[name] = self.sign * value
        with self._working():
            self._client.complete_trial(token, raw_data=data)

    def _tell_failure(self, token: Any, point: Point) -> None:
        with self._working():
            self._client.log_trial_failure(token)


class _Experiment:
    """Stands for the space of an experiment that is there already."""

    def __init__(self, names: list[str]) -> None:
        self.names = names


def _of_experiment(experiment: Any) -> tuple[_Experiment, str, str]:
    objective = experiment.optimization_config.objective
    metric = objective.metric_names[0] if hasattr(objective, "metric_names") else objective.metric.name
    return _Experiment(list(experiment.parameters)), str(metric), "min" if objective.minimize else "max"


def _import_ax() -> None:
    """Ax logs and warns while it is imported."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.INFO))
    try:
        with quiet(ignore=(".*",)):
            require("ax.service.ax_client", "ax", "ax-platform")
    finally:
        logging.disable(before)


def _parameter(axis: Axis) -> dict[str, Any]:
    if axis.form == "choice":
        values = list(range(axis.size))
        return {"name": axis.name, "type": "choice", "values": values, "value_type": "int", "is_ordered": False}
    kind = "int" if axis.form == "integer" else "float"
    bounds = [int(axis.low), int(axis.high)] if kind == "int" else [float(axis.low), float(axis.high)]
    return {"name": axis.name, "type": "range", "bounds": bounds, "value_type": kind, "log_scale": axis.log}
