"""LightGBM: report metrics, and the model every so often, from ``lightgbm.train`` and ``lightgbm.cv``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from aktis.air.integrations.reporting import Metrics, check_metrics, pick, report

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]


class TuneCallback:
    """The base of what is here. LightGBM calls it after each round."""

    order = 20  # after the evaluations are recorded (20 is what record_evaluation has), before early stopping (30)
    before_iteration = False


class TuneReportCallback(TuneCallback):
    """Reports the evaluations of each round, as ``<data>-<metric>``.

    In ``lightgbm.cv`` each is ``<data>-<metric>-mean`` and ``<data>-<metric>-stdv``.

    Args:
        metrics: What to report: names, or new names with those of LightGBM. Default: everything.
        results_postprocessing_fn: What changes the evaluations before they are picked and reported.
    """

    def __init__(
        self,
        metrics: Metrics = None,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self._names = check_metrics(metrics)
        self._postprocess = results_postprocessing_fn

    def __call__(self, env: Any) -> None:
        if not env.evaluation_result_list:
            return
        report(self._metrics(env.evaluation_result_list), self._save(env.model, env.iteration))

    def _metrics(self, evaluations: list[tuple[Any, ...]]) -> dict[str, Any]:
        latest: dict[str, Any] = {}
        for data, metric, value, _, *deviation in evaluations:
            if deviation:  # of the folds; older versions put both names into the second place
                name = metric.replace(" ", "-", 1) if data == "cv_agg" else f"{data}-{metric}"
                latest[f"{name}-mean"], latest[f"{name}-stdv"] = value, deviation[0]
            else:
                latest[f"{data}-{metric}"] = value
        if self._postprocess is not None:
            latest = self._postprocess(latest)
        return pick(self._names, latest, "LightGBM")

    def _save(self, model: Any, iteration: int) -> Callable[[str], None] | None:
        return None


class TuneReportCheckpointCallback(TuneReportCallback):
    """Reports the evaluations of each round, with the model as a checkpoint every so often.

    Args:
        metrics: See :class:`TuneReportCallback`.
        filename: The name of the model in the checkpoint.
        frequency: A checkpoint after each so many rounds. In ``lightgbm.cv`` there are none, since there is no single model.
        results_postprocessing_fn: See :class:`TuneReportCallback`.

    Raises:
        ValueError: ``frequency`` is below 1.
    """

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = "checkpoint",
        frequency: int = 5,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(metrics, results_postprocessing_fn)
        if frequency < 1:
            raise ValueError(f"frequency must be at least 1 (a checkpoint after each round), got {frequency!r}")
        self._filename = filename
        self._frequency = frequency

    def _save(self, model: Any, iteration: int) -> Callable[[str], None] | None:
        if (iteration + 1) % self._frequency or hasattr(model, "boosters"):
            return None
        return lambda folder: model.save_model(os.path.join(folder, self._filename))
