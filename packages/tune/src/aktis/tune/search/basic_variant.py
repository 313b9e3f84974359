"""Grid and random search: the variants of a search space, one after the other."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.tune.search._points import apply_point, point_leaves
from aktis.tune.search._random import as_rng
from aktis.tune.search._template import Path, Template, at, copied
from aktis.tune.search._view import SpecView
from aktis.tune.search.search_algorithm import FINISHED, SearchAlgorithm, Suggestion, named_specs
from aktis.tune.search.variant_generator import draw_constants, flatten_resolved_vars, format_vars, make_variant

if TYPE_CHECKING:
    from aktis.tune.search._random import RandomState, Rng

__all__ = ["BasicVariantGenerator"]

logger = logging.getLogger(__name__)


class BasicVariantGenerator(SearchAlgorithm):
    """Tries every cell of the grids, ``num_samples`` times, and draws what is random anew each time.

    Nothing is made before it is asked for, however large the grids are.

    Args:
        points_to_evaluate: Configurations to begin with, nested or with paths (``"a/b"``) as keys. Each takes the place of
            one of ``num_samples``. What it leaves open is drawn; a grid that it leaves open is gone through.
        max_concurrent: At most that many trials at a time; 0 is no limit.
        constant_grid_search: Draw random variables once for all cells of the grids, so that only the grids differ.
        random_state: A seed, or a generator of random numbers (numpy's or Python's). None is numpy's global one.
            ``sample_from`` functions make their own random numbers and are not touched by it.
    """

    CKPT_FILE_TMPL: ClassVar[str] = "basic-variant-state-{}.pkl"

    def __init__(
        self,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: RandomState = None,
    ) -> None:
        if isinstance(max_concurrent, bool) or not isinstance(max_concurrent, int) or max_concurrent < 0:
            raise ValueError(f"max_concurrent must be a whole number from 0 (no limit), got {max_concurrent!r}")
        if isinstance(points_to_evaluate, (Mapping, str)):
            raise TypeError(f"points_to_evaluate must be a list of dicts, got {points_to_evaluate!r}")
        self._points = list(points_to_evaluate or ())
        self.max_concurrent = max_concurrent
        self._constant = constant_grid_search
        self._source = random_state
        self._rng = as_rng(random_state)
        self._prefix = os.urandom(3).hex()[:5]
        self._experiments: list[_Experiment] = []
        self._live: set[str] = set()
        self._counter = 0
        # The next variant: its experiment, sample and cell of the grids; and what was drawn for all cells of the sample.
        self._at = [0, 0, 0]
        self._known: dict[Path, Any] | None = None

    @property
    def total_samples(self) -> int | None:
        totals = [experiment.total for experiment in self._experiments]
        return None if None in totals else sum(total for total in totals if total is not None)

    def add_configurations(self, experiments: Any) -> None:
        self._experiments += [_Experiment(name, spec, self._points) for name, spec in named_specs(experiments)]

    def make_trial_id(self) -> str:
        """``"<five hex digits>_<number of the trial>"``; the same until there was a suggestion."""
        return f"{self._prefix}_{self._counter:05d}"

    def is_finished(self) -> bool:
        return self._current() is None

    def suggest(self, trial_id: str) -> Suggestion | str | None:
        experiment = self._current()
        if experiment is None:
            return FINISHED
        if self.max_concurrent and len(self._live) >= self.max_concurrent:
            return None
        _, sample, cell = self._at
        template, fixed = experiment.sample(sample)
        if self._constant and self._known is None:
            self._known = draw_constants(template, self._rng, experiment.view)
        resolved, spec = make_variant(template, cell, self._rng, known=self._known, view=experiment.view)
        config = spec["config"]
        resolved.update((path, copied(at(spec, path))) for path in fixed)
        names = format_vars(resolved)
        tag = f"{self._counter}_{names}" if names else str(self._counter)
        self._counter += 1
        self._live.add(trial_id)
        self._advance(template)
        return Suggestion(config, flatten_resolved_vars(resolved), tag, experiment.name)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._live.discard(trial_id)

    def _current(self) -> _Experiment | None:
        """The experiment of the next variant; None when there is none."""
        while self._at[0] < len(self._experiments):
            experiment = self._experiments[self._at[0]]
            if experiment.has_sample(self._at[1]):
                return experiment
            self._at = [self._at[0] + 1, 0, 0]
        return None

    def _advance(self, template: Template) -> None:
        self._at[2] += 1
        if self._at[2] == template.count:
            self._at[1:] = [self._at[1] + 1, 0]
            self._known = None

    # -- what survives a crash ------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        return {
            "prefix": self._prefix,
            "counter": self._counter,
            "at": list(self._at),
            "known": self._known,
            "live": sorted(self._live),
            "rng": _rng_state(self._source, self._rng),
            "grids": [experiment.template.count for experiment in self._experiments],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        grids = [experiment.template.count for experiment in self._experiments]
        if state["grids"] != grids:
            raise ValueError(
                f"the search space is not the one of the run that is to be resumed: its grids have {grids} cells (one number for "
                f"each experiment), they had {state['grids']}. Give the same param_space, or begin a new run"
            )
        self._prefix = state["prefix"]
        self._counter = state["counter"]
        self._at = list(state["at"])
        self._known = state["known"]
        self._live = set(state["live"])
        _set_rng_state(self._source, self._rng, state["rng"])


class _Experiment:
    """One space, how often it is sampled, and the points to begin with."""

    def __init__(self, name: str, spec: dict[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
        self.name = name
        self._others = {key: value for key, value in spec.items() if key != "config"}
        self._endless: bool = spec["num_samples"] == -1
        self._samples: int = max(spec["num_samples"], len(points))
        self.template = Template({"config": spec["config"]})
        self._presets: list[tuple[Template, list[Path]]] = []
        for point in points:
            fixed = apply_point(spec["config"], point, logger.warning)
            paths = [("config", *path) for path, _ in point_leaves(spec["config"], point)]
            self._presets.append((Template({"config": fixed}), paths))

    @property
    def total(self) -> int | None:
        """How many variants there are; None when there is no end."""
        if self._endless:
            return None
        fixed = sum(preset.count for preset, _ in self._presets)
        return fixed + self.template.count * (self._samples - len(self._presets))

    def has_sample(self, sample: int) -> bool:
        return self._endless or sample < self._samples

    def sample(self, sample: int) -> tuple[Template, list[Path]]:
        """The space of that sample, and which of its variables a point fixed."""
        return self._presets[sample] if sample < len(self._presets) else (self.template, [])

    def view(self, root: dict[str, Any]) -> SpecView:
        """What functions of the space see: the configuration, and what else the experiment says."""
        return SpecView({**self._others, **root})


def _rng_state(source: RandomState, rng: Rng) -> Any:
    """Where a generator of random numbers is; None for the global one, which belongs to the user."""
    if isinstance(source, random.Random):
        return source.getstate()
    if hasattr(rng, "bit_generator"):
        return rng.bit_generator.state
    if source is not None and hasattr(source, "get_state"):  # numpy's RandomState
        return source.get_state()
    return None


def _set_rng_state(source: RandomState, rng: Rng, state: Any) -> None:
    if state is None:
        return
    if isinstance(source, random.Random):
        source.setstate(state)
    elif hasattr(rng, "bit_generator"):
        rng.bit_generator.state = state
    elif source is not None and hasattr(source, "set_state"):
        source.set_state(state)
