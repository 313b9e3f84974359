"""Cost-frugal search by FLAML: CFO and BlendSearch (https://microsoft.github.io/FLAML)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, _merged, require
from aktis.tune.search._library.space import Point, TuneSpace
from aktis.tune.search.searcher import Names

__all__ = ["CFO", "BlendSearch"]

_LOSS = "_loss"
_FAILED = 1e10  # FLAML's own penalty, for failures before the first success
_TRIES = 1000  # FLAML says None when it wants to be asked again
_NOISE = (".*",)


class BlendSearch(LibrarySearcher):
    """Local search that begins at low cost, with a global one (Optuna's) that finds where to begin anew.

    Args:
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        space: Tune domains. Left out, ``param_space`` is taken.
        low_cost_partial_config: Values of some variables with which a trial is cheap, e.g. ``{"n_estimators": 4}``.
        cat_hp_cost: The relative costs of the categories of some choices, by name.
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: Values of the metric for the first of ``points_to_evaluate``, which are then not tried again.
        time_budget_s: Seconds for the whole search.
        num_samples: How many configurations there will be.
        resource_attr: The name of a resource that a configuration is given, with ``min_resource`` and ``max_resource``.
        min_resource: Its least value.
        max_resource: Its greatest value.
        reduction_factor: By which it grows.
        global_search_alg: FLAML's wrapper of Optuna by default.
        config_constraints: ``(function of a configuration, "<=" or another sign, bound)``.
        metric_constraints: ``(name of a metric, "<=" or ">=", bound)``.
        seed: Makes the search reproducible.
        kwargs: More of FLAML's options, such as ``cost_attr``.
    """

    able = Capabilities("FLAML", log_real=True)
    _algorithm: ClassVar[str] = "BlendSearch"

    def __init__(
        self,
        metric: str | None = None,
        mode: str | None = None,
        space: dict[str, Any] | None = None,
        low_cost_partial_config: dict[str, Any] | None = None,
        cat_hp_cost: dict[str, Sequence[float]] | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        time_budget_s: float | None = None,
        num_samples: int | None = None,
        resource_attr: str | None = None,
        min_resource: float | None = None,
        max_resource: float | None = None,
        reduction_factor: float | None = None,
        global_search_alg: Any = None,
        config_constraints: Sequence[tuple[Callable[[dict[str, Any]], float], str, float]] | None = None,
        metric_constraints: Sequence[tuple[str, str, float]] | None = None,
        seed: int = 20,
        **kwargs: Any,
    ) -> None:
        with quiet(ignore=_NOISE):
            require("flaml", "flaml", "flaml")
            if self._algorithm == "BlendSearch" and global_search_alg is None:
                require("optuna", "flaml", "optuna")
        if kwargs.get("lexico_objectives") is not None:
            raise ValueError("lexico_objectives are not supported: OptunaSearch searches for several objectives")
        self._options: dict[str, Any] = {
            **kwargs,
            "time_budget_s": time_budget_s,
            "num_samples": num_samples,
            "resource_attr": resource_attr,
            "min_resource": min_resource,
            "max_resource": max_resource,
            "reduction_factor": reduction_factor,
            "global_search_alg": global_search_alg,
            "metric_constraints": list(metric_constraints) if metric_constraints else None,
            "seed": seed,
        }
        self._low_cost = dict(low_cost_partial_config or {})
        self._cat_hp_cost = dict(cat_hp_cost or {})
        self._config_constraints = list(config_constraints or ())
        self._randomness = PrivateRandom(seed)
        self._flaml: Any = None
        self._first: list[tuple[Point, dict[str, Any]]] = []
        self._evaluated = 0
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        for option in ("time_budget_s", "num_samples"):
            given = spec.get(option)
            if self._flaml is None and self._options[option] is None and given is not None and given > 0:
                self._options[option] = given
        return super().set_search_properties(metric, mode, config, **spec)

    # -- FLAML knows variables as v0, v1, ... because it takes names with "/" apart ---------------------------------

    def _begin(self) -> None:
        from flaml.tune.searcher import blendsearch

        options = dict(self._options)
        assert isinstance(self._space, TuneSpace)
        # Points are FLAML's, too, because it begins its local searches there. Those with rewards it is told of later.
        points = self._points[len(self._rewards) :]
        self._first = [(self._space.encode(point), point) for point in points]
        if points:
            options["points_to_evaluate"] = [self._to_flaml(point) for point, _ in self._first]
        known = zip(self._points, self._rewards)
        best_first = sorted(known, key=lambda pair: _or_infinite(self._as_loss(pair[1])))  # the first begins a search
        self._points, self._rewards = [point for point, _ in best_first], [reward for _, reward in best_first]
        constraints = [(_Constraint(self, function), sign, bound) for function, sign, bound in self._config_constraints]
        with self._randomness, quiet("flaml", "optuna", ignore=_NOISE):
            self._flaml = getattr(blendsearch, self._algorithm)(
                metric=_LOSS,
                mode="min",
                space={f"v{index}": _domain(axis) for index, axis in enumerate(self.axes)},
                low_cost_partial_config=self._partial(self._low_cost),
                cat_hp_cost=self._costs(),
                config_constraints=constraints or None,
                **options,
            )

    def _to_flaml(self, point: Point) -> dict[str, Any]:
        return {f"v{index}": point[axis.name] for index, axis in enumerate(self.axes)}

    def _from_flaml(self, config: Mapping[str, Any]) -> Point:
        return {axis.name: config[f"v{index}"] for index, axis in enumerate(self.axes)}

    def _partial(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Some variables' values, for FLAML."""
        assert isinstance(self._space, TuneSpace)
        point: Point = {}
        self._space.read(config, point)
        return {f"v{index}": point[axis.name] for index, axis in enumerate(self.axes) if axis.name in point}

    def _costs(self) -> dict[str, list[float]]:
        numbers = {axis.name: f"v{index}" for index, axis in enumerate(self.axes) if axis.form == "choice"}
        for name in self._cat_hp_cost:
            if name not in numbers:
                raise ValueError(f"cat_hp_cost has {name!r}, which is no choice of the search space: {list(numbers)}")
        return {numbers[name]: list(costs) for name, costs in self._cat_hp_cost.items()}

    # -- asking and telling ----------------------------------------------------------------------------------------

    def _ask(self, trial_id: str) -> tuple[Any, Point] | str | None:
        for _ in range(_TRIES):
            with self._randomness, quiet("flaml", "optuna", ignore=_NOISE):
                config = self._flaml.suggest(trial_id)
            if config is not None:
                return (trial_id, config), self._from_flaml(config)
            if self._live:
                return None
        return self.FINISHED

    def _decode(self, token: Any, point: Point) -> dict[str, Any]:
        config = super()._decode(token, point)
        resource = self._options["resource_attr"]
        if resource is not None and resource in token[1]:
            config[resource] = token[1][resource]
        for index, (first, given) in enumerate(self._first):
            if all(math.isclose(first[name], value, rel_tol=1e-9, abs_tol=1e-12) for name, value in point.items()):
                del self._first[index]
                return _merged(config, given)
        return config

    def _adopt(self, point: Point) -> Any:
        self._evaluated += 1
        with self._randomness:
            config, _ = self._flaml._ls.complete_config(self._to_flaml(point))
        return f"evaluated-{self._evaluated}", config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        live = self._live.get(trial_id)
        loss = self._loss(result)
        if live is not None and loss is not None:
            with self._randomness, quiet("flaml", "optuna", ignore=_NOISE):
                self._flaml.on_trial_result(trial_id, self._as_flaml_result(live.token[1], loss, result))

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        trial_id, config = token
        with self._randomness, quiet("flaml", "optuna", ignore=_NOISE):
            self._flaml.on_trial_complete(trial_id, self._as_flaml_result(config, loss, self._result))

    def _as_flaml_result(self, config: dict[str, Any], loss: float, result: Mapping[str, Any]) -> dict[str, Any]:
        """Its own metric, and the others for constraints and costs."""
        config = {f"config/{name}": value for name, value in config.items()}
        return {**result, **config, _LOSS: loss}

    def _tell_failure(self, token: Any, point: Point) -> None:
        """A failed starting point would be waited for, so failures get a loss."""
        self._tell(token, point, _FAILED if self._worst is None else self._worst)


class CFO(BlendSearch):
    """Local search that begins at low cost, and begins anew where it converged. Arguments as of :class:`BlendSearch`."""

    _algorithm = "CFO"


def _or_infinite(loss: float | None) -> float:
    return math.inf if loss is None else loss


class _Constraint:
    """The user's function of a configuration as one of FLAML's."""

    def __init__(self, searcher: BlendSearch, function: Callable[[dict[str, Any]], float]) -> None:
        self._searcher = searcher
        self._function = function

    def __call__(self, config: Mapping[str, Any]) -> float:
        searcher = self._searcher
        assert searcher._space is not None
        return self._function(searcher._space.decode(searcher._from_flaml(config)))


def _domain(axis: Axis) -> Any:
    from flaml import tune

    if axis.form == "choice":
        return tune.choice(list(range(axis.size)), order=False)
    if axis.form == "integer":
        return tune.randint(int(axis.low), int(axis.high) + 1)
    return tune.loguniform(axis.low, axis.high) if axis.log else tune.uniform(axis.low, axis.high)
