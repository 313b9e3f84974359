"""How a Tuner searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers import TrialScheduler
    from aktis.tune.search import SearchAlgorithm, Searcher

__all__ = ["TuneConfig"]


@dataclass(frozen=True, repr=False)
class TuneConfig:
    """How a Tuner searches.

    Args:
        metric: Name of the metric that is optimised; ``"a/b"`` for nested ones; a list for several objectives.
        mode: "min" or "max"; a list beside a list of metrics.
        search_alg: What suggests configurations: a searcher, or its name ("optuna", "hyperopt", ...). None: grid and random search.
        scheduler: What stops or pauses trials early: a scheduler, or its name ("asha", "pbt", ...). None: all run to their end.
        num_samples: How many configurations are sampled (with grids: how often the grid is gone through). -1: without end.
        max_concurrent_trials: How many trials run at once at most. None: as many as the resources allow.
        time_budget_s: Seconds (or a timedelta) after which the run ends.
        reuse_actors: Whether a trial that ends leaves its process to the next one. None: yes for functions that need no GPU.
        trial_name_creator: Function of a trial that returns its name.
        trial_dirname_creator: Function of a trial that returns the name of its directory.
        chdir_to_trial_dir: Whether a trial runs with its directory as the working directory.
    """

    metric: str | list[str] | None = None
    mode: str | list[str] | None = None
    search_alg: Searcher | SearchAlgorithm | str | None = None
    scheduler: TrialScheduler | str | None = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: int | float | timedelta | None = None
    reuse_actors: bool | None = None
    trial_name_creator: Callable[[Trial], str] | None = None
    trial_dirname_creator: Callable[[Trial], str] | None = None
    chdir_to_trial_dir: bool = True

    def __post_init__(self) -> None:
        check_mode(self.mode)
        most = self.max_concurrent_trials
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
            raise ValueError(
                f"max_concurrent_trials must be an int of at least 1, or None (0) for no limit, not {most!r}"
            )

    def __repr__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"TuneConfig({', '.join(given)})"


def check_mode(mode: Any) -> None:
    """Raise ValueError unless every mode is "min" or "max"."""
    for item in mode if isinstance(mode, (list, tuple)) else [mode]:
        if item not in ("min", "max", None):
            raise ValueError(f'mode must be "min" or "max", not {item!r}')
