"""Writes down what a training run does: ``train_stats.jsonl`` in the trial's directory, a line of JSON for each event.

::

    {"kind": "run", "time": ..., "trainer": "TorchTrainer", ...}          once per process of the trainer
    {"kind": "start", "time": ..., "workers": [{"rank": 0, ...}, ...]}    the group is there, for the first time or again
    {"kind": "rounds", "time": ..., "count": 1, "seconds": 0.5, "loop": [s, s], "waited": [s, s], "rows": 512, "data": [s, s], ...}
    {"kind": "sample", "time": ..., "ranks": [{"rank": 0, "cpu_percent": ..., "rss_bytes": ...}, ...]}
    {"kind": "restart" | "failure" | "end", "time": ..., "text": ...}

Guarantees: everything is called from one thread, the trainer's. A line is appended by one ``write``; a process that is killed
leaves at most one torn line, which readers skip, and loses at most the rounds that would have shared its next line: those of
50 ms, of more in long runs. The file never gets much larger than ``limit_bytes``: when it does, neighbouring rounds and samples
are merged, which halves it, and it is replaced whole. What goes wrong with the file is logged once, and never disturbs the
training.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from aktis.train._execution.observer import Observer
from aktis.train._report.record import FILE_NAME
from aktis.train._report.thinning import thinned
from aktis.util.files import write_whole

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerMetadata
    from aktis.train.base_trainer import BaseTrainer

__all__ = ["RunRecorder", "describe", "recorded"]

logger = logging.getLogger(__name__)

LIMIT_BYTES = 4 << 20  # some ten thousand rounds of a few ranks: more than a chart has points
_FINEST = 0.05  # seconds of rounds in one line at least: a reader sees no finer
_MOST_RANKS = 64  # whose own metrics are kept
_MOST_METRICS = 24
_LONGEST_TEXT = 20_000


def describe(trainer: BaseTrainer) -> dict[str, Any]:
    """What the page says of a trainer beside what is in its trial's configuration."""
    import platform

    from aktis.train.__about__ import __version__

    run = trainer.run_config
    kept = run.checkpoint_config
    return {
        "trainer": type(trainer).__name__,
        "datasets": sorted(trainer.datasets),
        "preprocessor": None if trainer.preprocessor is None else type(trainer.preprocessor).__name__,
        "max_failures": run.failure_config.max_failures,
        "checkpoint_config": {
            "num_to_keep": kept.num_to_keep,
            "checkpoint_score_attribute": kept.checkpoint_score_attribute,
            "checkpoint_score_order": kept.checkpoint_score_order,
        },
        "versions": {"aktis-train": __version__, "python": platform.python_version()},
    }


class RunRecorder(Observer):
    """Records a run in the directory of its trial.

    Args:
        directory: The trial's directory.
        info: What is known from the start, as JSON: the trainer's name, the numbers of its configuration, ...
        limit_bytes: About how large the file may become.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        info: Mapping[str, Any] | None = None,
        *,
        limit_bytes: int = LIMIT_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = os.path.join(directory, FILE_NAME)
        self._clock = clock
        self._limit = limit_bytes
        self._size = 0
        self._descriptor: int | None = None
        self._broken = False
        self._span = _FINEST
        self._rounds: _Rounds | None = None
        self._since = clock()
        self._is_first = False  # whether the next rounds are the first of their group
        self._data_used: list[tuple[int, float]] = []  # by each rank since its loop began: rows, seconds
        self._data_told: list[tuple[int, float]] = []  # when the last line was written
        self._write("run", {**(info or {}), "pid": os.getpid()})

    # -- what the executor tells -------------------------------------------------------------------------------------

    def on_start(self, workers: Sequence[WorkerMetadata]) -> None:
        self._flush()
        self._since = self._clock()
        self._is_first = True
        self._data_used = self._data_told = [(0, 0.0)] * len(workers)
        self._write("start", {"workers": [_worker_facts(worker, rank) for rank, worker in enumerate(workers)]})

    def on_round(
        self,
        index: int,
        metrics: Sequence[Mapping[str, Any]],
        loop_seconds: Sequence[float],
        waited_seconds: Sequence[float],
        checkpoint: str | None,
    ) -> None:
        rounds = self._rounds
        if rounds is None:
            rounds = self._rounds = _Rounds()
        rounds.add(metrics, loop_seconds, waited_seconds, checkpoint is not None)
        now = self._clock()
        if now - self._since >= self._span or now < self._since:
            self._flush(now)

    def on_sample(self, samples: Sequence[Mapping[str, Any]]) -> None:
        self._flush()
        if samples:
            self._write("sample", {"ranks": [_plain_numbers(sample) for sample in samples]})

    def on_data(self, used: Sequence[tuple[int, float] | None]) -> None:
        self._data_used = [(0, 0.0) if one is None else one for one in used]

    def on_restart(self, reason: str) -> None:
        self._flush()
        self._write("restart", {"text": _shortened(reason)})

    def on_failure(self, message: str) -> None:
        self._flush()
        self._write("failure", {"text": _shortened(message)})

    def on_end(self) -> None:
        self._flush()
        self._write("end", {})
        self.close()

    def close(self) -> None:
        """Write what is left, and close the file. May be called twice."""
        self._flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._broken = True  # what still comes is dropped

    # -- the file ----------------------------------------------------------------------------------------------------

    def _flush(self, now: float | None = None) -> None:
        rounds, self._rounds = self._rounds, None
        if rounds is None:
            return
        now = self._clock() if now is None else now
        seconds = max(0.0, now - self._since)
        if self._is_first:  # until the loop began, workers were set up, and modules imported
            seconds = min(seconds, max(map(sum, zip(rounds.loop, rounds.waited, strict=True)), default=seconds))
        self._write("rounds", {**rounds.as_record(seconds), **self._new_data()}, now)
        self._since, self._is_first = now, False

    def _new_data(self) -> dict[str, Any]:
        """Rows of all ranks, and seconds that each waited for them, since the last line."""
        used, told = self._data_used, self._data_told
        if used == told:
            return {}
        self._data_told = used
        both = list(zip(used, told, strict=True))
        rows, waited = sum(now[0] - before[0] for now, before in both), [now[1] - before[1] for now, before in both]
        return {"rows": rows, "data": [_few_digits(max(0.0, seconds)) for seconds in waited]}

    def _write(self, kind: str, fields: Mapping[str, Any], now: float | None = None) -> None:
        if self._broken:
            return
        record = {"kind": kind, "time": round(self._clock() if now is None else now, 3), **fields}
        try:
            line = json.dumps(record, separators=(",", ":"), default=str).encode() + b"\n"
            if self._descriptor is None:
                self._open()
            assert self._descriptor is not None
            os.write(self._descriptor, line)
            self._size += len(line)
            if self._size > self._limit:
                self._thin_out()
        except (OSError, ValueError) as error:  # a full disk must not end a training
            self._broken = True
            logger.warning("the statistics of this run end here: %s cannot be written (%s)", self.path, error)

    def _open(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._descriptor).st_size
        if self._size and os.pread(self._descriptor, 1, self._size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # behind the torn line of a process that was killed

    def _thin_out(self) -> None:
        assert self._descriptor is not None
        with open(self.path, "rb") as file:
            lines, longest = thinned(file.read().splitlines(), self._limit // 2)
        write_whole(self.path, b"".join(line + b"\n" for line in lines))
        os.close(self._descriptor)
        self._descriptor = None
        self._open()
        self._span = max(self._span, longest)


@contextlib.contextmanager
def recorded(trainer: BaseTrainer, directory: str | None) -> Iterator[None]:
    """Records beginning and end of a run that has no workers."""
    if directory is None:
        yield
        return
    recorder = RunRecorder(os.path.abspath(directory), describe(trainer))
    recorder.on_start([])
    try:
        yield
    except Exception as error:
        recorder.on_failure("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        raise
    else:
        recorder.on_end()
    finally:
        recorder.close()


class _Rounds:
    """Rounds that go into one line."""

    __slots__ = ("checkpoints", "count", "loop", "metrics", "waited")

    def __init__(self) -> None:
        self.count = 0
        self.loop: list[float] = []
        self.waited: list[float] = []
        self.checkpoints = 0
        self.metrics: Sequence[Mapping[str, Any]] = ()  # of the last of them

    def add(
        self,
        metrics: Sequence[Mapping[str, Any]],
        loop: Sequence[float],
        waited: Sequence[float],
        with_checkpoint: bool,
    ) -> None:
        self.metrics = metrics
        self.count += 1
        self.checkpoints += with_checkpoint
        self.loop = [a + b for a, b in zip(self.loop, loop, strict=True)] if self.loop else list(loop)
        self.waited = [a + b for a, b in zip(self.waited, waited, strict=True)] if self.waited else list(waited)

    def as_record(self, seconds: float) -> dict[str, Any]:
        record: dict[str, Any] = {
            "count": self.count,
            "seconds": _few_digits(seconds),
            "loop": [_few_digits(value) for value in self.loop],
            "waited": [_few_digits(value) for value in self.waited],
        }
        if self.checkpoints:
            record["checkpoints"] = self.checkpoints
        if 1 < len(self.metrics) <= _MOST_RANKS:  # those of a single rank are the results
            record["metrics"] = _metrics(self.metrics)
        return record


def _metrics(by_rank: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """The numbers of each rank by name, where the ranks have some of the same name."""
    flat = [_flat_numbers(metrics) for metrics in by_rank]
    names = list(flat[0])[:_MOST_METRICS]
    return {name: [numbers.get(name) for numbers in flat] for name in names}


def _flat_numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for key, value in metrics.items():
        if str(key).startswith("_"):  # filled in by the session
            continue
        if isinstance(value, Mapping):
            found.update(_flat_numbers(value, f"{prefix}{key}/"))
        elif isinstance(value, Real) and not isinstance(value, bool):
            found[prefix + str(key)] = _few_digits(float(value))
    return found


def _few_digits(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _plain_numbers(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers in few digits; None and what is no JSON left out."""
    found: dict[str, Any] = {}
    for key, value in sample.items():
        if isinstance(value, (int, str)):
            found[str(key)] = value
        elif isinstance(value, Real):
            found[str(key)] = _few_digits(float(value))
        elif isinstance(value, (list, tuple, dict)):
            found[str(key)] = _jsonable(value)
    return found


def _worker_facts(worker: WorkerMetadata, rank: int) -> dict[str, Any]:
    return {"rank": rank, **{key: _jsonable(value) for key, value in dataclasses.asdict(worker).items() if value}}


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, Real):
        return _jsonable(float(value))
    return str(value)


def _shortened(text: str) -> str:
    """The beginning, where the first cause is, and the end."""
    text = str(text)
    if len(text) <= _LONGEST_TEXT:
        return text
    tail = _LONGEST_TEXT // 5
    return f"{text[: _LONGEST_TEXT - tail]}\n... {len(text) - _LONGEST_TEXT:,} characters left out ...\n{text[-tail:]}"
