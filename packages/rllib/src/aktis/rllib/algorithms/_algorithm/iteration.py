"""When an iteration is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from aktis.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_TRAINED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_TRAINED,
)

__all__ = ["Iteration"]


class Iteration:
    """The progress of one iteration, from when it is made.

    Args:
        counters: Of the algorithm; read again at each :meth:`is_over`.
        config: Says how long an iteration is at least.
        clock: Seconds.
    """

    def __init__(
        self, counters: Mapping[str, int], config: Any, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._min_seconds = config.min_time_s_per_iteration or 0
        self._min_sampled = config.min_sample_timesteps_per_iteration or 0
        self._min_trained = config.min_train_timesteps_per_iteration or 0
        agents = config.count_steps_by == "agent_steps"
        self._sampled_key = NUM_AGENT_STEPS_SAMPLED if agents else NUM_ENV_STEPS_SAMPLED
        self._trained_key = NUM_AGENT_STEPS_TRAINED if agents else NUM_ENV_STEPS_TRAINED
        self._began = clock()
        self._before = {key: counters.get(key, 0) for key in _KEYS}

    def is_over(self) -> bool:
        """Whether it took as long, sampled as much and trained as much as it is to."""
        return (
            self._clock() - self._began >= self._min_seconds
            and self.done(self._sampled_key) >= self._min_sampled
            and self.done(self._trained_key) >= self._min_trained
        )

    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._clock() - self._began

    def done(self, key: str) -> int:
        """By how much a counter went up."""
        return self._counters.get(key, 0) - self._before.get(key, 0)


_KEYS = (NUM_ENV_STEPS_SAMPLED, NUM_AGENT_STEPS_SAMPLED, NUM_ENV_STEPS_TRAINED, NUM_AGENT_STEPS_TRAINED)
