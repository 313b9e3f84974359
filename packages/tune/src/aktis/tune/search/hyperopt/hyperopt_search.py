"""Search by HyperOpt's tree of Parzen estimators: https://hyperopt.github.io/hyperopt."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.searcher import LibrarySearcher, require
from aktis.tune.search._library.space import Point, Space, TuneSpace
from aktis.tune.search.hyperopt._own_space import HyperOptSpace

__all__ = ["HyperOptSearch"]


class HyperOptSearch(LibrarySearcher):
    """Search by HyperOpt's TPE. Choices of dicts that hold variables of their own are searched as conditional spaces.

    Args:
        space: Tune domains, or a dict of ``hyperopt.hp`` expressions. Left out, ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        n_initial_points: How many random configurations come before the model.
        random_state_seed: Makes the search reproducible.
        gamma: Which share of the results counts as good.
    """

    able = Capabilities("HyperOpt", log_real=True)

    def __init__(
        self,
        space: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        n_initial_points: int = 20,
        random_state_seed: int | None = None,
        gamma: float = 0.25,
    ) -> None:
        require("hyperopt", "hyperopt", "hyperopt")
        if not 0 < gamma <= 1:
            raise ValueError(f"gamma must be above 0 and at most 1, got {gamma!r}")
        self._n_initial_points = n_initial_points
        self._gamma = gamma
        self._random = random.Random(random_state_seed)
        self._domain: Any = None
        self._trials: Any = None
        super().__init__(space, metric, mode, points_to_evaluate, seed=random_state_seed)

    def _own_space(self, space: Any) -> Space:
        return HyperOptSpace(space)

    def _begin(self) -> None:
        import hyperopt

        expression = _expression(self._space) if isinstance(self._space, TuneSpace) else self._space.expression  # type: ignore[union-attr]
        self._domain = hyperopt.base.Domain(_itself, expression)
        self._trials = hyperopt.Trials()

    def _ask(self, trial_id: str) -> tuple[Any, Point]:
        import hyperopt

        (tid,) = self._trials.new_trial_ids(1)
        self._trials.refresh()
        with quiet("hyperopt"):
            (doc,) = hyperopt.tpe.suggest(
                [tid],
                self._domain,
                self._trials,
                self._random.randrange(2**31 - 1),
                n_startup_jobs=self._n_initial_points,
                gamma=self._gamma,
                verbose=False,
            )
        return self._insert(tid, doc["misc"]), hyperopt.base.spec_from_misc(doc["misc"])

    def _adopt(self, point: Point) -> Any:
        (tid,) = self._trials.new_trial_ids(1)
        labels = self._domain.params
        misc = {
            "tid": tid,
            "cmd": self._domain.cmd,
            "workdir": self._domain.workdir,
            "idxs": {label: [tid] if self._is_active(label, point) else [] for label in labels},
            "vals": {label: [point[label]] if self._is_active(label, point) else [] for label in labels},
        }
        return self._insert(tid, misc)

    def _is_active(self, label: str, point: Point) -> bool:
        if isinstance(self._space, TuneSpace):
            return self._space.is_active(self._space.axes[label], point)
        return label in point

    def _insert(self, tid: int, misc: dict[str, Any]) -> int:
        docs = self._trials.new_trial_docs([tid], [None], [self._domain.new_result()], [misc])
        self._trials.insert_trial_docs(docs)
        self._trials.refresh()
        return tid

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        import hyperopt

        self._end(token, hyperopt.JOB_STATE_DONE, {"loss": loss, "status": hyperopt.STATUS_OK})

    def _tell_failure(self, token: Any, point: Point) -> None:
        import hyperopt

        self._end(token, hyperopt.JOB_STATE_ERROR, {"status": hyperopt.STATUS_FAIL})

    def _end(self, tid: int, state: int, result: dict[str, Any]) -> None:
        doc = self._trials._dynamic_trials[tid]  # ids count from 0, in the order of insertion
        assert doc["tid"] == tid
        doc["state"] = state
        doc["result"] = result
        self._trials.refresh()


def _itself(config: Any) -> Any:
    return config


def _expression(space: TuneSpace) -> dict[str, Any]:
    """The space as HyperOpt writes it, labels being the names of the axes."""
    return {axis.name: _axis_expression(axis, space) for axis in space.axes.values() if not axis.conditions}


def _axis_expression(axis: Axis, space: TuneSpace) -> Any:
    import math

    from hyperopt import hp

    if axis.form == "choice":
        return hp.choice(axis.name, [_branch(axis.name, index, space) for index in range(axis.size)])
    if axis.form == "integer":
        return hp.uniformint(axis.name, int(axis.low), int(axis.high))
    if axis.log:
        return hp.loguniform(axis.name, math.log(axis.low), math.log(axis.high))
    return hp.uniform(axis.name, axis.low, axis.high)


def _branch(choice: str, index: int, space: TuneSpace) -> Any:
    """What exists only where this choice is made."""
    inner = [axis for axis in space.axes.values() if axis.conditions and axis.conditions[-1] == (choice, index)]
    return {axis.name: _axis_expression(axis, space) for axis in inner} if inner else index
