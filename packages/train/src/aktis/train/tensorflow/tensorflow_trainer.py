"""The trainer for TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.train.data_parallel_trainer import DataParallelTrainer
from aktis.train.tensorflow.config import TensorflowConfig

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import DatasetConfig, RunConfig, ScalingConfig

__all__ = ["TensorflowTrainer"]


class TensorflowTrainer(DataParallelTrainer):
    """Runs a TensorFlow training loop on several workers, which find each other by TF_CONFIG.

    ::

        def train_loop_per_worker(config):
            import tensorflow as tf

            strategy = tf.distribute.MultiWorkerMirroredStrategy()
            with strategy.scope():
                model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(1)])
                model.compile(optimizer="sgd", loss="mse")
            shard = session.get_dataset_shard("train").to_tf("features", "label", batch_size=32)
            batches = prepare_dataset_shard(shard)
            model.fit(batches, epochs=config["epochs"], shuffle=False, callbacks=[ReportCheckpointCallback()])


        TensorflowTrainer(
            train_loop_per_worker,
            train_loop_config={"epochs": 3},
            scaling_config=ScalingConfig(num_workers=2),
            datasets={"train": dataset},
        ).fit()

    Args:
        train_loop_per_worker: The training loop: a function without arguments, or with one, the configuration.
        train_loop_config: The configuration.
        tensorflow_config: How the workers find each other.
        scaling_config: How many workers, with what resources.
        dataset_config: How each data set gets to the workers.
        run_config: Name, place, failures and checkpoints of the run.
        datasets: Data sets by name, for ``session.get_dataset_shard``.
        preprocessor: Fitted on ``"train"``, and applied to the data sets.
        resume_from_checkpoint: What ``session.get_checkpoint`` gives at first.

    Raises:
        ValueError: an argument that makes no sense, with its name.
    """

    _library = (("tensorflow",), 'pip install "aktis-train[tensorflow]"')

    def __init__(
        self,
        train_loop_per_worker: Callable[[], Any] | Callable[[dict[str, Any]], Any],
        *,
        train_loop_config: dict[str, Any] | None = None,
        tensorflow_config: TensorflowConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        dataset_config: dict[str, DatasetConfig] | None = None,
        run_config: RunConfig | None = None,
        datasets: dict[str, Any] | None = None,
        preprocessor: Any = None,
        resume_from_checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=tensorflow_config or TensorflowConfig(),
            scaling_config=scaling_config,
            dataset_config=dataset_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
        )
