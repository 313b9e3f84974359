"""A callback for ``xgboost.train`` that reports each round."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.integrations.reporting import Metrics, check_metrics
from aktis.train._gbdt.libraries import import_library
from aktis.train._gbdt.model_files import find_model
from aktis.train._gbdt.rounds import RoundReporter
from aktis.train.xgboost.xgboost_checkpoint import XGBoostCheckpoint

if TYPE_CHECKING:
    import xgboost
    from xgboost.callback import TrainingCallback

    from aktis.air.checkpoint import Checkpoint
else:
    TrainingCallback = import_library("xgboost").callback.TrainingCallback  # this module is loaded when it is used

__all__ = ["RayTrainReportCallback"]


class RayTrainReportCallback(TrainingCallback):  # type: ignore[misc]
    """Reports the evaluations of each round, as ``<data>-<metric>``, and the model as a checkpoint every so often.

    For training loops that call ``xgboost.train`` themselves::

        xgboost.train(params, dtrain, evals=[(dvalid, "valid")], callbacks=[RayTrainReportCallback(frequency=10)])

    A round is reported when the next one starts, the last one when the training is over.

    Args:
        metrics: What to report: a name, names, or new names with those of XGBoost. None: everything.
        filename: The name of the model's file in the checkpoint; its ending says the format, ``.ubj`` or ``.json``.
        frequency: A checkpoint every so many rounds; 0: none but the last.
        checkpoint_at_end: Whether there is a checkpoint with the last round.
        results_postprocessing_fn: Gets the latest evaluations by name, and returns what to report.

    Raises:
        ValueError: ``frequency`` is below 0.
        TypeError: ``metrics`` are no names.
    """

    CHECKPOINT_NAME = XGBoostCheckpoint.MODEL_FILENAME

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self._filename = filename
        self._reporter = RoundReporter(
            self._checkpoint,
            frequency=frequency,
            at_end=checkpoint_at_end,
            names=check_metrics(metrics),
            postprocess=results_postprocessing_fn,
            source="XGBoost",
        )

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> xgboost.Booster:
        """The model of a checkpoint that this callback made.

        Raises:
            CheckpointTypeError: there is none.
        """
        with checkpoint.as_directory() as directory:
            booster = import_library("xgboost").Booster()
            booster.load_model(find_model(directory, (filename,), "an XGBoost model"))
        return booster

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Report the round before, if there was one."""
        self._reporter.release(model)
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Note how the round went."""
        self._reporter.hold(model.num_boosted_rounds(), latest_metrics(evals_log))
        return False

    def after_training(self, model: Any) -> Any:
        """Report the last round."""
        self._reporter.finish(model)
        return model

    def _checkpoint(self, model: Any, folder: str) -> XGBoostCheckpoint:
        if self._filename == XGBoostCheckpoint.MODEL_FILENAME:
            return XGBoostCheckpoint.from_model(model, path=folder)
        content = model.save_raw(raw_format="json" if self._filename.endswith(".json") else "ubj")
        with open(os.path.join(folder, self._filename), "wb") as file:
            file.write(content)
        return XGBoostCheckpoint.from_directory(folder)


def latest_metrics(evals_log: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The last evaluations, as ``<data>-<metric>``."""
    return {f"{data}-{metric}": values[-1] for data, metrics in evals_log.items() for metric, values in metrics.items()}
