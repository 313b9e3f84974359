"""Search by BOHB: Falkner, Klein, Hutter: Robust and efficient hyperparameter optimization at scale (ICML 2018)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from aktis.tune.search._library.axis import Capabilities
from aktis.tune.search._library.config_space import ConfigSpaceSpace, is_config_space, make_config_space
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, Live, require
from aktis.tune.search._library.space import Point, Space, plain

__all__ = ["TuneBOHB"]

_ONLY_BUDGET = 1.0  # where no scheduler speaks of budgets
_NOISE = (".*",)  # hpbandster is of the days of ConfigSpace 0.4; all that it warns of is how it calls its libraries


class TuneBOHB(LibrarySearcher):
    """Search by the model of BOHB; its other half is the scheduler ``HyperBandForBOHB``.

    The scheduler says at which budget a trial paused. With another scheduler, what a trial reported last counts.

    Args:
        space: Tune domains, or a ``ConfigSpace.ConfigurationSpace``. Left out, ``param_space`` is taken.
        bohb_config: Options of hpbandster's BOHB, such as ``min_points_in_model``.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        seed: Makes the search reproducible.
        max_concurrent: How many trials run at a time, paused ones left out; 0 is no limit. A ConcurrencyLimiter sets it.
    """

    able = Capabilities("TuneBOHB", log_real=True, log_integer=True)

    def __init__(
        self,
        space: Any = None,
        bohb_config: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        seed: int | None = None,
        max_concurrent: int = 0,
    ) -> None:
        with quiet(ignore=_NOISE):
            require("ConfigSpace", "bohb", "ConfigSpace")
            require("hpbandster.optimizers.config_generators.bohb", "bohb", "hpbandster")
        self._bohb_config = dict(bohb_config or {})
        self._randomness = PrivateRandom(seed)
        self._config_space: Any = None
        self._bohb: Any = None
        self._budgets: set[float] = set()
        self.paused: set[str] = set()
        super().__init__(space, metric, mode, points_to_evaluate, seed=seed, max_concurrent=max_concurrent)

    @property
    def running(self) -> set[str]:
        """Ids of the trials that have begun, have not ended and are not paused."""
        return self._live.keys() - self.paused

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        self._max_concurrent = max_concurrent
        return True

    def _full(self) -> bool:
        return 0 < self._max_concurrent <= len(self.running)

    def on_pause(self, trial_id: str) -> None:
        if trial_id in self._live:
            self.paused.add(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self.paused.discard(trial_id)

    def _own_space(self, space: Any) -> Space:
        if not is_config_space(space):
            raise ValueError(f"space must hold Tune domains, or be a ConfigSpace.ConfigurationSpace, got {space!r}")
        self._config_space = space
        return ConfigSpaceSpace(space)

    def _begin(self) -> None:
        from hpbandster.optimizers.config_generators.bohb import BOHB

        with self._randomness, quiet("hpbandster", ignore=_NOISE, level=logging.ERROR):
            import numpy as np

            seed = int(np.random.randint(2**31))
            if self._config_space is None:
                self._config_space = make_config_space(self.axes, seed)
            elif self._seed is not None:
                self._config_space.seed(self._seed)
            self._bohb = BOHB(self._config_space, **self._bohb_config)

    def _ask(self, trial_id: str) -> tuple[Any, Point]:
        with self._randomness, quiet("hpbandster", ignore=_NOISE, level=logging.ERROR):
            config, _ = self._bohb.get_config(None)  # the model of the largest budget decides
        return set(), {str(name): plain(value) for name, value in dict(config).items()}

    def _adopt(self, point: Point) -> Any:
        return set()

    # -- results: a token is the set of budgets at which the trial was told of ------------------------------------

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        live = self._live.get(trial_id)
        budget = _budget(result)
        if live is not None and budget is not None:
            self._tell_at(live, budget, self._loss(result))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.paused.discard(trial_id)
        live = self._live.pop(trial_id, None)
        if live is None or (not error and not result):
            return
        budget = _budget(result or {})
        if error:
            self._tell_at(live, min(self._budgets, default=_ONLY_BUDGET), None)
        elif budget is not None:
            self._tell_at(live, budget, self._loss(result or {}))
        elif not self._budgets:
            self._tell_at(live, _ONLY_BUDGET, self._loss(result or {}), named=False)

    def _tell_at(self, live: Live, budget: float, loss: float | None, named: bool = True) -> None:
        if budget in live.token:
            return
        live.token.add(budget)
        if named and loss is not None:
            self._budgets.add(budget)
        self._new_result(live.point, budget, loss)

    def _new_result(self, point: Point, budget: float, loss: float | None) -> None:
        """What hpbandster knows as a job; one without a result failed."""
        job = SimpleNamespace(
            id=None,
            result=None if loss is None else {"loss": loss},
            kwargs={"budget": budget, "config": point},
            exception=None,
        )
        with self._randomness, quiet("hpbandster", ignore=_NOISE, level=logging.ERROR):
            self._bohb.new_result(job)

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        self._new_result(point, max(self._budgets, default=_ONLY_BUDGET), loss)

    def _tell_failure(self, token: Any, point: Point) -> None:
        self._new_result(point, min(self._budgets, default=_ONLY_BUDGET), None)


def _budget(result: Mapping[str, Any]) -> float | None:
    """The budget at which HyperBandForBOHB paused the trial."""
    info = result.get("hyperband_info")
    budget = info.get("budget") if isinstance(info, Mapping) else result.get("hyperband_info/budget")
    return None if budget is None else float(budget)
