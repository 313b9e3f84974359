"""Train on data that is streamed and augmented anew in each epoch, and go on after a crash in the middle of one.

Two workers train a logistic regression in numpy (each its own; with torch, DDP would make it one). One worker is
killed in the middle of the second epoch. The run starts again from its last checkpoint, which says what is left of the epoch:
every ride is used exactly once per epoch all the same.

Run: python examples/train_streaming_data.py
Needs: pip install aktis-train
Prints: where the run goes on after the crash, the accuracy, and that every ride was used.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import aktis
import aktis.data
from aktis import train
from aktis.air.config import DatasetConfig, FailureConfig, RunConfig, ScalingConfig
from aktis.data.preprocessors import BatchMapper, Chain, Concatenator, StandardScaler
from aktis.train import Checkpoint, DataParallelTrainer

ROWS, FILES, EPOCHS, BATCH = 40_000, 8, 3, 500


def make_files(folder: Path) -> None:
    """Taxi rides; long and slow ones get a good tip."""
    rng = np.random.default_rng(0)
    for i in range(FILES):
        rows = ROWS // FILES
        distance, minutes = rng.gamma(2.0, 2.0, rows), rng.gamma(3.0, 5.0, rows)
        good = (rng.random(rows) < 1 / (1 + np.exp(4 - distance / 2 - minutes / 8))).astype("int64")
        pd.DataFrame({"distance": distance, "minutes": minutes, "good_tip": good}).to_parquet(folder / f"{i}.parquet")


def with_noise(batch: dict[str, Any]) -> dict[str, Any]:
    """Augmentation: other numbers in each epoch."""
    noise = np.random.default_rng().normal(0, 0.05, batch["x"].shape)
    return {**batch, "x": batch["x"] + noise}


def loop(config: dict[str, Any]) -> None:
    shard = train.get_dataset_shard("train")
    weights, used, step = np.zeros(3), 0, 0
    checkpoint = train.get_checkpoint()
    if checkpoint is not None:
        saved = checkpoint.to_dict()
        weights, used, step = saved["weights"], saved["used"], saved["step"]
        shard.load_state_dict(saved["data"])
        if train.world_rank() == 0:
            print(f"going on in epoch {shard.epoch}, after {used:,} rides of each worker")
    for epoch in range(shard.epoch, EPOCHS):
        right = seen = 0
        for batch in shard.iter_batches(batch_size=BATCH, batch_format="numpy"):
            x = np.column_stack([np.ones(len(batch["x"])), batch["x"]])
            guess = 1 / (1 + np.exp(-x @ weights))
            weights = weights - 0.5 * x.T @ (guess - batch["good_tip"]) / len(x)
            right += int(((guess > 0.5) == batch["good_tip"]).sum())
            seen += len(x)
            used, step = used + len(x), step + 1
            crash = Path(config["folder"], "crashed")
            if step == 55 and train.world_rank() == 1 and not crash.exists():
                crash.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if step % 10 == 0:
                state = {"weights": weights, "used": used, "step": step, "data": shard.state_dict()}
                metrics = {"epoch": epoch, "accuracy": right / seen, "used": used}
                train.report(metrics, checkpoint=Checkpoint.from_dict(state))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        aktis.init(num_cpus=2)
        result = DataParallelTrainer(
            loop,
            train_loop_config={"folder": folder},
            datasets={"train": aktis.data.read_parquet(f"{folder}/*.parquet")},
            dataset_config={
                "train": DatasetConfig(
                    max_object_store_memory_fraction=0.1,
                    global_shuffle=True,
                    per_epoch_preprocessor=BatchMapper(with_noise, batch_format="numpy"),
                )
            },
            preprocessor=Chain(
                StandardScaler(["distance", "minutes"]),
                Concatenator(output_column_name="x", exclude=["good_tip"]),
            ),
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(local_dir=folder, verbose=0, failure_config=FailureConfig(max_failures=1)),
        ).fit()
        aktis.shutdown()
    metrics = result.metrics or {}
    print(f"accuracy {metrics['accuracy']:.1%}; {metrics['used']:,} rides of each of 2 workers in {EPOCHS} epochs")
    assert metrics["used"] == EPOCHS * ROWS // 2 and metrics["accuracy"] > 0.7


if __name__ == "__main__":
    main()
