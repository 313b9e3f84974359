"""Checkpoints in tasks, and written by several processes at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import aktis
from aktis.air.checkpoint import Checkpoint


@pytest.fixture(params=["inline", "native"])
def session(request: pytest.FixtureRequest) -> Iterator[None]:
    aktis.init(num_cpus=2, mode=request.param)
    yield
    aktis.shutdown()


def test_checkpoints_travel_to_tasks_and_back(session: None, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("model")

    @aktis.remote
    def grow(in_memory: Checkpoint, on_disk: Checkpoint) -> Checkpoint:
        with on_disk.as_directory() as path:
            text = (Path(path) / "model").read_text()
        return Checkpoint.from_dict({"sum": in_memory.to_dict()["array"].sum(), "text": text})

    found = aktis.get(
        grow.remote(Checkpoint.from_dict({"array": np.ones(100_000)}), Checkpoint.from_directory(tmp_path))
    )
    assert found.to_dict() == {"sum": 100_000.0, "text": "model"}


ROUNDS = 10
WRITER = """
import sys
from aktis.air.checkpoint import Checkpoint
for number in range(10):
    sys.stdin.readline()
    values = {"rank": int(sys.argv[2]), "values": list(range(1000))}
    Checkpoint.from_dict(values).to_directory(f"{sys.argv[1]}/checkpoint_{number}")
    print("done", flush=True)
"""


def test_several_processes_write_to_one_place(tmp_path: Path) -> None:
    """As when all workers report to the same directory: one of them wins, and what is there is whole."""
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [
        subprocess.Popen([*command, str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for rank in range(3)
    ]
    for number in range(ROUNDS):
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "done\n"
        found = Checkpoint.from_directory(tmp_path / f"checkpoint_{number}").to_dict()
        assert found["rank"] in range(3)
        assert found["values"] == list(range(1000))
    for writer in writers:
        writer.communicate(timeout=50)
        assert writer.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint_{number}" for number in range(ROUNDS)}
