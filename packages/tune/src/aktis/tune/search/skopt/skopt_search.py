"""Search by the sequential model-based optimizers of scikit-optimize: https://scikit-optimize.readthedocs.io."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aktis.air.nested import flatten
from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, require
from aktis.tune.search._library.space import NamedSpace, Point, Space, plain

__all__ = ["SkOptSearch"]

_MOST_LIES = 4  # each costs a fit of the model


class SkOptSearch(LibrarySearcher):
    """Search by scikit-optimize: Gaussian processes, unless an optimizer says otherwise.

    Args:
        optimizer: A ``skopt.Optimizer``; then ``space`` is the list of names of its dimensions.
        space: Tune domains, or dimensions of scikit-optimize by name: a tuple is a range, a list are choices. Left out,
            ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: Values of the metric for the first of ``points_to_evaluate``, which are then not tried again.
        convert_to_python: Whether numpy's numbers become Python's.
        seed: Makes the search reproducible.
    """

    able = Capabilities("scikit-optimize", log_real=True)

    def __init__(
        self,
        optimizer: Any = None,
        space: list[str] | dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        convert_to_python: bool = True,
        *,
        seed: int | None = None,
    ) -> None:
        skopt = require("skopt", "skopt", "scikit-optimize")
        if optimizer is not None:
            if not isinstance(optimizer, skopt.Optimizer):
                raise ValueError(f"optimizer must be a skopt.Optimizer, got {optimizer!r}")
            if not isinstance(space, list) or len(space) != len(optimizer.space.dimensions):
                raise ValueError(
                    f"beside an optimizer, space is the list of the names of its {len(optimizer.space.dimensions)} dimensions, "
                    f"got {space!r}"
                )
            if seed is not None:
                raise ValueError(f"an optimizer of your own takes its seed itself (random_state=), got seed={seed!r}")
        self._randomness = PrivateRandom(seed)
        self._optimizer = optimizer
        self._convert = convert_to_python
        self._dimensions: dict[str, Any] = {}
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    def _own_space(self, space: Any) -> Space:
        if isinstance(space, list):
            if self._optimizer is None:
                raise ValueError(f"a list of names as space needs an optimizer, got {space!r} only")
            self._dimensions = dict.fromkeys(space)
            return NamedSpace(list(space))
        if not isinstance(space, Mapping):
            raise ValueError(f"space must hold Tune domains or dimensions of scikit-optimize by name, got {space!r}")
        self._dimensions = flatten(space)
        return NamedSpace(list(self._dimensions))

    def _begin(self) -> None:
        import skopt

        if self._optimizer is not None:
            return
        if not self._dimensions:
            self._dimensions = {axis.name: _dimension(axis) for axis in self.axes}
        with self._randomness:
            import numpy as np

            seed = self._seed if self._seed is not None else int(np.random.randint(2**31))
            self._optimizer = skopt.Optimizer(list(self._dimensions.values()), random_state=seed)

    def _working(self) -> Any:
        return quiet(
            ignore=(
                "The objective has been evaluated",
                "lbfgs failed to converge",
                "The optimal value found",
                ".*close to the specified",
            ),
        )

    def _ask(self, trial_id: str) -> tuple[Any, Point]:
        with self._randomness, self._working():
            return None, dict(zip(self._dimensions, (plain(value) for value in self._ask_other_than_live())))

    def _ask_other_than_live(self) -> list[Any]:
        """A point that no running trial has: its own idea, then one that supposes results, then a random one."""
        live = [self._as_list(live.point) for live in self._live.values()]
        found: list[Any] = list(self._optimizer.ask())
        if found not in live:
            return found
        for candidate in self._optimizer.ask(n_points=min(len(live), _MOST_LIES) + 1, strategy="cl_min"):
            if list(candidate) not in live:
                return list(candidate)
        return list(self._optimizer.space.rvs(random_state=self._optimizer.rng)[0])

    def _as_list(self, point: Point) -> list[Any]:
        return [point[name] for name in self._dimensions]

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        with self._randomness, self._working():
            self._optimizer.tell(self._as_list(point), loss)


def _dimension(axis: Axis) -> Any:
    from skopt.space import Categorical, Integer, Real

    if axis.form == "choice":
        return Categorical(list(range(axis.size)))
    if axis.form == "integer":
        return Integer(int(axis.low), int(axis.high))
    return Real(axis.low, axis.high, prior="log-uniform" if axis.log else "uniform")
