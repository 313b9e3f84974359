"""Search by the gradient-free optimizers of Nevergrad: https://facebookresearch.github.io/nevergrad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aktis.air.nested import flatten
from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, require
from aktis.tune.search._library.space import NamedSpace, Point, Space, TuneSpace, plain

__all__ = ["NevergradSearch"]


class NevergradSearch(LibrarySearcher):
    """Search by an optimizer of Nevergrad.

    Args:
        optimizer: A class of ``nevergrad.optimizers`` (or its name, or one that is configured), or a ready optimizer, which
            has its own parametrization. Left out: ``CMA``, ``OnePlusOne`` for a single number, and
            ``PortfolioDiscreteOnePlusOne`` where there are choices.
        optimizer_kwargs: For the class, such as ``budget`` and ``num_workers``.
        space: Tune domains, a Nevergrad parametrization (``ng.p.Dict``, ``ng.p.Instrumentation`` of keywords), or, beside a
            ready optimizer over an array, the names of its entries. Left out, ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        seed: Makes the search reproducible.
    """

    able = Capabilities("Nevergrad", log_real=True)

    def __init__(
        self,
        optimizer: Any = None,
        optimizer_kwargs: dict[str, Any] | None = None,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        ng = require("nevergrad", "nevergrad", "nevergrad")
        self._randomness = PrivateRandom(seed)
        self._factory: Any = None
        self._optimizer: Any = None
        self._parametrization: Any = None
        self._kwargs = dict(optimizer_kwargs or {})
        if isinstance(optimizer, ng.optimizers.base.Optimizer):
            self._optimizer = optimizer
            if self._kwargs:
                raise ValueError(
                    f"a ready optimizer takes no optimizer_kwargs, got {self._kwargs!r}: make it with them"
                )
            space = _Ready(optimizer.parametrization, space)
        else:
            self._factory = _factory(optimizer)
        super().__init__(space, metric, mode, points_to_evaluate, seed=seed)

    def _own_space(self, space: Any) -> Space:
        import nevergrad as ng

        names = None
        if isinstance(space, _Ready):
            space, names = space.parametrization, space.names
        if not isinstance(space, ng.p.Parameter):
            raise ValueError(f"space must be a dict of Tune domains or a Nevergrad parametrization, got {space!r}")
        self._parametrization = space
        if isinstance(space, ng.p.Instrumentation) and not space.args:
            return _KeywordSpace(list(space.kwargs))
        if isinstance(space, ng.p.Dict):
            return NamedSpace()
        if isinstance(space, ng.p.Array) and names is not None:
            return _ArraySpace(list(names))
        raise ValueError(
            "a parametrization must be an ng.p.Dict, an ng.p.Instrumentation of keywords only, or an array with the names of "
            f"its entries as space, got {space!r} and names {names!r}"
        )

    def _begin(self) -> None:
        import nevergrad as ng
        import numpy as np

        with self._working():
            if self._parametrization is None:
                self._parametrization = ng.p.Dict(**{axis.name: _parameter(axis) for axis in self.axes})
            if self._optimizer is None:
                self._parametrization.random_state = np.random.RandomState(np.random.randint(2**31))
                factory = self._factory or self._default_factory()
                self._optimizer = factory(parametrization=self._parametrization, **self._kwargs)
            elif self._seed is not None:
                self._optimizer.parametrization.random_state = np.random.RandomState(self._seed)
            _refuse_threads(self._optimizer)

    def _default_factory(self) -> Any:
        """Not NGOpt, which chooses by itself: what it likes to choose fails with new versions of numpy, or cannot be saved."""
        import nevergrad as ng

        if not isinstance(self._space, TuneSpace) or any(axis.form == "choice" for axis in self.axes):
            return ng.optimizers.registry["PortfolioDiscreteOnePlusOne"]
        return ng.optimizers.registry["CMA" if len(self.axes) > 1 else "OnePlusOne"]

    def _working(self) -> Any:
        from contextlib import ExitStack

        stack = ExitStack()
        stack.enter_context(self._randomness)
        stack.enter_context(quiet("nevergrad", ignore=(".*",)))  # its portfolio warns of its own choices
        return stack

    def _ask(self, trial_id: str) -> tuple[Any, Point]:
        with self._working():
            candidate = self._optimizer.ask()
        return candidate, self._point(candidate.value)

    def _point(self, value: Any) -> Point:
        if isinstance(value, tuple):  # positional and keyword arguments of an Instrumentation
            value = value[1]
        if isinstance(self._space, _ArraySpace):
            return dict(zip(self._space.names or (), (float(entry) for entry in value)))
        return {name: plain(entry) for name, entry in value.items()}

    def _adopt(self, point: Point) -> Any:
        with self._working():
            if isinstance(self._space, _ArraySpace):
                self._optimizer.suggest([point[name] for name in self._space.names or ()])
            elif isinstance(self._space, _KeywordSpace):
                self._optimizer.suggest(**point)
            else:
                self._optimizer.suggest(point)
            return self._optimizer.ask()

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        with self._working():
            self._optimizer.tell(token, loss)


class _Ready:
    """The parametrization of a ready optimizer, and names for its entries."""

    def __init__(self, parametrization: Any, names: Any) -> None:
        if names is not None and (isinstance(names, str) or not isinstance(names, Sequence)):
            raise ValueError(f"a ready optimizer has its space: give the names of its entries at most, got {names!r}")
        self.parametrization = parametrization
        self.names = names


class _ArraySpace(NamedSpace):
    """Names for the entries of an array."""


class _KeywordSpace(NamedSpace):
    """Keywords of an Instrumentation."""

    def encode(self, config: Mapping[str, Any], strict: bool = True) -> Point:
        flat = {**config, **flatten(config)}
        return super().encode({name: flat[name] for name in flat if name in (self.names or ())}, strict)


def _factory(optimizer: Any) -> Any:
    import nevergrad as ng

    if optimizer is None:
        return None
    if isinstance(optimizer, str):
        if optimizer not in ng.optimizers.registry:
            raise ValueError(f"Nevergrad has no optimizer {optimizer!r}: see sorted(nevergrad.optimizers.registry)")
        return ng.optimizers.registry[optimizer]
    if not callable(optimizer):
        raise ValueError(
            f"optimizer must be a class of nevergrad.optimizers, its name or an instance, got {optimizer!r}"
        )
    return optimizer


def _refuse_threads(optimizer: Any) -> None:
    """ValueError for those that run SciPy and others in a thread, which waits for each result and cannot be saved."""
    from nevergrad.optimization.recaster import RecastOptimizer

    chosen = getattr(optimizer, "optim", optimizer)
    if isinstance(chosen, RecastOptimizer):
        raise ValueError(
            f"{chosen.name!r} of Nevergrad can neither run trials side by side nor be saved: take another optimizer (CMA, "
            'TwoPointsDE, OnePlusOne, ...), or NGOpt with optimizer_kwargs={"num_workers": 2} or more'
        )


def _parameter(axis: Axis) -> Any:
    import nevergrad as ng

    if axis.form == "choice":
        return ng.p.Choice(list(range(axis.size)))
    if axis.log:
        return ng.p.Log(lower=axis.low, upper=axis.high)
    if axis.form == "integer":
        return ng.p.Scalar(lower=axis.low, upper=axis.high).set_integer_casting()
    return ng.p.Scalar(lower=axis.low, upper=axis.high)
