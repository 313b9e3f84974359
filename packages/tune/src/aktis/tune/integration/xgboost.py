"""XGBoost: report metrics, and the model every so often, from ``xgboost.train`` and ``xgboost.cv``."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from aktis.air.integrations.reporting import Metrics, check_metrics, pick, report

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]


def _callback_class() -> Any:
    try:
        return importlib.import_module("xgboost.callback").TrainingCallback
    except ImportError as error:
        raise ImportError("This needs XGBoost 1.3 or newer: pip install xgboost") from error


class TuneCallback(_callback_class()):  # type: ignore[misc]
    """The base of what is here."""


class TuneReportCallback(TuneCallback):
    """Reports the evaluations of each round, as ``<data>-<metric>``.

    In ``xgboost.cv`` each is ``<data>-<metric>-mean`` and ``<data>-<metric>-std``.

    Args:
        metrics: What to report: names, or new names with those of XGBoost. Default: everything.
        results_postprocessing_fn: What changes the evaluations before they are picked and reported.
    """

    def __init__(
        self,
        metrics: Metrics = None,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self._names = check_metrics(metrics)
        self._postprocess = results_postprocessing_fn

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]) -> bool:
        report(self._metrics(evals_log), self._save(model, epoch))
        return False  # the training goes on

    def _metrics(self, evals_log: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        latest: dict[str, Any] = {}
        for data, metrics in evals_log.items():
            for metric, values in metrics.items():
                value = values[-1]
                if isinstance(value, tuple):  # of the folds
                    latest[f"{data}-{metric}-mean"], latest[f"{data}-{metric}-std"] = value
                else:
                    latest[f"{data}-{metric}"] = value
        if self._postprocess is not None:
            latest = self._postprocess(latest)
        return pick(self._names, latest, "XGBoost")

    def _save(self, model: Any, epoch: int) -> Callable[[str], None] | None:
        return None


class TuneReportCheckpointCallback(TuneReportCallback):
    """Reports the evaluations of each round, with the model as a checkpoint every so often.

    Args:
        metrics: See :class:`TuneReportCallback`.
        filename: The name of the model in the checkpoint.
        frequency: A checkpoint after each so many rounds. In ``xgboost.cv`` there are none, since there is no single model.
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

    def _save(self, model: Any, epoch: int) -> Callable[[str], None] | None:
        if (epoch + 1) % self._frequency or not hasattr(model, "save_raw"):
            return None

        def save(folder: str) -> None:
            # Not save_model: it takes the format from the name, and warns of names that say none.
            content = model.save_raw(raw_format="json" if self._filename.endswith(".json") else "ubj")
            with open(os.path.join(folder, self._filename), "wb") as file:
                file.write(content)

        return save
