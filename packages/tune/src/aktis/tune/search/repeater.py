"""The same configuration several times, for metrics that depend on luck."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from typing import Any

from aktis.tune.search.searcher import Names, Searcher, dump_searcher, load_searcher

__all__ = ["TRIAL_INDEX", "Repeater"]

logger = logging.getLogger(__name__)

TRIAL_INDEX = "__trial_index__"
"""Where a trial finds in its configuration which repetition it is, from 0."""


class _Group:
    """The trials of one configuration. The first of them is the one that the searcher knows."""

    def __init__(self, config: dict[str, Any], size: int) -> None:
        self.config = config
        self.size = size
        self.trials: dict[str, Any] = {}  # by id: the value of the metric, or _RUNNING

    @property
    def first(self) -> str:
        return next(iter(self.trials))

    @property
    def is_full(self) -> bool:
        return len(self.trials) == self.size

    @property
    def has_ended(self) -> bool:
        return self.is_full and _RUNNING not in self.trials.values()


_RUNNING = "running"


class Repeater(Searcher):
    """Runs each suggestion of a searcher ``repeat`` times, and tells the searcher the mean of what came out.

    ``num_samples`` counts the repetitions; those of a last, incomplete group are run, but not told. Repetitions that failed, or
    have no number for the metric, are left out of the mean; when all have, the searcher hears of an error. Intermediate
    results are not told, so a scheduler that stops early makes means of unlike things.

    Args:
        searcher: What suggests.
        repeat: How often, at least 1.
        set_index: Whether to add ``"__trial_index__"``, the number of the repetition, to configurations.
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        if not isinstance(searcher, Searcher):
            raise TypeError(f"Repeater works with searchers only, got {searcher!r} ({type(searcher).__name__})")
        if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
            raise ValueError(f"repeat must be a whole number from 1, got {repeat!r}")
        super().__init__(searcher.metric, searcher.mode)
        self.searcher = searcher
        self.repeat = repeat
        self._set_index = set_index
        self._filling: _Group | None = None
        self._groups: dict[str, _Group] = {}  # by trial id, until all of the group have ended

    @property
    def metric(self) -> Names:
        return self.searcher.metric

    @property
    def mode(self) -> Names:
        return self.searcher.mode

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """False: the searcher's bound would count groups, not trials."""
        return False

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        return self.searcher.set_search_properties(metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if not self.metric:
            raise ValueError(
                "Repeater needs to know what to take the mean of: set metric on the searcher or for the run"
            )
        group = self._filling
        if group is None:
            suggestion = self.searcher.suggest(trial_id)
            if suggestion is None or isinstance(suggestion, str):
                return suggestion
            group = self._filling = _Group(suggestion, self.repeat)
        config = copy.deepcopy(group.config)
        if self._set_index:
            config[TRIAL_INDEX] = len(group.trials)
        group.trials[trial_id] = _RUNNING
        self._groups[trial_id] = group
        if group.is_full:
            self._filling = None
        return config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Intermediate results belong to one repetition, of which the searcher knows nothing."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        group = self._groups.get(trial_id)
        if group is None:
            logger.error("trial %s is in no group of repetitions: it is left out", trial_id)
            return
        group.trials[trial_id] = None if error or not result else self._scores(result)
        if not group.has_ended:
            return
        for each in group.trials:
            del self._groups[each]
        means = _means([scores for scores in group.trials.values() if scores])
        if means:
            self.searcher.on_trial_complete(group.first, result=means)
        else:
            self.searcher.on_trial_complete(group.first, error=True)

    def _scores(self, result: Mapping[str, Any]) -> dict[str, float] | None:
        """The metrics of a result; None when one of them is missing or no number."""
        metric = self.metric or []
        names = [metric] if isinstance(metric, str) else list(metric)
        scores = {name: float(result[name]) for name in names if name in result}
        whole = len(scores) == len(names) and not any(math.isnan(score) for score in scores.values())
        return scores if whole else None

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        self.searcher.add_evaluated_point(parameters, value, error, pruned, intermediate_values)

    def get_state(self) -> dict[str, Any]:
        return {"filling": self._filling, "groups": dict(self._groups), "searcher": dump_searcher(self.searcher)}

    def set_state(self, state: dict[str, Any]) -> None:
        self._filling = state["filling"]
        self._groups = dict(state["groups"])
        load_searcher(self.searcher, state["searcher"])


def _means(scores: list[dict[str, float]]) -> dict[str, float]:
    if not scores:
        return {}
    return {name: math.fsum(each[name] for each in scores) / len(scores) for name in scores[0]}
