"""The trainer of the example: what a backend and a subclass of DataParallelTrainer are enough for."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from aktis.air import FailureConfig, RunConfig, ScalingConfig, session

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("session")]  # jax is in the same environment
pytest.importorskip("jax")
pytest.importorskip("sklearn")

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "train_jax_trainer.py"


@pytest.fixture(scope="module")
def example() -> Iterator[ModuleType]:
    """The example as a module that is pickled by value: workers cannot import it."""
    import cloudpickle

    spec = importlib.util.spec_from_file_location("train_jax_trainer", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)
    yield module
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules[spec.name]


def curve_by_hand(config: dict[str, Any]) -> list[float]:
    """The losses of the same training in one process, in numpy."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    w, b = np.zeros((64, 10), np.float32), np.zeros(10, np.float32)
    losses, batch = [], config["batch_size"]
    for epoch in range(config["epochs"]):
        order = np.random.default_rng(epoch).permutation(len(images))
        for begin in range(0, len(images) - batch + 1, batch):
            x, y = images[order[begin : begin + batch]], labels[order[begin : begin + batch]]
            scores = x @ w + b
            likely = np.exp(scores - scores.max(axis=1, keepdims=True))
            likely /= likely.sum(axis=1, keepdims=True)
            loss = -np.log(likely[np.arange(batch), y]).mean()
            slope = (likely - np.eye(10)[y]) / batch
            w, b = w - config["lr"] * x.T @ slope, b - config["lr"] * slope.sum(axis=0)
        losses.append(float(loss))
    return losses


@pytest.mark.timeout(180)
def test_two_processes_train_as_one(example: ModuleType, tmp_path: Path) -> None:
    config = {"lr": 0.5, "batch_size": 128, "epochs": 2}
    trainer = example.JaxTrainer(
        example.train_loop,
        train_loop_config=config,
        jax_config=example.JaxConfig(platforms="cpu"),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(local_dir=str(tmp_path), verbose=0),
    )
    result = trainer.fit()
    assert result.metrics["devices"] == 2
    assert list(result.metrics_dataframe["loss"]) == pytest.approx(curve_by_hand(config), rel=1e-4)
    assert result.checkpoint.to_dict()["epoch"] == 1


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_processes_that_lost_one_find_each_other_again(example: ModuleType, tmp_path: Path) -> None:
    died = tmp_path / "died"

    def loop(config: dict[str, Any]) -> None:
        if died.exists():
            example.train_loop({**config, "epochs": 3})
            return
        example.train_loop({**config, "epochs": 1})
        if session.get_world_rank() == 1:
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()

    trainer = example.JaxTrainer(
        loop,
        train_loop_config={"lr": 0.5, "batch_size": 128},
        jax_config=example.JaxConfig(platforms="cpu"),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(local_dir=str(tmp_path), verbose=0, failure_config=FailureConfig(max_failures=1)),
    )
    result = trainer.fit()
    assert died.exists()
    assert result.metrics["devices"] == 2
    assert list(result.metrics_dataframe["loss"]) == pytest.approx(
        curve_by_hand({"lr": 0.5, "batch_size": 128, "epochs": 3}), rel=1e-4
    )
