"""Search by ZOOpt's classification-based optimisation (ASRacos, SRacos): https://github.com/polixir/ZOOpt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, require
from aktis.tune.search._library.space import NamedSpace, Point, Space

__all__ = ["ZOOptSearch"]

_PRECISION = 1e-10


class ZOOptSearch(LibrarySearcher):
    """Search by ZOOpt: a few random configurations, then samples of the region that a classifier holds for good.

    Args:
        algo: ``"asracos"`` (several trials at a time) or ``"sracos"`` (one after the other).
        budget: How many trials there will be, which decides how many of them are random.
        dim_dict: Tune domains, or dimensions of ZOOpt by name, as in ``{"x": (ValueType.CONTINUOUS, [0, 1], 1e-2)}``. Left out,
            ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        parallel_num: How many trials run at a time once the random ones are done; a ConcurrencyLimiter sets it.
        seed: Makes the search reproducible.
        kwargs: More for ``zoopt.Parameter``.
    """

    able = Capabilities("ZOOpt")

    def __init__(
        self,
        algo: str = "asracos",
        budget: int | None = None,
        dim_dict: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        parallel_num: int = 1,
        *,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        require("zoopt", "zoopt", "zoopt")
        if budget is None or budget < 3:
            raise ValueError(f"ZOOpt needs budget, the number of trials there will be (at least 3), got {budget!r}")
        if algo.lower() not in ("asracos", "sracos"):
            raise ValueError(f'algo must be "asracos" or "sracos", got {algo!r}')
        self._algo = algo.lower()
        self._budget = budget
        self._parallel_num = parallel_num if self._algo == "asracos" else 1
        self._parameters = kwargs
        self._randomness = PrivateRandom(seed)
        self._dimensions: dict[str, Any] = {}
        self._precisions: list[int | None] = []
        self._racos: Any = None
        self._proposed: list[Any] = []
        self._trained = False
        super().__init__(dim_dict, metric, mode, points_to_evaluate, seed=seed)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Take that number as ``parallel_num``. The random trials of the beginning must be limited by somebody else."""
        if self._algo == "asracos":
            self._parallel_num = max_concurrent
        return False

    def _own_space(self, space: Any) -> Space:
        if not isinstance(space, Mapping) or not all(
            isinstance(dimension, tuple) and len(dimension) >= 2 for dimension in space.values()
        ):
            raise ValueError(f"dim_dict must hold Tune domains, or dimensions of ZOOpt by name, got {space!r}")
        self._dimensions = dict(space)
        return NamedSpace(list(space))

    def _begin(self) -> None:
        from zoopt import Dimension2, Parameter
        from zoopt.algos.opt_algorithms.racos.sracos import SRacosTune
        from zoopt.utils.zoo_global import gl

        if not self._dimensions:
            self._dimensions = {axis.name: _dimension(axis) for axis in self.axes}
        before = gl.float_precisions
        parameter = Parameter(algorithm="racos", budget=self._budget, **self._parameters)
        parameter.set_negative_size(parameter.get_train_size() - parameter.get_positive_size())
        space = Dimension2(list(self._dimensions.values()))
        self._precisions, gl.float_precisions = gl.float_precisions, before
        with self._working():
            self._racos = SRacosTune(dimension=space, parameter=parameter, parallel_num=self._parallel_num)

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """ZOOpt keeps the precision of the space that was made last in a global variable."""
        from zoopt.utils.zoo_global import gl

        before, gl.float_precisions = gl.float_precisions, self._precisions
        try:
            with self._randomness, quiet(stdout=True):
                yield
        finally:
            gl.float_precisions = before

    def _ask(self, trial_id: str) -> tuple[Any, Point] | str | None:
        racos = self._racos
        if self._trained and len(self._live) >= self._parallel_num:
            return None
        with self._working():
            solution = None
            if self._trained:
                solution, distinct = racos.sample_solution(racos.ub)
                solution = solution if distinct else None
            if solution is None:
                solution, distinct = racos.distinct_sample(racos.get_objective().get_dim(), self._proposed)
        if not distinct and self._all_tried():
            return self.FINISHED
        return self._remember(solution)

    def _remember(self, solution: Any) -> tuple[Any, Point]:
        self._proposed.append(solution)
        return solution, dict(zip(self._dimensions, solution.get_x()))

    def _all_tried(self) -> bool:
        limited, number = self._racos.get_objective().get_dim().limited_space()
        return bool(limited) and len({tuple(solution.get_x()) for solution in self._proposed}) >= number

    def _adopt(self, point: Point) -> Any:
        with self._working():
            solution = self._racos.get_objective().construct_solution([point[name] for name in self._dimensions])
        return self._remember(solution)[0]

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        """The first results train the classifier, each of the later ones corrects it."""
        racos = self._racos
        token.set_value(loss)
        with self._working():
            if self._trained:
                racos.update_classifier(token)
                return
            racos._data.append(token)
            if len(racos._data) >= racos.get_parameters().get_train_size():
                racos.selection()
                self._trained = True


def _dimension(axis: Axis) -> tuple[Any, ...]:
    from zoopt import ValueType

    if axis.form == "choice":
        return ValueType.GRID, list(range(axis.size))
    if axis.form == "integer":
        return ValueType.DISCRETE, [int(axis.low), int(axis.high)], True
    return ValueType.CONTINUOUS, [axis.low, axis.high], _PRECISION
