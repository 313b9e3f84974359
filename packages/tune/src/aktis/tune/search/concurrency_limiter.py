"""A bound on how many trials of a searcher run at a time."""

from __future__ import annotations

from typing import Any

from aktis.tune.search.searcher import Names, Searcher, dump_searcher, load_searcher

__all__ = ["ConcurrencyLimiter"]


class ConcurrencyLimiter(Searcher):
    """Lets at most ``max_concurrent`` trials of a searcher run at a time, so that it has learned from most of its suggestions.

    Args:
        searcher: What suggests. A searcher that can bound itself (``set_max_concurrency``) is told to.
        max_concurrent: How many trials, at least 1.
        batch: Make suggestions in batches: the searcher hears how trials ended only when all that run have ended.
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        if not isinstance(searcher, Searcher):
            raise TypeError(
                f"ConcurrencyLimiter works with searchers only, got {searcher!r} ({type(searcher).__name__}). "
                "BasicVariantGenerator has an argument max_concurrent"
            )
        if isinstance(max_concurrent, bool) or not isinstance(max_concurrent, int) or max_concurrent < 1:
            raise ValueError(f"max_concurrent must be a whole number from 1, got {max_concurrent!r}")
        super().__init__(searcher.metric, searcher.mode)
        self.searcher = searcher
        self.max_concurrent = max_concurrent
        self.batch = batch
        self.live_trials: set[str] = set()
        self._ended: dict[str, tuple[dict[str, Any] | None, bool]] = {}
        self._limits = not searcher.set_max_concurrency(max_concurrent)

    @property
    def metric(self) -> Names:
        return self.searcher.metric

    @property
    def mode(self) -> Names:
        return self.searcher.mode

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """True: it is bounded already, by ``max_concurrent`` of its own."""
        return True

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        return self.searcher.set_search_properties(metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if trial_id in self.live_trials:
            raise ValueError(f"trial {trial_id!r} runs already: each suggestion needs a trial id of its own")
        if self._limits and len(self.live_trials) >= self.max_concurrent:
            return None
        suggestion = self.searcher.suggest(trial_id)
        if suggestion is not None and suggestion != Searcher.FINISHED:
            self.live_trials.add(trial_id)
        return suggestion

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id not in self.live_trials:
            return
        if not (self.batch and self._limits):
            self.live_trials.discard(trial_id)
            self.searcher.on_trial_complete(trial_id, result=result, error=error)
            return
        self._ended[trial_id] = (result, error)
        if len(self._ended) == len(self.live_trials):
            ended, self._ended = self._ended, {}
            self.live_trials.clear()
            for each, (last, failed) in ended.items():
                self.searcher.on_trial_complete(each, result=last, error=failed)

    def on_pause(self, trial_id: str) -> None:
        self.searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self.searcher.on_unpause(trial_id)

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
        return {
            "live": sorted(self.live_trials),
            "ended": dict(self._ended),
            "searcher": dump_searcher(self.searcher),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self.live_trials = set(state["live"])
        self._ended = dict(state["ended"])
        load_searcher(self.searcher, state["searcher"])
