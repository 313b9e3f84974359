"""The older Trainer with TensorFlow: the program that its documentation began with."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import train
from aktis.train.trainer import Trainer

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(280), pytest.mark.usefixtures("own_session")]
if importlib.util.find_spec("tensorflow") is None:  # the driver needs not import it
    pytest.skip("needs tensorflow", allow_module_level=True)


def train_func() -> dict[str, Any]:
    import numpy as np
    import tensorflow as tf

    cluster = json.loads(os.environ["TF_CONFIG"])
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    x = np.linspace(0, 1, 64, dtype=np.float32).reshape(-1, 1)
    dataset = tf.data.Dataset.from_tensor_slices((x, 3 * x)).batch(16).repeat()
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)])
        model.compile(optimizer=tf.keras.optimizers.SGD(0.5), loss="mse")
    history = model.fit(dataset, epochs=2, steps_per_epoch=8, verbose=0)
    train.report(loss=history.history["loss"][-1])
    train.save_checkpoint(weights=model.get_weights())
    return {
        "replicas": strategy.num_replicas_in_sync,
        "index": cluster["task"]["index"],
        "weights": [float(value.ravel()[0]) for value in model.get_weights()],
        "losses": history.history["loss"],
    }


def test_four_workers_on_two_cpus(tmp_path: Path) -> None:
    with aktis.init(num_cpus=2):
        trainer = Trainer(backend="tensorflow", num_workers=4, logdir=tmp_path)
        trainer.start()
        results = trainer.run(train_func)
        trainer.shutdown()
    assert [result["index"] for result in results] == [0, 1, 2, 3]
    assert {result["replicas"] for result in results} == {4}
    assert len({tuple(result["weights"]) for result in results}) == 1, "all workers have the same model"
    assert results[0]["losses"][-1] < results[0]["losses"][0]
    assert trainer.latest_checkpoint is not None
    assert [float(value.ravel()[0]) for value in trainer.latest_checkpoint["weights"]] == results[0]["weights"]
