"""Too little memory, and too small a store: in programs of their own, which have imported nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GREEDY = """
import sys
import aktis
from aktis import air, exceptions, train
from aktis.train import DataParallelTrainer, TrainingFailedError
from aktis.train.error import WorkerLostError

def loop(config):
    checkpoint = train.get_checkpoint()
    train.report({"step": 0}, checkpoint=air.Checkpoint.from_dict({"step": 0}))
    if train.world_rank() == 1 and (checkpoint is None or config["always"]):
        hoard = []
        while True:
            hoard.append(bytearray(b"x" * (8 << 20)))
    train.report({"step": 1})

folder, always = sys.argv[1:]
with aktis.init(num_cpus=4):
    trainer = DataParallelTrainer(
        loop,
        train_loop_config={"always": always == "always"},
        scaling_config=air.ScalingConfig(num_workers=2),
        run_config=air.RunConfig(
            name="run", local_dir=folder, verbose=0, failure_config=air.FailureConfig(max_failures=1)
        ),
    )
    try:
        print("ended", trainer.fit().metrics["step"])
    except TrainingFailedError as error:
        lost = error.__cause__
        print("failed", isinstance(lost, WorkerLostError), lost.ranks, "memory" in str(lost))
"""

HOARDS = """
import sys
import numpy
import aktis
from aktis import air, train
from aktis.train import DataParallelTrainer

def loop():
    refs = [aktis.put(numpy.full(1 << 20, number)) for number in range(20)]  # 160 MiB for each rank
    train.report({"step": 0}, checkpoint=air.Checkpoint.from_dict({"array": numpy.ones(4 << 20)}))
    assert [int(aktis.get(ref)[0]) for ref in refs] == list(range(20))
    train.report({"step": 1})

with aktis.init(num_cpus=4, object_store_memory=80 << 20):
    result = DataParallelTrainer(
        loop,
        scaling_config=air.ScalingConfig(num_workers=2),
        run_config=air.RunConfig(name="run", local_dir=sys.argv[1], verbose=0),
    ).fit()
    print("ended", result.metrics["step"], len(result.checkpoint.to_dict()["array"]))
"""


def output_of(program: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, timeout=100, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("when", "outcome"), [("once", "ended 1"), pytest.param("always", "failed True (1,) True", marks=pytest.mark.slow)]
)
def test_a_worker_that_takes_too_much_memory(when: str, outcome: str, tmp_path: Path) -> None:
    assert output_of(GREEDY, str(tmp_path), when, AKTIS_MEMORY_LIMIT="1000M") == outcome


@pytest.mark.slow
def test_a_full_store_spills(tmp_path: Path) -> None:
    """Twice what it holds is put by each rank, and read again."""
    pytest.importorskip("numpy")
    assert output_of(HOARDS, str(tmp_path)) == f"ended 1 {4 << 20}"
