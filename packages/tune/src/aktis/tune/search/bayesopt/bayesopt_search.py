"""Search by Gaussian processes, with the library bayesian-optimization."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from aktis.air.nested import flatten
from aktis.tune.search._library.axis import Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.searcher import LibrarySearcher, require
from aktis.tune.search._library.space import Point, Space, TuneSpace, unflatten
from aktis.tune.search.sample import uniform

__all__ = ["BayesOptSearch"]

_DIGITS = 5  # points that agree to so many digits are the same


class BayesOptSearch(LibrarySearcher):
    """Search by Bayesian optimisation over numbers. Whole and quantised ones are rounded; choices it cannot do.

    Args:
        space: Tune domains, or bounds by name: ``{"x": (0, 1)}``. Left out, ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        utility_kwargs: What to seek: ``kind`` (``"ucb"``, ``"ei"`` or ``"poi"``), ``kappa`` (of ucb), ``xi`` (of the others).
        random_state: Makes the search reproducible.
        random_search_steps: Until so many results are known, configurations are random.
        verbose: As of the library.
        patience: How often a configuration may come up before the search is over.
        skip_duplicate: Whether one that came up before is not tried again.
        analysis: An ``ExperimentAnalysis``, or trials, to learn from first.
    """

    able = Capabilities("bayesian-optimization", integer=False, choice=False)

    def __init__(
        self,
        space: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        utility_kwargs: dict[str, Any] | None = None,
        random_state: int = 42,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: Any = None,
    ) -> None:
        require("bayes_opt", "bayesopt", "bayesian-optimization")
        if patience <= 0:
            raise ValueError(f"patience must be above 0, got {patience!r}")
        self._utility = {"kind": "ucb", "kappa": 2.576, "xi": 0.0, **(utility_kwargs or {})}
        if self._utility["kind"] not in ("ucb", "ei", "poi"):
            raise ValueError(f'utility_kwargs["kind"] must be "ucb", "ei" or "poi", got {self._utility["kind"]!r}')
        self._random = random.Random(random_state)
        self._random_search_steps = random_search_steps
        self._verbose = verbose
        self._patience = patience
        self._skip_duplicate = skip_duplicate
        self._analysis = analysis
        self._told = 0
        self._seen: dict[tuple[float, ...], int] = {}
        self._optimizer: Any = None
        self._acquisition: Any = None
        super().__init__(space, metric, mode, points_to_evaluate, seed=random_state)

    def _own_space(self, space: Any) -> Space:
        bounds = flatten(space) if isinstance(space, Mapping) else {}
        if not bounds or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in bounds.values()):
            raise ValueError(f'space must hold Tune domains, or bounds by name, as in {{"x": (0, 1)}}; got {space!r}')
        return TuneSpace(unflatten({name: uniform(*pair) for name, pair in bounds.items()}), self.able, seed=self._seed)

    def _begin(self) -> None:
        import bayes_opt

        bounds = {axis.name: (axis.low, axis.high) for axis in self.axes}
        options = {"verbose": self._verbose, "random_state": self._seed, "allow_duplicate_points": True}
        if hasattr(bayes_opt, "acquisition"):  # since 2.0
            self._optimizer = bayes_opt.BayesianOptimization(
                None, bounds, acquisition_function=self._new_acquisition(), **options
            )
        else:
            self._optimizer = bayes_opt.BayesianOptimization(None, bounds, **options)
            self._acquisition = bayes_opt.UtilityFunction(**self._utility)
        analysis, self._analysis = self._analysis, None
        if analysis is not None:
            self._begun = True
            self.add_evaluated_trials(analysis)

    def _new_acquisition(self) -> Any:
        from bayes_opt import acquisition

        options = dict(self._utility)
        kind, kappa, xi = options.pop("kind"), options.pop("kappa"), options.pop("xi")
        if kind == "ucb":
            return acquisition.UpperConfidenceBound(kappa=kappa, **options)
        improvement = acquisition.ExpectedImprovement if kind == "ei" else acquisition.ProbabilityOfImprovement
        return improvement(xi=xi, **options)

    def _ask(self, trial_id: str) -> tuple[Any, Point] | str | None:
        for _ in range(self._patience + 1):
            point = self._propose()
            key = self._key(point)
            count = self._seen[key] = self._seen.get(key, 0) + 1
            if count > self._patience:
                return self.FINISHED
            if count == 1 or not self._skip_duplicate:
                return None, point
            if self._live:
                return None  # the next result may change its mind
        return self.FINISHED

    def _propose(self) -> Point:
        if self._told < self._random_search_steps:
            return {axis.name: axis.draw(self._random.random()) for axis in self.axes}
        arguments = () if self._acquisition is None else (self._acquisition,)
        with quiet(ignore=("lbfgs failed to converge", "The optimal value found")):
            suggested = self._optimizer.suggest(*arguments)
        return {name: float(value) for name, value in suggested.items()}

    def _key(self, point: Point) -> tuple[float, ...]:
        """The point, rounded; where several make the same value, it is the value that counts."""
        return tuple(
            round(float(axis.decode(point[axis.name])), _DIGITS + _order(axis.low, axis.high)) for axis in self.axes
        )

    def _adopt(self, point: Point) -> Any:
        self._seen[self._key(point)] = self._seen.get(self._key(point), 0) + 1
        return None

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        self._told += 1
        with quiet(stdout=True, ignore=("Data point .* is not unique",)):
            self._optimizer.register(params=point, target=-loss)


def _order(low: float, high: float) -> int:
    """How many zeros follow the decimal point of the range."""
    import math

    return max(0, -math.floor(math.log10(high - low)))
