"""TensorFlow on two workers: the same model as on one, in every way to train it; and what happens when one dies."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from aktis import air, data, train
from aktis.air import session
from aktis.air.config import ScalingConfig
from aktis.train import TrainingFailedError
from aktis.train.tensorflow import TensorflowCheckpoint, TensorflowConfig, TensorflowPredictor, TensorflowTrainer

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.usefixtures("session"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(240),
]

tf = pytest.importorskip("tensorflow")
BATCH, EPOCHS = 16, 2
X = np.random.default_rng(0).random((64, 4)).astype("float32")
Y = 2 * X.sum(1) + 1


def make() -> Any:
    from tensorflow import keras

    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def alone() -> tuple[list[Any], dict[str, list[float]]]:
    """Weights and history of a training in one process."""
    model = make()
    history = model.fit(X, Y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0).history
    return model.get_weights(), history


def own_loop(strategy: Any, batches: Any) -> list[Any]:
    """The weights after a loop of one's own."""
    import tensorflow as tf

    with strategy.scope():
        model = make()
    distributed = strategy.experimental_distribute_dataset(batches)

    def step(features: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            errors = tf.square(labels - model(features, training=True)[:, 0])
            loss = tf.nn.compute_average_loss(errors, global_batch_size=BATCH)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    @tf.function
    def train_step(iterator: Any) -> Any:
        losses = strategy.run(step, args=next(iterator))
        return strategy.reduce("SUM", losses, axis=None)

    for _ in range(EPOCHS):
        iterator = iter(distributed)
        for _ in range(len(X) // BATCH):
            train_step(iterator)
    return model.get_weights()


def loop(config: dict[str, Any]) -> None:
    import tensorflow as tf

    from aktis.train.tensorflow import ReportCheckpointCallback, prepare_dataset_shard

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    assert strategy.num_replicas_in_sync == session.get_world_size() == 2
    with strategy.scope():
        model = make()
    shard = session.get_dataset_shard("train")
    batches = prepare_dataset_shard(shard.to_tf("x", "y", batch_size=BATCH))
    model.fit(batches, epochs=EPOCHS, verbose=0, callbacks=[ReportCheckpointCallback()])
    rank = session.get_world_rank()
    kept = prepare_dataset_shard(tf.data.Dataset.from_tensor_slices((X[rank::2], Y[rank::2])).batch(BATCH))
    evaluated = model.evaluate(kept, verbose=0, return_dict=True)
    predicted = model.predict(kept, verbose=0)
    with strategy.scope():
        counted = make()
    counted.fit(kept, epochs=EPOCHS, verbose=0)
    session.report(
        {
            "streamed": [weight.tolist() for weight in model.get_weights()],
            "counted": [weight.tolist() for weight in counted.get_weights()],
            "own": [weight.tolist() for weight in own_loop(strategy, kept)],
            "evaluated": evaluated,
            "rows": len(predicted),
        }
    )


def test_two_workers_learn_what_one_does(run_config: air.RunConfig) -> None:
    # Every second row is one worker's, so that two half batches are one of those that a single process has.
    order = [*range(0, 64, 2), *range(1, 64, 2)]
    dataset = data.from_items([{"x": X[row], "y": Y[row]} for row in order], parallelism=2)
    result = TensorflowTrainer(
        loop,
        tensorflow_config=TensorflowConfig(),
        scaling_config=ScalingConfig(num_workers=2),
        datasets={"train": dataset},
        dataset_config={"train": air.DatasetConfig(randomize_block_order=False)},
        run_config=run_config,
    ).fit()
    weights, history = alone()
    assert result.metrics is not None and result.metrics_dataframe is not None
    for way in ("counted", "own"):
        for found, expected in zip(result.metrics[way], weights):
            assert np.allclose(found, expected, atol=1e-5), way
    assert len(result.metrics_dataframe) == EPOCHS + 1
    losses = result.metrics_dataframe["loss"][:EPOCHS].tolist()
    assert losses[1] < losses[0]
    assert result.metrics["evaluated"].keys() == {"loss", "mae"}
    assert result.metrics["rows"] == len(X)
    # The model of the last epoch is the checkpoint: saved once, by rank 0.
    (checkpoint, at), *_ = reversed(result.best_checkpoints)
    assert [name for name in os.listdir(checkpoint.path) if not name.startswith(".")] == ["model.keras"]
    saved = TensorflowCheckpoint.from_checkpoint(checkpoint).get_model().get_weights()
    assert all(np.allclose(a, b) for a, b in zip(saved, result.metrics["streamed"]))
    predictor = TensorflowPredictor.from_checkpoint(checkpoint)
    assert predictor.predict({"x": X})["predictions"].shape == (64, 1)  # type: ignore[call-overload]
    assert np.allclose(losses, history["loss"], rtol=0.2)


def dying(config: dict[str, Any]) -> None:
    import tensorflow as tf

    from aktis.train.tensorflow import prepare_dataset_shard

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = make()
    batches = prepare_dataset_shard(tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH))
    model.fit(batches, epochs=1, verbose=0)
    session.report({"epoch": 0})
    if train.world_rank() == 1:
        os._exit(7)
    model.fit(batches, epochs=1000, verbose=0)  # waits for the other


def test_a_dead_worker_hangs_nobody(run_config: air.RunConfig) -> None:
    trainer = TensorflowTrainer(dying, scaling_config=ScalingConfig(num_workers=2), run_config=run_config)
    with pytest.raises(TrainingFailedError, match=r"1 of 2 workers died\. rank 1 .* exited with code 7"):
        trainer.fit()
