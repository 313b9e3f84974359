"""Watching a run from its directory: nothing of the running process is needed, and nothing is written.

The state file says which trials there are; it is written now and then, and read again only when it changed. What happened since
then the trials' own files tell: of those that have not ended, the end of ``result.json`` is read when it grew.
"""

from __future__ import annotations

import os
import socket
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aktis.air.display import open_display
from aktis.tune._progress.board import Board
from aktis.tune._progress.snapshot import Options, Snapshot, take_snapshot
from aktis.tune.analysis._best import check_mode
from aktis.tune.analysis._directory import experiment_dirs, load_states, local_path, state_files
from aktis.tune.analysis._results import last_result, results_file
from aktis.tune.analysis.state_format import ExperimentState
from aktis.tune.cli import CommandError
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.experiment.trial import Trial
from aktis.util.processes import is_alive

__all__ = ["Watcher", "watch_experiment"]

_PLAIN_PERIOD = 5.0  # seconds between two lines in a log
_DEAD_AFTER = 30.0  # seconds without news before a missing process counts as the end


@dataclass
class Watcher:
    """What is known of an experiment's directory."""

    directory: Path
    state: ExperimentState | None = None
    trials: dict[str, Trial] = field(default_factory=dict)
    _file: tuple[Path, int, int] | None = None
    _sizes: dict[str, int] = field(default_factory=dict)

    def look(self) -> bool:
        """Read what changed. Whether anything did."""
        changed = self._read_state()
        for trial in self.trials.values():
            if trial.status in (Trial.TERMINATED, Trial.ERROR) or not trial.logdir:
                continue
            changed = self._read_trial(trial) or changed
        return changed

    def _read_state(self) -> bool:
        files = state_files(self.directory)
        stamp = None
        if files:
            info = files[0].stat()
            stamp = (files[0], info.st_mtime_ns, info.st_size)
        if self.state is not None and stamp == self._file:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.state = load_states(self.directory)[0]
        self._file = stamp
        self._sizes.clear()
        self.trials = {trial.trial_id: trial for trial in self.state.trials}
        return True

    def _read_trial(self, trial: Trial) -> bool:
        path = results_file(trial.logdir)
        size = os.path.getsize(path) if path else 0
        if not path or size == self._sizes.get(trial.trial_id):
            return False
        self._sizes[trial.trial_id] = size
        result = last_result(trial.logdir)
        if not result or int(result.get("training_iteration") or 0) < int(
            trial.last_result.get("training_iteration") or 0
        ):
            return False
        trial.last_result = result
        if trial.status == Trial.PENDING:
            trial.status = Trial.RUNNING
        if result.get("done"):
            trial.status = Trial.TERMINATED
        return True

    @property
    def expected(self) -> int | None:
        """How many trials there will be, when the state says so."""
        number = self.state.runner_data.get("_total_samples") if self.state is not None else None
        return number if isinstance(number, int) and number > 0 else None

    @property
    def ended(self) -> str:
        """Why the run is over; "" while it goes on."""
        if self.state is None:
            return ""
        data = self.state.runner_data
        if data.get("_finished") is True:
            return "finished"
        alive = [trial for trial in self.trials.values() if not trial.is_finished()]
        if not alive and self.trials and "_finished" not in data:
            missing = self.expected is not None and len(self.trials) < self.expected
            if not missing:
                return "finished"
        pid, host = data.get("_pid"), data.get("_host", socket.gethostname())
        if isinstance(pid, int) and host == socket.gethostname() and not is_alive(pid) and self._silent() > _DEAD_AFTER:
            return f"interrupted: its process ({pid}) is gone; `tune resume {self.directory}` goes on with it"
        return ""

    def _silent(self) -> float:
        """Seconds since anything was written."""
        paths = [str(self._file[0])] if self._file else []
        paths += [
            path for trial in self.trials.values() if not trial.is_finished() and (path := results_file(trial.logdir))
        ]
        times = [os.path.getmtime(path) for path in paths if os.path.exists(path)]
        return time.time() - max(times, default=0.0)

    def elapsed(self) -> float:
        """Seconds since the run began, up to the last news."""
        if self.state is None:
            return 0.0
        start = self.state.stats.get("start_time")
        starts = [begun for trial in self.trials.values() if (begun := _begun(trial)) is not None]
        begin = start if isinstance(start, (int, float)) else min(starts, default=None)
        if begin is None:
            return 0.0
        end = time.time() - self._silent() if not self.ended else _last_news(self.state, list(self.trials.values()))
        return max(0.0, end - begin)


def _begun(trial: Trial) -> float | None:
    """When a trial began, as far as its results tell."""
    if trial.start_time:
        return trial.start_time
    stamp, took = trial.last_result.get("timestamp"), trial.last_result.get("time_total_s")
    return float(stamp) - float(took) if isinstance(stamp, (int, float)) and isinstance(took, (int, float)) else None


def _last_news(state: ExperimentState, trials: list[Trial]) -> float:
    times = [trial.last_update_time for trial in trials if trial.last_update_time]
    stamp = state.stats.get("timestamp")
    return max([*times, *([stamp] if isinstance(stamp, (int, float)) else [])], default=0.0)


def watch_experiment(
    path: Path, *, once: bool, metric: str | None, mode: str | None, interval: float, max_rows: int = 20
) -> None:
    """Show the experiment until its run is over.

    Raises:
        CommandError: The path holds several experiments, or the arguments make no sense.
        ExperimentDirectoryError: There is no experiment.
    """
    if mode is not None:
        try:
            check_mode(mode, "--mode")
        except ValueError as error:
            raise CommandError(str(error)) from error
    directory = _single_experiment(path)
    watcher = Watcher(directory)
    watcher.look()
    display = open_display()
    options = Options(max_progress_rows=max_rows)
    shown = float("-inf")
    try:
        while True:
            ended = watcher.ended
            last = bool(ended) or once
            if last or display.live or time.monotonic() - shown >= _PLAIN_PERIOD:
                shown = time.monotonic()
                _show(display, _snapshot(watcher, options, metric, mode, ended, table=last), last)
            if last:
                return
            time.sleep(interval)
            try:
                watcher.look()
            except (ExperimentDirectoryError, OSError) as error:
                raise CommandError(f"{directory} can't be read any longer: {error}") from error
    finally:
        display.close()


def _show(display: Any, snapshot: Snapshot, table: bool) -> None:
    from aktis.tune._progress.views import html_view, rich_view, status_line

    if display.live or table:
        display.update(
            lambda width, height: rich_view(snapshot, width, 1_000_000 if table else height),
            lambda: html_view(snapshot),
        )
    else:
        display.line(status_line(snapshot))


def _single_experiment(path: Path) -> Path:
    local = local_path(path)
    if local.is_file():
        local = local.parent
    found = experiment_dirs(local) if local.is_dir() else []
    if not found:
        raise CommandError(f"there is no experiment in {path}")
    if len(found) > 1:
        names = ", ".join(directory.name for directory in found[:5])
        raise CommandError(f"{path} holds {len(found)} experiments: give the directory of one ({names}, ...)")
    return found[0]


def _snapshot(
    watcher: Watcher, options: Options, metric: str | None, mode: str | None, ended: str, table: bool
) -> Snapshot:
    from aktis.tune._report.gather import guess_mode

    data = watcher.state.runner_data if watcher.state is not None else {}
    known = data.get("_metric")
    named = metric or (known[0] if isinstance(known, list) and known else known if isinstance(known, str) else None)
    stored = data.get("_mode")
    way = mode or (stored[0] if isinstance(stored, list) and stored else stored if isinstance(stored, str) else None)
    board = Board(named, way or (guess_mode(named) if named else None))
    board.sync(list(watcher.trials.values()))
    info = [ended] if ended and ended != "finished" else []
    return take_snapshot(
        board, options, elapsed=watcher.elapsed(), expected=watcher.expected, done=ended == "finished", info=info
    )
