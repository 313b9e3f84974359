"""Lines about results, where no display shows them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.callbacks import Callback
from aktis.air.display import format_value

if TYPE_CHECKING:
    from aktis.air.callbacks import TrialInfo

__all__ = ["Lines", "line_of"]

_PERIOD_S = 5.0


class Lines(Callback):
    """Prints how a trial does every five seconds, and what it has reached at the end. On a terminal the display says so."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}
        self._latest: dict[str, Mapping[str, Any]] = {}

    def on_trial_result(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, result: dict[str, Any], **info: Any
    ) -> None:
        """A result has come."""
        if sys.stdout.isatty():
            return
        self._latest[trial.trial_id] = result
        now = time.monotonic()
        if now - self._said.get(trial.trial_id, -math.inf) >= _PERIOD_S:
            self._said[trial.trial_id] = now
            print(f"{trial}: {line_of(result)}", flush=True)

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        """The trial is over."""
        if trial.trial_id in self._latest:
            print(f"{trial} finished: {line_of(self._latest.pop(trial.trial_id))}", flush=True)

    def on_trial_error(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        """The trial has failed."""
        print(
            f"{trial} failed: {getattr(trial, 'error_file', None) or 'see its error.txt'}", file=sys.stderr, flush=True
        )


def line_of(result: Mapping[str, Any]) -> str:
    """A result in a line."""
    words = [f"iteration {result.get('training_iteration')}"]
    for key, name in (("episode_reward_mean", "return"), ("episode_len_mean", "length")):
        value = result.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value):
            words.append(f"{name} {format_value(float(value))}")
    evaluated = (result.get("evaluation") or {}).get("episode_reward_mean")
    if isinstance(evaluated, (int, float)) and math.isfinite(evaluated):
        words.append(f"evaluation {format_value(float(evaluated))}")
    steps, rate = result.get("timesteps_total"), result.get("num_env_steps_sampled_throughput_per_sec")
    if isinstance(steps, (int, float)):
        words.append(f"{steps:,.0f} steps" + (f" ({rate:,.0f} per second)" if isinstance(rate, (int, float)) else ""))
    return ", ".join(words)
