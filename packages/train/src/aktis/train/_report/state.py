"""What a display shows of a training run at a moment, as data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from aktis.air.display import format_duration, format_value
from aktis.air.nested import flatten
from aktis.train._report import frames
from aktis.train._report.gather import AUTO_KEYS, is_throughput
from aktis.train._report.record import RunRecord

__all__ = ["RankState", "State", "take_state"]

_RECENT = 10.0  # seconds over which rates are taken
_MOST_METRICS = 12


@dataclass
class RankState:
    """What is known of a rank: texts, empty where it is not known."""

    rank: int
    machine: str = ""
    pid: str = ""
    phase: str = ""
    cpu: str = ""
    memory: str = ""
    gpu: str = ""
    loop: str = ""
    waiting: str = ""


@dataclass
class State:
    """All that is to be seen."""

    trainer: str
    name: str
    state: str  # waiting for resources, starting, running, restarting, finished, failed, stopped
    elapsed: float
    iteration: int | None = None
    metrics: dict[str, str] = field(default_factory=dict)
    rate: float | None = None  # rounds per second, lately
    waiting: float | None = None  # share of the ranks' time
    slowest: int | None = None  # rank, where the others wait for it
    workers: int | None = None
    alive: int | None = None
    ranks: list[RankState] = field(default_factory=list)
    restarts: int = 0
    last_restart: str = ""
    checkpoint: str = ""  # the best by its score, or the latest
    checkpoint_is_best: bool = False
    error: str = ""
    error_file: str = ""
    directory: str = ""


def take_state(trial: Any, record: RunRecord, elapsed: float, done: bool = False) -> State:
    """The state of a run.

    Args:
        trial: The trial of Tune.
        record: What was written down of it.
        elapsed: Seconds since the start.
        done: The run is over.
    """
    result = trial.last_result or {}
    iteration = result.get("training_iteration")
    state = State(
        trainer=str(record.info.get("trainer") or trial.trainable_name),
        name=str(trial.experiment_dir_name),
        state=_state(trial, record, done),
        elapsed=elapsed,
        iteration=iteration if isinstance(iteration, int) else None,
        metrics=_metrics(result),
        rate=record.rate(_RECENT),
        directory=trial.logdir or "",
    )
    workers = record.workers
    if workers:
        state.workers = len(workers)
        latest = record.samples[-1] if record.samples else None
        starts = record.of_kind("start")
        if latest is not None and latest.time >= starts[-1].time:
            state.alive = len(latest.ranks)
        state.ranks = _ranks(record, workers)
    _add_waiting(state, record)
    restarts = record.restarts
    state.restarts = len(restarts)
    if restarts:
        state.last_restart = frames.error_line(restarts[-1].text)
    _add_outcome(state, trial)
    return state


def _state(trial: Any, record: RunRecord, done: bool) -> str:
    status = str(trial.status)
    if status == "TERMINATED":
        return "finished"
    if status == "ERROR":
        return "failed"
    if done:
        return "stopped"
    if status != "RUNNING":
        return "waiting for resources"
    if record.state in ("restarting", "failed"):
        return "restarting"
    has_begun = record.state == "running" or (trial.last_result and not record.rounds)  # trainers without workers
    return "running" if has_begun or record.state == "ended" else "starting"


def _metrics(result: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in flatten({key: value for key, value in result.items() if key not in AUTO_KEYS}).items():
        if (isinstance(value, Real) and not isinstance(value, bool)) and len(found) < _MOST_METRICS:
            found[name] = format_value(value, 20)
    return dict(sorted(found.items(), key=lambda item: is_throughput(item[0])))  # how good it is comes before how fast


def _recent_shares(record: RunRecord) -> tuple[int, list[float], list[float]]:
    """Rounds, and seconds of each rank in the loop and in report(), lately and in the present group."""
    count, seconds = 0, 0.0
    loop: list[float] = []
    waited: list[float] = []
    for rounds in reversed(record.rounds):
        if loop and len(rounds.loop) != len(loop):
            break
        loop = [a + b for a, b in zip(loop, rounds.loop, strict=True)] if loop else list(rounds.loop)
        waited = [a + b for a, b in zip(waited, rounds.waited, strict=True)] if waited else list(rounds.waited)
        count, seconds = count + rounds.count, seconds + rounds.seconds
        if seconds >= _RECENT:
            break
    return count, loop, waited


def _add_waiting(state: State, record: RunRecord) -> None:
    _, loop, waited = _recent_shares(record)
    total = sum(loop) + sum(waited)
    if total <= 0:
        return
    state.waiting = sum(waited) / total
    if len(loop) > 1 and state.waiting > 0.1:
        slow = max(range(len(loop)), key=loop.__getitem__)
        others = [seconds for rank, seconds in enumerate(loop) if rank != slow]
        if loop[slow] > 1.1 * max(others):
            state.slowest = slow


def _ranks(record: RunRecord, workers: list[dict[str, Any]]) -> list[RankState]:
    from aktis.util.units import format_bytes

    sample = record.samples[-1].ranks if record.samples else []
    by_rank = {entry.get("rank", position): entry for position, entry in enumerate(sample)}
    count, loop, waited = _recent_shares(record)
    found = []
    for rank, worker in enumerate(workers):
        entry = by_rank.get(rank, {})
        if entry.get("pid", worker.get("pid")) != worker.get("pid"):
            entry = {}  # of the process that it had before
        cpu, gpu = entry.get("cpu_percent"), entry.get("gpu_percent")
        spent = loop[rank] + waited[rank] if rank < len(loop) else 0.0
        found.append(
            RankState(
                rank,
                str(worker.get("hostname") or worker.get("node_ip") or ""),
                str(worker.get("pid") or ""),
                str(entry.get("phase") or ""),
                "" if cpu is None else f"{cpu:.0f}%",
                format_bytes(entry.get("rss_bytes")),
                "" if gpu is None else f"{gpu:.0f}%",
                "" if not spent else format_seconds(loop[rank] / count),
                "" if not spent else f"{waited[rank] / spent:.0%}",
            )
        )
    return found


def format_seconds(seconds: float) -> str:
    """As format_duration, and milliseconds where they matter."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else format_duration(seconds)


def _add_outcome(state: State, trial: Any) -> None:
    """The best checkpoint that is kept, and the error."""
    manager: Any = getattr(trial, "checkpoints", None)
    best = None if manager is None else manager.best
    if manager is not None and best is not None and best.path:
        name = os.path.basename(str(best.path).rstrip("/"))
        attribute = manager.config.checkpoint_score_attribute
        score = flatten(best.metrics).get(attribute) if attribute else None
        state.checkpoint = name if score is None else f"{name} ({attribute} {format_value(score)})"
        state.checkpoint_is_best = score is not None
    error = getattr(trial, "error", None)
    if error is not None and state.state in ("failed", "stopped"):
        state.error = error_line(error)
        state.error_file = str(getattr(trial, "error_file", None) or "")


def error_line(error: Any) -> str:
    """Type and first line of what was the cause."""
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip().partition("\n")[0]
    if not isinstance(cause, BaseException):
        return text
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
