"""What a page is about: all that the directory of a training run says."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from aktis.air.nested import flatten
from aktis.train._report.record import FILE_NAME, RunRecord, read_record

__all__ = ["AUTO_KEYS", "Curve", "KeptCheckpoint", "TrainingRun", "find_run", "gather", "metric_groups"]

# What every result has without the user's doing.
AUTO_KEYS = frozenset({
    "trial_id", "experiment_id", "date", "timestamp", "time_this_iter_s", "time_total_s", "pid", "hostname", "node_ip", "config",
    "time_since_restore", "timesteps_since_restore", "iterations_since_restore", "warmup_time", "done", "timesteps_total",
    "episodes_total", "training_iteration", "experiment_tag", "should_checkpoint", "time_since_start_s", "checkpoint_dir_name",
    "_timestamp", "_time_this_iter_s", "_training_iteration",
})  # fmt: skip
_FILES = (FILE_NAME, "result.json", "progress.csv", "params.json", "error.txt")
_SETS = re.compile(
    r"^(train|training|valid|validation|val|eval|evaluation|test|dev)[-_/. ]|[-_/. ](train|valid|val|eval|test)$"
)
_PER_SECOND = re.compile(r"(per_s(ec(ond)?)?$|_s(ec)?$|/s(ec)?$|throughput)")
_AMOUNTS = re.compile(r"(samples|rows|examples|tokens|images|items|batches|steps|records|throughput)", re.IGNORECASE)
_COUNTERS = frozenset({"epoch", "step", "global_step", "iteration", "round", "batch", "epochs", "steps", "num_steps"})
_SILENT_AFTER = 60.0  # seconds without a line before a run that has not ended counts as broken off


@dataclass
class Curve:
    """A metric over the rounds. A gap (NaN) is where the run went back to an earlier checkpoint."""

    name: str
    xs: list[float] = field(default_factory=list)
    ys: list[float] = field(default_factory=list)

    def add(self, x: float, y: float) -> None:
        if self.xs and x <= self.xs[-1]:
            self.xs.append(x)
            self.ys.append(math.nan)
        self.xs.append(x)
        self.ys.append(y)

    def known(self) -> list[tuple[float, float]]:
        """(round, value) where the value is finite."""
        return [(x, y) for x, y in zip(self.xs, self.ys, strict=True) if math.isfinite(y)]


@dataclass
class KeptCheckpoint:
    """A checkpoint in the directory."""

    name: str
    iteration: int | None
    metrics: dict[str, Any]
    size: int | None = None  # bytes


@dataclass
class TrainingRun:
    """A run, as its directory tells."""

    directory: Path
    record: RunRecord
    curves: dict[str, Curve] = field(default_factory=dict)
    times: list[tuple[float, float]] = field(default_factory=list)  # (seconds since 1970, iteration) of each report
    last: dict[str, Any] = field(default_factory=dict)
    reports: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    checkpoints: list[KeptCheckpoint] = field(default_factory=list)
    error: str = ""
    error_time: float = 0.0

    @property
    def name(self) -> str:
        """Name of the experiment, and of the trial where that says more."""
        return self.directory.parent.name or self.directory.name

    @property
    def trainer(self) -> str:
        """Name of the trainer's class."""
        return str(self.record.info.get("trainer") or self.directory.name.partition("_")[0])

    @property
    def state(self) -> str:
        """finished, failed, running, or broken off."""
        said, newest = self.record.state, max(self.record.end or 0.0, float(self.last.get("timestamp") or 0.0))
        if self.last.get("done") is True or said == "ended":
            return "finished"
        if said == "failed" or (self.error and self.error_time >= newest):  # an older one was overcome by a restart
            return "failed"
        return "running" if time.time() - newest < _SILENT_AFTER else "broken off"

    @property
    def seconds(self) -> float | None:
        """How long it took, restarts and all."""
        begin, end = self.record.begin, self.record.end
        if begin is not None and end is not None:
            return end - begin
        took = self.last.get("time_total_s")
        return float(took) if isinstance(took, Real) else None

    @property
    def score_attribute(self) -> str | None:
        """The metric that says how good a checkpoint is."""
        config = self.record.info.get("checkpoint_config")
        name = config.get("checkpoint_score_attribute") if isinstance(config, dict) else None
        return str(name) if name else None

    @property
    def score_order(self) -> str:
        """ "max" or "min"."""
        config = self.record.info.get("checkpoint_config")
        return str(config.get("checkpoint_score_order", "max")) if isinstance(config, dict) else "max"

    @property
    def best_checkpoint(self) -> KeptCheckpoint | None:
        """The best by its score; the latest when none has one."""
        name, sign = self.score_attribute, -1.0 if self.score_order == "min" else 1.0
        scored = [
            (sign * float(score), index)
            for index, kept in enumerate(self.checkpoints)
            if name and isinstance(score := kept.metrics.get(name), Real) and math.isfinite(float(score))
        ]
        if scored:
            return self.checkpoints[max(scored)[1]]
        return self.checkpoints[-1] if self.checkpoints else None

    def throughputs(self) -> list[Curve]:
        """Metrics that say how much was done per second."""
        return [curve for name, curve in self.curves.items() if is_throughput(name)]

    def user_curves(self) -> list[Curve]:
        """The others."""
        return [curve for name, curve in self.curves.items() if not is_throughput(name)]

    def quality_curves(self) -> list[Curve]:
        """Those that are no counters of epochs or steps: what one looks at."""
        return [curve for curve in self.user_curves() if curve.name.rsplit("/", 1)[-1].lower() not in _COUNTERS]


def is_throughput(name: str) -> bool:
    """Whether a metric of that name says how much was done per second: samples_per_second, rows/s, throughput."""
    return bool(_PER_SECOND.search(name.lower()) and _AMOUNTS.search(name))


def find_run(path: str | os.PathLike[str]) -> Path:
    """The directory of the run at ``path``: its own, one of its files, or that of its experiment when there is no other run in it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    place = Path(path).expanduser().absolute()
    if place.is_file():
        place = place.parent
    if not place.is_dir():
        raise FileNotFoundError(f"there is no directory {place}")
    if _is_run(place):
        return place
    found = sorted(child for child in place.iterdir() if child.is_dir() and _is_run(child))
    if not found:
        raise FileNotFoundError(
            f"{place} holds no training run: no {', '.join(_FILES[:3])} in it or in the directories below"
        )
    if len(found) > 1:
        names = ", ".join(child.name for child in found[:4]) + (", ..." if len(found) > 4 else "")
        raise ValueError(
            f"{place} holds {len(found)} runs: give the directory of one ({names}), or write the page of all with `tune report`"
        )
    return found[0]


def _is_run(directory: Path) -> bool:
    return any((directory / name).is_file() for name in _FILES)


def gather(path: str | os.PathLike[str]) -> TrainingRun:
    """Read what there is. Files that are missing or torn are passed over.

    Raises:
        FileNotFoundError, ValueError: see :func:`find_run`.
    """
    directory = find_run(path)
    run = TrainingRun(directory, read_record(directory / FILE_NAME))
    for row in _rows(directory / "result.json"):
        run.reports += 1
        run.last = row
        x = float(row.get("training_iteration") or run.reports)
        if isinstance(row.get("timestamp"), Real):
            run.times.append((float(row["timestamp"]), x))
        for name, value in flatten({key: value for key, value in row.items() if key not in AUTO_KEYS}).items():
            if isinstance(value, Real) and not isinstance(value, bool):
                run.curves.setdefault(name, Curve(name)).add(x, float(value))
    run.config = _json(directory / "params.json") or run.last.get("config") or {}
    run.checkpoints = _checkpoints(directory)
    run.error = _text(directory / "error.txt").strip()
    run.error_time = _modified(directory / "error.txt")
    return run


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:  # the last line of a process that was killed
                    continue
                if isinstance(row, dict):
                    yield row
    except FileNotFoundError:
        return


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _checkpoints(directory: Path) -> list[KeptCheckpoint]:
    from aktis.air.result import Result

    try:
        pairs = Result.from_path(directory).best_checkpoints
    except (OSError, ValueError):
        return []
    found = []
    for checkpoint, metrics in pairs:
        if checkpoint.path is None:
            continue
        place = Path(checkpoint.path)
        number = metrics.get("training_iteration")
        if not isinstance(number, int):
            digits = re.search(r"(\d+)$", place.name)
            number = int(digits[1]) if digits else None
        found.append(KeptCheckpoint(place.name, number, flatten(metrics), _size(place)))
    return found


def _size(directory: Path) -> int | None:
    try:
        return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    except OSError:
        return None


def metric_groups(curves: Sequence[Curve]) -> list[tuple[str, list[Curve]]]:
    """Metrics that belong into one chart: those that differ only in the set that they are of (train_loss, val_loss)."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(_SETS.sub("", curve.name), []).append(curve)
    return [(name if len(group) > 1 else group[0].name, group) for name, group in groups.items()]
