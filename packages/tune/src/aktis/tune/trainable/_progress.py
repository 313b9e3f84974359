"""How far a trainable is, and what that adds to its results."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from aktis.tune.trainable._facts import host_facts, today

__all__ = ["Progress"]


class Progress:
    """The counters of a trainable. The names are those of Ray, because subclasses read them."""

    config: dict[str, Any]
    _experiment_id: str
    _iteration: int
    _time_total: float
    _timesteps_total: int | None  # None as long as no result says how many
    _episodes_total: int | None
    _last_result: dict[str, Any]
    _time_since_restore: float
    _timesteps_since_restore: int
    _iterations_since_restore: int
    _start_monotonic: float
    _warmup_time: float | None  # seconds from the beginning to the first step

    @property
    def trial_id(self) -> str:
        """Id of the trial."""
        raise NotImplementedError(f"{type(self).__name__} must define trial_id")

    def _fill_in_result(self, reported: dict[str, Any], seconds: float) -> dict[str, Any]:
        """A copy of what ``step`` reported, with all that a result has."""
        result = dict(reported)
        for key in result:
            if not isinstance(key, str):
                raise TypeError(f"metrics must have strings as keys: {key!r} ({type(key).__name__}) is none")
        self._iteration += 1
        self._iterations_since_restore += 1
        own = result.get("time_this_iter_s")
        if own is not None:
            seconds = own
        self._time_total += seconds
        self._time_since_restore += seconds
        timesteps = result.get("timesteps_this_iter")
        if timesteps is not None:
            self._timesteps_total = (self._timesteps_total or 0) + timesteps
            self._timesteps_since_restore += timesteps
        episodes = result.get("episodes_this_iter")
        if episodes is not None:
            self._episodes_total = (self._episodes_total or 0) + episodes
        result.setdefault("done", False)
        result.setdefault("timesteps_total", self._timesteps_total)
        result.setdefault("episodes_total", self._episodes_total)
        own_count = result.setdefault("training_iteration", self._iteration)
        if type(own_count) is not int and not _is_number(own_count):
            raise TypeError(
                f"training_iteration must be a number, not {own_count!r} ({type(own_count).__name__}): leave it out, and it is "
                "counted for you"
            )
        loss = result.get("mean_loss")
        if loss:
            result.setdefault("neg_mean_loss", -loss)
        result.update(self._facts_of_result(time.time()))
        result["time_this_iter_s"] = seconds
        result["time_total_s"] = self._time_total
        result["time_since_restore"] = self._time_since_restore
        result["timesteps_since_restore"] = self._timesteps_since_restore
        result["iterations_since_restore"] = self._iterations_since_restore
        result["warmup_time"] = self._warmup_time
        return result

    def _facts_of_result(self, now: float) -> dict[str, Any]:
        """What is filled in whatever was reported."""
        host = host_facts()
        return {
            "trial_id": self.trial_id,
            "experiment_id": self._experiment_id,
            "date": today(now),
            "timestamp": int(now),
            "pid": host.pid,
            "hostname": host.hostname,
            "node_ip": host.node_ip,
            "config": self.config,
        }

    def _clear_progress(self) -> None:
        self._start_monotonic = time.monotonic()
        self._warmup_time = None
        self._experiment_id = os.urandom(16).hex()
        self._iteration = 0
        self._time_total = 0.0
        self._timesteps_total = None
        self._episodes_total = None
        self._last_result = {}
        self._clear_since_restore()

    def _clear_since_restore(self) -> None:
        self._time_since_restore = 0.0
        self._timesteps_since_restore = 0
        self._iterations_since_restore = 0

    def _progress_to_save(self) -> dict[str, Any]:
        """What belongs into the metadata of a checkpoint."""
        from aktis.tune.__about__ import __version__

        return {
            "experiment_id": self._experiment_id,
            "iteration": self._iteration,
            "timesteps_total": self._timesteps_total,
            "time_total": self._time_total,
            "episodes_total": self._episodes_total,
            "last_result": {key: value for key, value in self._last_result.items() if key != "config"},
            "aktis_version": __version__,
        }

    def _progress_restored(self, metadata: Mapping[str, Any]) -> None:
        self._experiment_id = metadata.get("experiment_id") or self._experiment_id
        self._iteration = metadata.get("iteration") or 0
        self._time_total = metadata.get("time_total") or 0.0
        self._timesteps_total = metadata.get("timesteps_total")
        self._episodes_total = metadata.get("episodes_total")
        self._last_result = dict(metadata.get("last_result") or {})
        self._clear_since_restore()


def _is_number(value: Any) -> bool:
    import numbers

    return isinstance(value, numbers.Real) and not isinstance(value, bool)
