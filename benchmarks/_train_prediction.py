"""How fast BatchPredictor is, beside Ray Data's map_batches and a plain loop: for train.py.

Each program runs in a fresh process of its peer's interpreter, all of them by turns in one run. Of what has several ways to be
written, the fastest counts: Ray with its formats and batches of two sizes, the plain loop with frames, and
with arrays of two sizes.
"""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _tables import number, table

PROGRAMS = Path(__file__).resolve().parent / "_train_prediction_programs.py"
ROWS = 5_000_000
MODELS = {"xgboost": "XGBoost, 50 trees", "torch": "torch, MLP 10-128-64-1"}
FILES = {"xgboost": "model.ubj", "torch": "model.pt"}
VARIANTS = {
    "aktis": ("",),
    "ray": ("pandas-4096", "numpy-4096", "numpy-65536"),
    "plain": ("pandas", "numpy-4096", "numpy-65536"),
}
TIMES_RAY, TIMES_PLAIN = 3.0, 1.3  # the bars


@dataclass(slots=True)
class Prediction:
    """One way to predict."""

    peer: str
    model: str
    variant: str
    samples: list[float] = field(default_factory=list)  # seconds
    cpu: list[float] = field(default_factory=list)  # CPU seconds of all processes
    mean: float = math.nan  # of the predictions
    error: str = ""

    @property
    def seconds(self) -> float:
        return statistics.median(self.samples) if self.samples and not self.error else math.nan

    @property
    def cpu_seconds(self) -> float:
        return statistics.median(self.cpu) if self.cpu and not self.error else math.nan


def measure(
    interpreters: Mapping[str, Sequence[str]],
    *,
    rows: int = ROWS,
    repeat: int = 3,
    limit_s: float = 300,
    models: Sequence[str] = tuple(MODELS),
) -> list[Prediction]:
    """Run everything. ``interpreters``: the command that starts each peer ("aktis", "ray", "plain"); others are left out.

    "plain" makes the models; it and "aktis" need the models' libraries, in the same versions as "ray".
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="aktis-benchmark-") as folder:
        for model in models:
            path = Path(folder) / FILES[model]
            maker = interpreters.get("plain") or interpreters["aktis"]
            subprocess.run([*maker, str(PROGRAMS), "make", model, "--model-file", str(path)], check=True)
            ways = [Prediction(peer, model, way) for peer in VARIANTS if peer in interpreters for way in VARIANTS[peer]]
            if model == "torch":  # rows are arrays, whatever the format
                ways = [way for way in ways if way.variant != "pandas"]
            for _ in range(repeat):
                for way in ways:
                    _run(way, [*interpreters[way.peer]], path, rows, limit_s)
            _compare(ways)
            found += ways
    return found


def _run(way: Prediction, interpreter: list[str], path: Path, rows: int, limit_s: float) -> None:
    if way.error:
        return
    command = [*interpreter, str(PROGRAMS), way.peer, way.model, "--model-file", str(path), "--rows", str(rows)]
    environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if way.peer == "plain" else {})}
    process = subprocess.Popen(
        [*command, "--variant", way.variant],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        way.error = f"stopped after {limit_s:.0f} s"
        return
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        last = [line for line in errors.splitlines() if line.strip()][-1:]
        way.error = f"exit status {process.returncode}: {''.join(last)}"
        return
    result = json.loads(lines[-1])
    way.samples.append(result["seconds"])
    way.cpu.append(result["cpu_seconds"])
    way.mean = result["mean"]
    if result["rows"] != rows:
        way.error = f"{result['rows']} predictions for {rows} rows"


def _compare(ways: Sequence[Prediction]) -> None:
    """All must have predicted the same."""
    means = [way.mean for way in ways if not way.error]
    for way in ways:
        if not way.error and abs(way.mean - statistics.median(means)) > 1e-3:
            way.error = f"the mean of its predictions is {way.mean}"


def best(results: Sequence[Prediction], peer: str, model: str) -> Prediction | None:
    """The fastest way of a peer."""
    ways = [way for way in results if (way.peer, way.model) == (peer, model) and not math.isnan(way.seconds)]
    return min(ways, key=lambda way: way.seconds, default=None)


@dataclass(frozen=True, slots=True)
class Bar:
    """What BatchPredictor promises, and what it is: the fields of train.py's Row."""

    what: str
    ours: str
    bar: str = ""
    met: bool | None = None
    beside: str = ""
    samples: dict[str, list[float]] | None = None


def bars(results: Sequence[Prediction], cpus: int) -> list[Bar]:
    """A bar for each model and peer."""
    found = []
    for model, title in MODELS.items():
        what = f"batch prediction of {title}"
        ours = best(results, "aktis", model)
        if ours is None:
            failed = [way.error for way in results if (way.peer, way.model) == ("aktis", model)]
            found += [Bar(what, f"FAILED: {error}", met=False) for error in failed]
            continue
        samples = {f"{way.peer} {way.variant}".strip(): way.samples for way in results if way.model == model}
        ray, plain = best(results, "ray", model), best(results, "plain", model)
        beside = ", ".join(
            [f"aktis {number(ours.seconds)} s"]
            + [f"{way.peer} ({way.variant}) {number(way.seconds)} s" for way in (ray, plain) if way is not None]
        )
        if ray is not None:
            times = ray.seconds / ours.seconds
            bound = f"at least {TIMES_RAY:g}"
            found.append(Bar(f"{what}, x Ray Data", number(times), bound, times >= TIMES_RAY, beside, samples))
        if plain is not None:
            share = ours.seconds * cpus / plain.seconds
            bound = f"at most {TIMES_PLAIN:g}"
            name = f"{what}, time to that of a plain loop / {cpus} cores"
            found.append(Bar(name, number(share), bound, share <= TIMES_PLAIN, beside, samples))
    return found


def report(results: Sequence[Prediction], cpus: int) -> str:
    """Two tables: the bars, and all samples' medians."""
    rows = [
        (MODELS[way.model], way.peer, way.variant, way.error[:40] or number(way.seconds), number(way.cpu_seconds))
        for way in results
    ]
    lines = [
        (bar.what, bar.ours, bar.bar, "" if bar.met is None else "met" if bar.met else "MISSED", bar.beside)
        for bar in bars(results, cpus)
    ]
    return "\n".join(
        [
            table("Bars of batch prediction", ("what", "figure", "bar", "", "beside it"), lines),
            table("Batch prediction", ("model", "peer", "batches", "s", "CPU s"), rows),
        ]
    )


if __name__ == "__main__":  # by itself: RAY_PYTHON=/path/to/python python _train_prediction.py
    import sys

    commands = {"aktis": [sys.executable], "plain": [sys.executable]}
    if os.environ.get("RAY_PYTHON"):
        commands["ray"] = [os.environ["RAY_PYTHON"]]
    size, times = (int(text) for text in (sys.argv[1:3] if len(sys.argv) > 2 else (ROWS, 3)))
    print(report(measure(commands, rows=size, repeat=times), os.cpu_count() or 1))
