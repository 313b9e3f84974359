"""How fast aktis.train is, beside torchrun, Ray Train and plain Python in one run.

    hatch run bench-train                                      everything of ours, torchrun and plain Python
    hatch run bench-train --ray-python /path/to/python         Ray Train and Ray Data of that interpreter, too
    hatch run bench-train --only ddp --repeat 1 --json out.json
    hatch run bench-train --quick                              does it work at all
    hatch run bench-train --write                              put the table into benchmarks/README.md

Every training runs in a fresh process, in turns with the one that it is compared to; the median of the repetitions counts. The exit
status is 1 when a program of ours failed, or a bar is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _train_prediction
from _parts import Row, parser_for, run_json, run_parts
from _tables import number

HERE = Path(__file__).resolve().parent
PROGRAMS_FILE = HERE / "_train_programs.py"
LIMIT_S = 600
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RAY_TRAIN_V2_ENABLED": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run of this program is asked for."""

    ray_python: str | None
    repeat: int
    quick: bool


def run(program: str, library: str, python: str, size: int = 0) -> dict[str, Any]:
    """One run in a process of its own: what it printed, and how long it took as a whole."""
    with tempfile.TemporaryDirectory(prefix="bench-train-") as folder:
        command = [python]
        if library == "torchrun":
            command += ["-m", "torch.distributed.run", "--nproc-per-node=2"]
        command += [str(PROGRAMS_FILE), program, library, folder, *([str(size)] if size else [])]
        begin = time.perf_counter()
        found = run_json(command, LIMIT_S, ENVIRONMENT)[-1]
        return {**found, "whole_s": time.perf_counter() - begin}


def in_turns(setting: Setting, size: int, libraries: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Runs of the same training, one library after the other, and again."""
    found: dict[str, list[dict[str, Any]]] = {library: [] for library in libraries}
    for _ in range(setting.repeat):
        for library in libraries:
            if library == "ray" and found["ray"]:
                continue  # once, for orientation: it takes minutes
            python = setting.ray_python if library == "ray" else sys.executable
            assert python is not None
            found[library].append(run("ddp", library, python, size))
    return found


def with_ray(setting: Setting, *libraries: str) -> list[str]:
    return [*libraries, *(["ray"] if setting.ray_python else [])]


def ddp(setting: Setting) -> list[Row]:
    """Steps per second, and the losses bit for bit."""
    found = in_turns(setting, 10 if setting.quick else 150, with_ray(setting, "torchrun", "aktis"))
    speeds = {library: [one["value"] for one in runs] for library, runs in found.items()}
    ratios = [ours / theirs for ours, theirs in zip(speeds["aktis"], speeds["torchrun"])]
    ratio = statistics.median(ratios)
    beside = f"torchrun {number(statistics.median(speeds['torchrun']))} steps/s"
    if "ray" in speeds:
        beside += f", Ray {number(statistics.median(speeds['ray']))}"
    equal = all(one["curve"] == found["torchrun"][0]["curve"] for one in found["aktis"])
    length = len(found["aktis"][0]["curve"])
    return [
        Row(
            "DDP of an MLP on 2 workers, steps/s, to torchrun's",
            number(ratio),
            "at least 0.98",
            ratio >= 0.98,
            beside,
            speeds,
        ),
        Row(f"loss curve of {length} epochs, bit for bit torchrun's", "equal" if equal else "other", "equal", equal),
    ]


def whole(setting: Setting) -> list[Row]:
    """The whole program less its loop."""
    found = in_turns(setting, 10, with_ray(setting, "torchrun", "aktis", "plain"))
    rest = {library: [one["whole_s"] - one["loop_s"] for one in runs] for library, runs in found.items()}
    middle = {library: statistics.median(values) for library, values in rest.items()}
    beside = ", ".join(f"{library} {number(value)}" for library, value in middle.items() if library != "aktis")
    met = middle["aktis"] <= middle["torchrun"]
    return [
        Row(
            "whole run less its loop, s",
            number(middle["aktis"]),
            f"at most {number(middle['torchrun'])}",
            met,
            beside,
            rest,
        )
    ]


def restart(setting: Setting) -> list[Row]:
    """From the kill of a worker to the first step after it."""
    seconds = [run("restart", "aktis", sys.executable)["value"] for _ in range(setting.repeat)]
    middle = statistics.median(seconds)
    beside = ""
    if setting.ray_python:
        try:
            beside = f"Ray {number(run('restart', 'ray', setting.ray_python)['value'])}"
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            beside = f"Ray: {error}"[:80]
    return [
        Row(
            "kill -9 of a worker to the next step, s",
            number(middle),
            "at most 3",
            middle <= 3,
            beside,
            {"aktis": seconds},
        )
    ]


def data(setting: Setting) -> list[Row]:
    """Training from shards of a Dataset, and from tensors in memory, in turns."""
    command = [sys.executable, str(HERE / "_train_ingest.py"), *(["20000"] if setting.quick else [])]
    rows = []
    for found in run_json(command, LIMIT_S, ENVIRONMENT):
        if found["train"]:
            share = found["of_memory"]
            beside = f"in memory {number(found['memory_rows_per_s'])} rows/s; by CPU time {number(found['of_memory_by_cpu_time'])}"
            what = f"an MLP from iter_torch_batches of {found['batch_size']}, speed to that in memory"
            rows.append(Row(what, number(share), "at least 0.9", share >= 0.9, beside))
    return rows


def prediction(setting: Setting) -> list[Row]:
    """BatchPredictor, Ray Data and a plain loop."""
    commands = {"aktis": [sys.executable], "plain": [sys.executable]}
    if setting.ray_python:
        commands["ray"] = [setting.ray_python]
    rows = 60_000 if setting.quick else _train_prediction.ROWS
    results = _train_prediction.measure(commands, rows=rows, repeat=min(setting.repeat, 3))
    return [Row(**asdict(bar)) for bar in _train_prediction.bars(results, os.cpu_count() or 1)]


PARTS: dict[str, Callable[[Setting], list[Row]]] = {
    "ddp": ddp,
    "whole": whole,
    "restart": restart,
    "data": data,
    "prediction": prediction,
}


def main() -> None:
    parser = parser_for(__doc__, PARTS)
    parser.add_argument(
        "--ray-python", metavar="PATH", help="an interpreter that has ray[train,data], torch and xgboost"
    )
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of the trainings")
    arguments = parser.parse_args()
    setting = Setting(arguments.ray_python, 1 if arguments.quick else arguments.repeat, arguments.quick)
    run_parts("Train", PARTS, setting, arguments)


if __name__ == "__main__":
    main()
