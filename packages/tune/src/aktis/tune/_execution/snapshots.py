"""Snapshots of a run, written so that they take a small share of the time, and the views made from them.

A snapshot has the brain (with scheduler and stopper), the search algorithms and the callbacks that keep a state. Trials in it are
references: a row of its own has each trial, and only rows that may have changed are written.
"""

from __future__ import annotations

import io
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from aktis.tune import _settings
from aktis.tune._execution import records
from aktis.tune.experiment.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aktis.air.callbacks import CallbackList
    from aktis.tune._execution.brain import Brain
    from aktis.tune._execution.journal import Journal
    from aktis.tune._execution.suggestions import Suggestions

BRAIN, SEARCH, CALLBACKS = "brain", "search", "callbacks"
LEAST_PERIOD_S = 10.0
SHARE = 0.05  # of the time that may go into snapshots and views

logger = logging.getLogger(__name__)


class Snapshots:
    """Writes snapshots of one run."""

    def __init__(self, journal: Journal, path: str, stamp: str, about: Mapping[str, Any] | None = None) -> None:
        """``about``: what readers of the state file want to know of the run, e.g. ``{"_metric": "loss"}``."""
        self._journal = journal
        self.path = path
        self._state_file = os.path.join(path, f"experiment_state-{stamp}.json")
        self._numbers: dict[str, int] = {}
        self._changed: dict[str, Trial] = {}
        self._started = time.time()
        self._next = time.monotonic() + LEAST_PERIOD_S
        self._broken: set[str] = set()
        self._lost = False  # somebody deleted the journal
        self._texts: dict[str, str] = {}  # of ended trials, as they stand in the state file
        self._about = {
            "_start_time": self._started,
            "_pid": os.getpid(),
            "_host": socket.gethostname(),
            **(about or {}),
        }

    def changed(self, trial: Trial) -> None:
        """This trial ended since the last snapshot. (Living trials are written each time.)"""
        self._changed[trial.trial_id] = trial

    def maybe_write(self, brain: Brain, suggestions: Suggestions, callbacks: CallbackList) -> None:
        """Write one if it is time."""
        if time.monotonic() >= self._next:
            self.write(brain, suggestions, callbacks)

    def write(
        self,
        brain: Brain,
        suggestions: Suggestions,
        callbacks: CallbackList,
        *,
        final: bool = False,
        views: bool = True,
    ) -> None:
        """Write a snapshot now, and the views of it."""
        begin = time.monotonic()
        self._look_for_journal()
        parts = {}
        for part, value in (
            (BRAIN, brain),
            (SEARCH, suggestions.get_state()),
            (CALLBACKS, callbacks.get_states()),
        ):
            data = self._pickled(part, value)
            if data is None:
                break
            parts[part] = data
        if len(parts) == 3:
            touched = {**self._changed, **brain.running, **brain.pending, **brain.paused}
            rows = [(key, self._number(key), records.trial_row(trial)) for key, trial in touched.items()]
            self._journal.write_snapshot(parts, rows)
            self._changed.clear()
        if views:
            self.write_views(brain, suggestions, final)
        cost = time.monotonic() - begin
        fixed = _settings.snapshot_period()
        self._next = time.monotonic() + (fixed if fixed is not None else max(LEAST_PERIOD_S, cost / SHARE))

    def _look_for_journal(self) -> None:
        """A deleted file can be written to for as long as it is open, and nobody would notice."""
        if not self._lost and not os.path.exists(self._journal.path):
            self._lost = True
            logger.error(
                "%s was deleted while the run is going on: it goes on to its end, but cannot be resumed",
                self._journal.path,
            )

    def _number(self, trial_id: str) -> int:
        return self._numbers.setdefault(trial_id, len(self._numbers))

    def resume(self, trials: Mapping[str, Trial], touched: Iterable[str]) -> None:
        """Go on after an interruption: trials keep their order, and those that changed after the last snapshot are written."""
        for trial_id in trials:
            self._number(trial_id)
        self._changed = {trial_id: trials[trial_id] for trial_id in touched if trial_id in trials}

    def _pickled(self, part: str, value: Any) -> bytes | None:
        try:
            return dumps(value)
        except Exception as error:
            if part not in self._broken:
                self._broken.add(part)
                logger.warning(
                    "no snapshot of the run can be taken, since the state of %s cannot be pickled (%s: %s). The journal is "
                    "whole: resuming will take longer",
                    {BRAIN: "the scheduler or stopper", SEARCH: "the search algorithm"}.get(part, "a callback"),
                    type(error).__name__, error,
                )  # fmt: skip
            return None

    def write_views(self, brain: Brain, suggestions: Suggestions, final: bool) -> None:
        """Write the state file, for people and tools."""
        from aktis.tune.analysis.state_format import write_experiment_state

        runner_data = {
            **self._about,
            "_total_samples": suggestions.total_samples,
            "_finished": final and brain.finished,
        }
        stats = {"start_time": self._started, "timestamp": time.time()}
        write_experiment_state(self._state_file, map(self._text, brain.trials.values()), runner_data, stats)

    def _text(self, trial: Trial) -> str:
        """The trial in the state file. An ended one does not change any more, unless it is resumed."""
        from aktis.tune.analysis.state_format import trial_to_json

        if not trial.is_finished():
            self._texts.pop(trial.trial_id, None)
            return trial_to_json(trial)
        text = self._texts.get(trial.trial_id)
        if text is None:
            text = self._texts[trial.trial_id] = trial_to_json(trial)
        return text


class _Pickler:
    """cloudpickle with trials as references. Made late: cloudpickle is not imported before it is needed."""

    _class: Any = None

    @classmethod
    def get(cls) -> Any:
        if cls._class is None:
            import cloudpickle

            class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
                def persistent_id(self, value: Any) -> str | None:
                    return value.trial_id if isinstance(value, Trial) else None

            cls._class = Pickler
        return cls._class


def dumps(value: Any) -> bytes:
    """Pickle, with trials as references."""
    file = io.BytesIO()
    _Pickler.get()(file).dump(value)
    return file.getvalue()


def loads(data: bytes, trials: Mapping[str, Trial]) -> Any:
    """The value that :func:`dumps` was given, with these trials in it."""
    import pickle

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Trial:
            return trials[pid]

    return Unpickler(io.BytesIO(data)).load()
