"""Lets a progress reporter report: when it wants to, and at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.callbacks import Callback

if TYPE_CHECKING:
    from aktis.air.callbacks import TrialInfo
    from aktis.tune._execution.front import Options
    from aktis.tune._execution.loop import TrialRunner
    from aktis.tune.progress_reporter import ProgressReporter


class ReporterCallback(Callback):
    """Between the run and a reporter."""

    def __init__(self, reporter: ProgressReporter, options: Options) -> None:
        self._reporter = reporter
        self._options = options
        self._runner: TrialRunner | None = None

    def setup(
        self, stop: Any = None, num_samples: int | None = None, total_num_samples: int | None = None, **info: Any
    ) -> None:
        self._runner = info.get("runner")
        self._reporter.setup(
            start_time=time.time(),
            total_samples=total_num_samples,
            metric=self._options.metric,
            mode=self._options.mode,
            verbose=self._options.verbose,
        )

    def on_step_end(self, iteration: int, trials: Sequence[TrialInfo], **info: Any) -> None:
        if self._reporter.should_report(trials, False):
            self._reporter.report(trials, False, *self._words())

    def on_experiment_end(self, trials: Sequence[TrialInfo], **info: Any) -> None:
        if self._reporter.should_report(trials, True):
            self._reporter.report(trials, True, *self._words())

    def _words(self) -> list[str]:
        """What is in use, and what the scheduler has to say."""
        if self._runner is None:
            return []
        brain = self._runner.brain
        total, held = brain.account.amounts(), brain.account.held()
        used = [
            f"{held.get(name, 0.0):.4g}/{amount:.4g} {name}s"
            for name, amount in total.items()
            if name in ("CPU", "GPU") and (amount or held.get(name))
        ]
        return [f"Resources requested: {', '.join(used)}", brain.scheduler.debug_string()]
