"""Directories of training runs that never ran: written by the real recorder, with a clock of our own."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from aktis.air.checkpoint import Checkpoint
from aktis.air.worker_group import WorkerMetadata
from aktis.train._report.recorder import RunRecorder


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def workers(size: int, first_pid: int = 100) -> list[WorkerMetadata]:
    return [WorkerMetadata("ab12", "10.0.0.1", f"host{rank // 4}", first_pid + rank) for rank in range(size)]


def samples(size: int, at: int, gpu: bool = False) -> list[dict[str, Any]]:
    found = []
    for rank in range(size):
        one: dict[str, Any] = {
            "rank": rank, "pid": 100 + rank, "cpu_percent": 90.0 + rank + 5 * math.sin(at + rank),
            "rss_bytes": 400_000_000 + rank * 50_000_000 + at * 1_000_000, "threads": 12,
        }  # fmt: skip
        if gpu:
            one |= {"gpu_percent": 70 + 10 * math.sin(at / 3 + rank), "gpu_memory_bytes": 8e9 + rank * 1e8}
        found.append(one)
    return found


def make_run(
    directory: Path,
    rounds: int = 40,
    size: int = 2,
    *,
    restart_at: int | None = None,
    resize_to: int | None = None,
    fails_with: str = "",
    ends: bool = True,
    gpu: bool = False,
    slow_rank: int | None = 1,
    with_data: bool = False,
) -> Path:
    """A run of ``rounds`` rounds of about a second, with a checkpoint every ten. Returns the trial's directory."""
    clock, rng = Clock(), random.Random(0)
    directory.mkdir(parents=True)
    config = {
        "train_loop_config": {"lr": 0.01, "layers": [64, 64], "note": "<b>&"},
        "scaling_config": {"num_workers": size},
    }
    (directory / "params.json").write_text(json.dumps(config))
    info = {
        "trainer": "TorchTrainer",
        "checkpoint_config": {"checkpoint_score_attribute": "val_loss", "checkpoint_score_order": "min"},
    }
    recorder = RunRecorder(directory, info, clock=clock)
    recorder.on_start(workers(size))
    results = (directory / "result.json").open("w")
    for index in range(rounds):
        if index == restart_at:
            recorder.on_restart("rank 1 (pid 101) was killed by signal 9\nmore of it")
            clock.now += 4
            size = resize_to or size
            recorder.on_start(workers(size, 300))
        loop = [0.8 + rng.random() * 0.05 + (0.5 if rank == slow_rank else 0) for rank in range(size)]
        waited = [max(loop) - seconds + 0.01 for seconds in loop]
        loss = 2.3 * math.exp(-index / 15) + rng.random() * 0.05
        metrics: dict[str, Any] = {
            "train_loss": loss, "val_loss": loss * 1.1 + 0.002 * index, "accuracy": 1 - loss / 2.5, "epoch": index,
            "samples_per_second": 1000 / max(loop), "note": "text",
        }  # fmt: skip
        clock.now += max(loop) + 0.01
        checkpoint = None
        if index % 10 == 9:
            name = f"checkpoint_{index + 1:06}"
            Checkpoint.from_dict({"epoch": index}).to_directory(directory / name)
            checkpoint = str(directory / name)
        if with_data:
            recorder.on_data([(512 * (index + 1), 0.2 * (index + 1)) for rank in range(size)])
        recorder.on_round(
            index,
            [{**metrics, "train_loss": loss * (1 + 0.1 * rank)} for rank in range(size)],
            loop,
            waited,
            checkpoint,
        )
        row = {
            **metrics,
            "training_iteration": index + 1,
            "timestamp": int(clock.now),
            "time_total_s": clock.now - 1_700_000_000,
        }
        results.write(json.dumps({**row, "done": ends and not fails_with and index == rounds - 1}) + "\n")
        if index % 3 == 0:
            recorder.on_sample(samples(size, index, gpu))
    results.close()
    if fails_with:
        recorder.on_failure(fails_with)
        (directory / "error.txt").write_text(f"Traceback (most recent call last):\n  ...\n{fails_with}\n")
    if ends:
        recorder.on_end()
    else:
        recorder.close()
    return directory
