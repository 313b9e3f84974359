"""Training runs with data sets: through the public API, also when they are interrupted in the middle of an epoch."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import aktis.data
from aktis import train
from aktis.air import Checkpoint
from aktis.air.config import DatasetConfig, FailureConfig, RunConfig, ScalingConfig
from aktis.data.preprocessors import BatchMapper, StandardScaler
from aktis.train import DataParallelTrainer, TrainingFailedError
from aktis.train.data_config import DataConfig
from aktis.train.error import DatasetMissingError

pytestmark = pytest.mark.usefixtures("session")
ROWS, BATCH = 1200, 100


def dataset() -> Any:
    return aktis.data.range_table(ROWS, parallelism=12)


def loop(config: dict[str, Any]) -> None:
    """Two epochs with a checkpoint after each batch; notes what it has seen in a file per step and rank."""
    shard = train.get_dataset_shard("train")
    checkpoint = train.get_checkpoint()
    step = 0
    if checkpoint is not None:
        saved = checkpoint.to_dict()
        shard.load_state_dict(saved["data"])
        step = saved["step"]
    folder, rank = Path(config["folder"]), train.world_rank()
    for epoch in range(shard.epoch, 2):
        assert shard.epoch == epoch
        for batch in shard.iter_batches(batch_size=BATCH, batch_format="numpy"):
            step += 1
            (folder / f"{step}-{rank}.json").write_text(json.dumps([epoch, batch["value"].tolist()]))
            if step == config["kill_at"] and rank == 1 and not (folder / "killed").exists():
                (folder / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            train.report(
                {"step": step, "epoch": epoch},
                checkpoint=Checkpoint.from_dict({"data": shard.state_dict(), "step": step}),
            )
            if step == config.get("stop_at"):
                return


def seen(folder: Path) -> dict[int, Counter[int]]:
    """How often each row was seen, by epoch."""
    found: dict[int, Counter[int]] = {}
    for file in folder.glob("*-*.json"):
        epoch, rows = json.loads(file.read_text())
        found.setdefault(epoch, Counter()).update(rows)
    return found


@pytest.mark.parametrize(
    "config",
    [
        DatasetConfig(),
        DatasetConfig(global_shuffle=True, max_object_store_memory_fraction=0),
    ],
    ids=["kept", "shuffled"],
)
def test_a_worker_is_killed_in_the_middle_of_an_epoch(
    config: DatasetConfig, tmp_path: Path, run_config: RunConfig
) -> None:
    folder = tmp_path / "seen"
    folder.mkdir()
    result = DataParallelTrainer(
        loop,
        train_loop_config={"folder": str(folder), "kill_at": 8},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=dataclasses.replace(run_config, failure_config=FailureConfig(max_failures=1)),
        datasets={"train": dataset()},
        dataset_config={"train": config},
    ).fit()
    assert (folder / "killed").exists()
    assert result.metrics is not None and result.metrics["step"] == 2 * ROWS // (2 * BATCH)
    assert seen(folder) == {epoch: Counter(range(ROWS)) for epoch in range(2)}


def test_another_number_of_workers_gets_the_rest(tmp_path: Path, run_config: RunConfig) -> None:
    folder = tmp_path / "seen"
    folder.mkdir()
    checkpoint = None
    for workers, stop_at in [(2, 3), (3, None)]:
        result = DataParallelTrainer(
            loop,
            train_loop_config={"folder": str(folder), "kill_at": None, "stop_at": stop_at},
            scaling_config=ScalingConfig(num_workers=workers),
            run_config=run_config,
            datasets={"train": dataset()},
            resume_from_checkpoint=checkpoint,
        ).fit()
        checkpoint = result.checkpoint
    found = seen(folder)
    assert max(found[0].values()) == 1 and len(found[0]) >= ROWS - 2
    assert found[1] == Counter(range(ROWS))


def scaled(config: dict[str, Any]) -> None:
    shard, valid = train.get_dataset_shard("train"), train.get_dataset_shard("valid")
    total = sum(float(batch["value"].sum()) for batch in shard.iter_batches(batch_format="numpy"))
    rows = sum(len(batch["value"]) for batch in valid.iter_batches(batch_format="numpy"))
    metrics = {"rows": shard.count(), "valid": rows, "total": total}
    own = Checkpoint.from_dict({"mean": 0})
    own.set_preprocessor(BatchMapper(abs, batch_format="pandas"))
    train.report(metrics, checkpoint=own)
    train.report(metrics, checkpoint=Checkpoint.from_dict({"mean": 0}))


@pytest.mark.parametrize("config", [None, DataConfig(["train"])], ids=["by default", "DataConfig"])
def test_a_preprocessor_is_fitted_for_the_run_and_kept_with_it(config: Any, run_config: RunConfig) -> None:
    scaler = StandardScaler(["value"])
    result = DataParallelTrainer(
        scaled,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config,
        datasets={"train": dataset(), "valid": lambda: aktis.data.range_table(10)},
        dataset_config=config,
        preprocessor=scaler,
    ).fit()
    assert result.metrics is not None
    assert (result.metrics["rows"], result.metrics["valid"]) == (600, 10)
    kept = [checkpoint.get_preprocessor() for checkpoint, _ in result.best_checkpoints]
    assert [type(one) for one in kept] == [BatchMapper, StandardScaler], "one that the checkpoint has already stays"
    assert kept[1].stats_["mean(value)"] == pytest.approx((ROWS - 1) / 2)


def asking(config: dict[str, Any]) -> None:
    train.get_dataset_shard(config["name"])


def test_a_data_set_that_is_missing(run_config: RunConfig) -> None:
    trainer = DataParallelTrainer(
        asking,
        train_loop_config={"name": "nope"},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config,
        datasets={"train": dataset()},
    )
    with pytest.raises(
        TrainingFailedError, match="'nope', which the trainer was not given; given are: 'train'"
    ) as error:
        trainer.fit()
    assert isinstance(error.value.__cause__, DatasetMissingError)


def test_fewer_rows_than_workers(run_config: RunConfig) -> None:
    trainer = DataParallelTrainer(
        scaled,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config,
        datasets={"train": aktis.data.range_table(1)},
    )
    with pytest.raises(TrainingFailedError, match="the data set 'train' has 1 row"):
        trainer.fit()
