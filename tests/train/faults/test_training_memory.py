"""Too little memory, and too small a store: each test has a session of its own."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import aktis
from aktis import exceptions, train
from aktis.air import Checkpoint
from aktis.air.config import FailureConfig, RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer, TrainingFailedError
from aktis.train.error import WorkerLostError

MIB = 1 << 20
TWO = ScalingConfig(num_workers=2)


def greedy(config: dict[str, Any]) -> None:
    checkpoint = train.get_checkpoint()
    train.report({"step": 0}, checkpoint=Checkpoint.from_dict({"step": 0}))
    if train.world_rank() == 1 and (checkpoint is None or config["always"]):
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * (8 * MIB)))
    train.report({"step": 1})


@pytest.mark.parametrize("always", [False, True])
def test_a_worker_that_takes_too_much_memory(
    always: bool, run_config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AKTIS_MEMORY_LIMIT", "700M")
    with aktis.init(num_cpus=4, log_to_driver=False):
        trainer = DataParallelTrainer(
            greedy,
            train_loop_config={"always": always},
            scaling_config=TWO,
            run_config=dataclasses.replace(run_config, failure_config=FailureConfig(max_failures=1)),
        )
        if not always:
            result = trainer.fit()
            assert result.metrics is not None and result.metrics["step"] == 1
            return
        with pytest.raises(TrainingFailedError, match="memory") as caught:
            trainer.fit()
        lost = caught.value.__cause__
        assert isinstance(lost, WorkerLostError) and lost.ranks == (1,)
        assert isinstance(lost.__cause__, exceptions.OutOfMemoryError) or "OutOfMemoryError" in str(lost)


def hoards(config: dict[str, Any]) -> None:
    """Puts more than the store holds, and reads it again."""
    import numpy

    refs = [aktis.put(numpy.full(MIB, number)) for number in range(20)]  # 160 MiB for each rank
    train.report({"step": 0}, checkpoint=Checkpoint.from_dict({"array": numpy.ones(4 * MIB)}))
    assert [int(aktis.get(ref)[0]) for ref in refs] == list(range(20))
    train.report({"step": 1})


def test_a_full_store_spills(run_config: RunConfig) -> None:
    pytest.importorskip("numpy")
    with aktis.init(num_cpus=4, object_store_memory=80 * MIB, log_to_driver=False):
        result = DataParallelTrainer(hoards, scaling_config=TWO, run_config=run_config).fit()
    assert result.metrics is not None and result.metrics["step"] == 1
    assert result.checkpoint is not None and len(result.checkpoint.to_dict()["array"]) == 4 * MIB
