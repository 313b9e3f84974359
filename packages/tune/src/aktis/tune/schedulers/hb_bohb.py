"""HyperBand as BOHB needs it.

Stefan Falkner, Aaron Klein, Frank Hutter: "BOHB: Robust and Efficient Hyperparameter Optimization at Scale", ICML 2018.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aktis.tune.schedulers.hyperband import HyperBandScheduler, _Bracket

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["HyperBandForBOHB"]


class HyperBandForBOHB(HyperBandScheduler):
    """HyperBand for the search algorithm ``TuneBOHB``, which models the scores at each budget.

    It is HyperBand (Falkner et al., section 4, keep its brackets as they are) with two changes:

    - A result at a milestone says so: it gets ``result["hyperband_info"] = {"budget": milestone}`` ({} for other results), from
      which the search algorithm learns with which budget a configuration got its score.
    - Brackets are worked off in the order in which they were opened, not in step: so the largest budgets, on which the model
      is built as soon as there are enough, are reached early.

    The arguments are those of :class:`HyperBandScheduler`.
    """

    def on_trial_result(self, controller: TrialController, trial: Trial, result: dict[str, Any]) -> str:
        info: dict[str, float] = {}
        result["hyperband_info"] = info
        bracket, time = self._bracket_of.get(trial.trial_id), self._time(result)
        if bracket is not None and time is not None and time >= bracket.milestone:
            info["budget"] = bracket.milestone
        return super().on_trial_result(controller, trial, result)

    def _in_order(self) -> Iterable[_Bracket]:
        for band in self._bands.values():
            yield from band.values()

    def debug_string(self) -> str:
        return super().debug_string().replace("Using HyperBand:", "Using HyperBand for BOHB:", 1)
