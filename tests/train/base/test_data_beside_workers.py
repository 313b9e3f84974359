"""Data sets that are executed in a run whose placement group is full of its workers."""

from __future__ import annotations

from typing import Any

import pytest

from aktis import air, data, train

pytestmark = pytest.mark.usefixtures("session")


def reading(config: dict[str, Any]) -> None:
    shard = train.get_dataset_shard("train")
    train.report({"rows": sum(len(batch["value"]) for batch in shard.iter_batches(batch_format="numpy"))})


def test_tasks_of_data_sets_do_not_wait_for_the_room_of_the_workers(run_config: air.RunConfig) -> None:
    context = data.DataContext.get_current()
    before, context.local_seconds = context.local_seconds, 0.0  # all of it in tasks
    try:
        trainer = train.DataParallelTrainer(
            reading,
            scaling_config=air.ScalingConfig(num_workers=2),
            run_config=run_config,
            datasets={"train": data.range_table(1000, parallelism=4)},
        )
        result = trainer.fit()
    finally:
        context.local_seconds = before
    assert result.metrics is not None and result.metrics["rows"] == 500
