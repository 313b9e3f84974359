"""Search by HEBO: Cowen-Rivers et al.: HEBO: Pushing the limits of sample-efficient hyperparameter optimisation (2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, require
from aktis.tune.search._library.space import NamedSpace, Point, Space, plain

__all__ = ["HEBOSearch"]

_NOISE = (".*",)  # of a library that is written for older versions of all that it calls


class HEBOSearch(LibrarySearcher):
    """Search by HEBO: Gaussian processes over warped inputs and outputs.

    Args:
        space: Tune domains, or a ``hebo.design_space.design_space.DesignSpace``. Left out, ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: Values of the metric for the first of ``points_to_evaluate``, which are then not tried again.
        random_state_seed: Makes the search reproducible.
        max_concurrent: How many trials run at a time. A ConcurrencyLimiter sets it.
        kwargs: For HEBO, such as ``rand_sample``.
    """

    able = Capabilities("HEBO", log_real=True)

    def __init__(
        self,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        random_state_seed: int | None = None,
        max_concurrent: int = 8,
        **kwargs: Any,
    ) -> None:
        with quiet(ignore=_NOISE, stdout=True):
            require("hebo.optimizers.hebo", "hebo", "HEBO")
        if not isinstance(max_concurrent, int) or max_concurrent < 1:
            raise ValueError(f"max_concurrent must be a whole number of at least 1, got {max_concurrent!r}")
        if random_state_seed is not None and not isinstance(random_state_seed, int):
            raise ValueError(f"random_state_seed must be a whole number or None, got {random_state_seed!r}")
        self._randomness = PrivateRandom(random_state_seed, torch=True)
        self._kwargs = kwargs
        self._design: Any = None
        self._hebo: Any = None
        super().__init__(
            space, metric, mode, points_to_evaluate, evaluated_rewards, random_state_seed, max_concurrent=max_concurrent
        )

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        self._max_concurrent = max_concurrent
        return True

    def _own_space(self, space: Any) -> Space:
        from hebo.design_space.design_space import DesignSpace

        if not isinstance(space, DesignSpace):
            raise ValueError(f"space must hold Tune domains, or be a DesignSpace of HEBO, got {space!r}")
        self._design = space
        return NamedSpace(list(space.para_names))

    def _begin(self) -> None:
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        with self._randomness, quiet("hebo", ignore=_NOISE, stdout=True):
            if self._design is None:
                self._design = DesignSpace().parse([_parameter(axis) for axis in self.axes])
            self._hebo = HEBO(space=self._design, **{"scramble_seed": self._seed, **self._kwargs})

    def _ask(self, trial_id: str) -> tuple[Any, Point]:
        with self._randomness, quiet("hebo", ignore=_NOISE, stdout=True):
            suggested = self._hebo.suggest(n_suggestions=1)
        row = suggested.iloc[0].to_dict()
        return None, {str(name): plain(value) for name, value in row.items()}

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        import numpy as np
        import pandas as pd

        with self._randomness, quiet("hebo", ignore=_NOISE, stdout=True):
            self._hebo.observe(pd.DataFrame([point], columns=list(point)), np.array([[loss]]))


def _parameter(axis: Axis) -> dict[str, Any]:
    if axis.form == "choice":
        return {"name": axis.name, "type": "cat", "categories": list(range(axis.size))}
    if axis.form == "integer":
        return {"name": axis.name, "type": "int", "lb": int(axis.low), "ub": int(axis.high)}
    return {"name": axis.name, "type": "pow" if axis.log else "num", "lb": axis.low, "ub": axis.high}
