"""A callback for ``lightgbm.train`` that reports each round."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.air.integrations.reporting import Metrics, check_metrics
from aktis.train._gbdt.libraries import import_library
from aktis.train._gbdt.model_files import find_model
from aktis.train._gbdt.rounds import RoundReporter
from aktis.train.lightgbm.lightgbm_checkpoint import LightGBMCheckpoint

if TYPE_CHECKING:
    import lightgbm

    from aktis.air.checkpoint import Checkpoint

__all__ = ["RayTrainReportCallback"]


class RayTrainReportCallback:
    """Reports the evaluations of each round, as ``<data>-<metric>``, and the model as a checkpoint every so often.

    For training loops that call ``lightgbm.train`` themselves::

        lightgbm.train({**params, **get_network_params()}, data, valid_sets=[...], callbacks=[RayTrainReportCallback()])

    LightGBM does not tell callbacks that early stopping has ended the training: the last checkpoint is then that of
    ``frequency``.

    Args:
        metrics: What to report: a name, names, or new names with those of LightGBM. None: everything.
        filename: The name of the model's file in the checkpoint.
        frequency: A checkpoint every so many rounds; 0: none but the last.
        checkpoint_at_end: Whether there is a checkpoint with the last round.
        results_postprocessing_fn: Gets the latest evaluations by name, and returns what to report.

    Raises:
        ValueError: ``frequency`` is below 0.
        TypeError: ``metrics`` are no names.
    """

    CHECKPOINT_NAME = LightGBMCheckpoint.MODEL_FILENAME

    order = 20  # after the evaluations are recorded (20 is what record_evaluation has), before early stopping (30)
    before_iteration = False

    def __init__(
        self,
        metrics: Metrics = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self._filename = filename
        self._reporter = RoundReporter(
            self._checkpoint,
            frequency=frequency,
            at_end=checkpoint_at_end,
            names=check_metrics(metrics),
            postprocess=results_postprocessing_fn,
            source="LightGBM",
        )

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> lightgbm.Booster:
        """The model of a checkpoint that this callback made.

        Raises:
            CheckpointTypeError: there is none.
        """
        with checkpoint.as_directory() as directory:
            path = find_model(directory, (filename,), "a LightGBM model")
            booster: lightgbm.Booster = import_library("lightgbm").Booster(model_file=path)
        return booster

    def __call__(self, env: Any) -> None:
        """Report a round."""
        self._reporter.hold(env.iteration + 1, latest_metrics(env.evaluation_result_list))
        if env.iteration + 1 < env.end_iteration:
            self._reporter.release(env.model)
        else:
            self._reporter.finish(env.model)

    def _checkpoint(self, model: Any, folder: str) -> LightGBMCheckpoint:
        if self._filename == LightGBMCheckpoint.MODEL_FILENAME:
            return LightGBMCheckpoint.from_model(model, path=folder)
        model.save_model(os.path.join(folder, self._filename))
        return LightGBMCheckpoint.from_directory(folder)


def latest_metrics(evaluations: Any) -> dict[str, Any]:
    """The last evaluations, as ``<data>-<metric>``."""
    return {f"{data}-{metric}": value for data, metric, value, *_ in evaluations or ()}
