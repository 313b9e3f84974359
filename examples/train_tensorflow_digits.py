"""Handwritten digits on two workers with TensorFlow: model.fit with a strategy, a checkpoint after each epoch, and predictions.

Run: python examples/train_tensorflow_digits.py
Needs: pip install "aktis-train[tensorflow]" scikit-learn
Prints: loss and accuracy by epoch, and the share of new digits that is read right.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import aktis.data
from aktis.air import session
from aktis.air.config import CheckpointConfig, RunConfig, ScalingConfig
from aktis.train.tensorflow import TensorflowPredictor, TensorflowTrainer

EPOCHS, PER_WORKER = 8, 32


def train_loop(config: dict[str, Any]) -> None:
    import tensorflow as tf

    from aktis.train.tensorflow import ReportCheckpointCallback, prepare_dataset_shard

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = tf.keras.Sequential(
            [
                tf.keras.layers.Input((64,)),
                tf.keras.layers.Dense(64, activation="relu"),
                tf.keras.layers.Dense(10),
            ]
        )
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(tf.keras.optimizers.Adam(config["lr"]), loss, metrics=["accuracy"])
    # What TensorFlow calls a batch is that of all workers.
    batch_size = PER_WORKER * session.get_world_size()
    shard = session.get_dataset_shard("train")
    batches = prepare_dataset_shard(shard.to_tf("pixels", "digit", batch_size=batch_size, drop_last=True))
    model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[ReportCheckpointCallback()])


def main() -> None:
    pixels, digits = load_digits(return_X_y=True)
    pixels = (pixels / 16).astype("float32")
    rows = [{"pixels": image, "digit": digit} for image, digit in zip(pixels[:1500], digits[:1500])]

    with aktis.init(num_cpus=2), tempfile.TemporaryDirectory() as folder:
        trainer = TensorflowTrainer(
            train_loop,
            train_loop_config={"lr": 0.005},
            scaling_config=ScalingConfig(num_workers=2),
            datasets={"train": aktis.data.from_items(rows)},
            run_config=RunConfig(
                name="digits",
                local_dir=folder,
                verbose=0,
                checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="accuracy"),
            ),
        )
        result = trainer.fit()
        for epoch, row in result.metrics_dataframe.iterrows():
            print(f"epoch {epoch}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.3f}")

        predictor = TensorflowPredictor.from_checkpoint(result.checkpoint)
        logits = predictor.predict({"pixels": pixels[1500:]})["predictions"]
    right = float(np.mean(logits.argmax(axis=1) == digits[1500:]))
    print(f"{right:.1%} of {len(logits)} digits that it has not seen are read as what they are")
    assert right > 0.85


if __name__ == "__main__":
    main()
