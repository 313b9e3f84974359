"""Searchers as the trial runner asks them: how many trials, which configurations, and what they are told."""

from __future__ import annotations

import inspect
import random
from collections.abc import Mapping
from typing import Any, ClassVar

from aktis.tune.search._merge import flat_result, merge_suggestion
from aktis.tune.search._template import Template, show
from aktis.tune.search.basic_variant import BasicVariantGenerator
from aktis.tune.search.concurrency_limiter import ConcurrencyLimiter
from aktis.tune.search.search_algorithm import FINISHED, SearchAlgorithm, Suggestion, named_specs
from aktis.tune.search.searcher import Names, Searcher, dump_searcher, load_searcher
from aktis.tune.search.variant_generator import flatten_resolved_vars, format_vars

__all__ = ["SearchGenerator", "limit_concurrency", "wrap_search_alg"]


class SearchGenerator(SearchAlgorithm):
    """Asks a searcher for ``num_samples`` configurations, each of which is merged into the constants of the run.

    Args:
        searcher: Any searcher, wrapped (in a Repeater, in a ConcurrencyLimiter) or not.
        seed: For the ids of trials; None takes the machine's randomness.
    """

    CKPT_FILE_TMPL: ClassVar[str] = "search_gen_state-{}.pkl"

    def __init__(self, searcher: Searcher, seed: int | None = None) -> None:
        if not isinstance(searcher, Searcher):
            raise TypeError(f"a searcher must be an instance of Searcher, got {searcher!r} ({type(searcher).__name__})")
        self.searcher = searcher
        self._ids = random.Random(seed)
        self._experiment = ""
        self._space: Template | None = None
        self._total: int | None = 0
        self._counter = 0
        self._ended = False

    @property
    def metric(self) -> Names:
        return self.searcher.metric

    @property
    def total_samples(self) -> int | None:
        return self._total

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        """Give the searcher what the run says.

        ValueError when the run and the searcher name different metrics or modes, when there is a grid in the space, and when
        there are variables in the space although the searcher has a space of its own.
        """
        for name, given, own in (("metric", metric, self.searcher.metric), ("mode", mode, self.searcher.mode)):
            if given and own and given != own:
                raise ValueError(
                    f"the {name} is {given!r} for the run and {own!r} for {type(self.searcher).__name__}: name it in one place"
                )
        space = Template(config)
        _refuse_grids(space)
        taken = self._hand_over(metric, mode, config, spec)
        if not taken and not space.is_constant:
            names = ", ".join(show(path) for path, _ in space.variables)
            raise ValueError(
                f"the configuration of the run has variables ({names}), but {type(self.searcher).__name__} has a search space of "
                "its own, or takes none from the run. Give the space in one place"
            )
        return taken

    def _hand_over(self, metric: Names, mode: Names, config: dict[str, Any], spec: dict[str, Any]) -> bool:
        method = self.searcher.set_search_properties
        try:
            inspect.signature(method).bind(metric, mode, config, **spec)
        except TypeError:  # a searcher that was written when there was no ``spec``
            return bool(method(metric, mode, config))
        return bool(method(metric, mode, config, **spec))

    def add_configurations(self, experiments: Any) -> None:
        specs = named_specs(experiments)
        if len(specs) != 1 or self._space is not None:
            raise ValueError(
                f"a searcher searches for one experiment, got {len(specs) + (self._space is not None)}: make a searcher for each, "
                "and run them one after the other"
            )
        self._experiment, spec = specs[0]
        space = Template(spec["config"])
        _refuse_grids(space)
        self._space = space
        self._total = None if spec["num_samples"] == -1 else spec["num_samples"]

    def make_trial_id(self) -> str:
        """Eight random hex digits."""
        return f"{self._ids.getrandbits(32):08x}"

    def is_finished(self) -> bool:
        return self._ended or (self._total is not None and self._counter >= self._total)

    def suggest(self, trial_id: str) -> Suggestion | str | None:
        if self.is_finished() or self._space is None:
            return FINISHED
        suggested = self.searcher.suggest(trial_id)
        if suggested is None:
            return None
        if isinstance(suggested, str) and suggested == FINISHED:
            self._ended = True
            return FINISHED
        if not isinstance(suggested, Mapping):
            raise TypeError(
                f"{type(self.searcher).__name__}.suggest() must return a dict, None or Searcher.FINISHED, got {suggested!r}"
            )
        config, chosen = merge_suggestion(self._space, suggested)
        self._counter += 1
        names = format_vars(chosen)
        tag = f"{self._counter}_{names}" if names else str(self._counter)
        return Suggestion(config, flatten_resolved_vars(chosen), tag, self._experiment)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.searcher.on_trial_result(trial_id, flat_result(result))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.searcher.on_trial_complete(trial_id, result=None if result is None else flat_result(result), error=error)

    def on_pause(self, trial_id: str) -> None:
        self.searcher.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self.searcher.on_unpause(trial_id)

    def get_state(self) -> dict[str, Any]:
        return {
            "counter": self._counter,
            "ended": self._ended,
            "ids": self._ids.getstate(),
            "searcher": dump_searcher(self.searcher),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self._counter = state["counter"]
        self._ended = state["ended"]
        self._ids.setstate(state["ids"])
        load_searcher(self.searcher, state["searcher"])


def _refuse_grids(space: Template) -> None:
    if space.axes:
        names = ", ".join(show(axis.path) for axis in space.axes)
        raise ValueError(
            f"grid_search ({names}) only works without a searcher: use choice() in its place, or leave search_alg out "
            "(BasicVariantGenerator goes through grids)"
        )


def wrap_search_alg(search_alg: Any, max_concurrent: int | None = None, seed: int | None = None) -> SearchAlgorithm:
    """What the trial runner asks, from what a user gave as ``search_alg``.

    Args:
        search_alg: None (grid and random search), a searcher, or a search algorithm. (Names become searchers before, by
            ``create_searcher``.)
        max_concurrent: ``max_concurrent_trials`` of the run; None or 0 is no limit.
        seed: For the ids of trials.
    """
    limited = limit_concurrency(BasicVariantGenerator() if search_alg is None else search_alg, max_concurrent)
    return limited if isinstance(limited, SearchAlgorithm) else SearchGenerator(limited, seed)


def limit_concurrency(search_alg: Any, max_concurrent: int | None) -> Any:
    """The searcher or search algorithm with at most that many trials at a time.

    ValueError when it has another limit already: one of the two would have no effect.
    """
    if not max_concurrent:
        return search_alg
    if isinstance(max_concurrent, bool) or not isinstance(max_concurrent, int) or max_concurrent < 1:
        raise ValueError(f"max_concurrent_trials must be a whole number from 1, or None, got {max_concurrent!r}")
    holder = search_alg.searcher if isinstance(search_alg, SearchGenerator) else search_alg
    if isinstance(holder, (BasicVariantGenerator, ConcurrencyLimiter)):
        if holder.max_concurrent not in (0, max_concurrent):
            raise ValueError(
                f"max_concurrent_trials is {max_concurrent}, but {type(holder).__name__} has max_concurrent="
                f"{holder.max_concurrent} already: say it in one place"
            )
        holder.max_concurrent = max_concurrent
        return search_alg
    if isinstance(search_alg, SearchGenerator):
        search_alg.searcher = ConcurrencyLimiter(search_alg.searcher, max_concurrent)
        return search_alg
    if isinstance(search_alg, Searcher):
        return ConcurrencyLimiter(search_alg, max_concurrent)
    if isinstance(search_alg, SearchAlgorithm):
        raise ValueError(
            f"max_concurrent_trials cannot be set for {type(search_alg).__name__}: limit it where you make it"
        )
    raise TypeError(
        f"search_alg must be a Searcher, a SearchAlgorithm or None, got {search_alg!r} ({type(search_alg).__name__})"
    )
