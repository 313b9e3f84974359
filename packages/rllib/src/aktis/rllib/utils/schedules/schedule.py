"""What all schedules have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Schedule(ABC):
    """A number as a function of time. Calling a schedule is the same as `value`.

    Args:
        framework: Has no meaning: a schedule is plain arithmetic in all of them.
    """

    def __init__(self, framework: str | None = None) -> None:
        self.framework = framework

    def value(self, t: int | float) -> Any:
        """The number at time `t` (steps sampled, from 0 on)."""
        return self._value(t)

    def __call__(self, t: int | float) -> Any:
        return self.value(t)

    @abstractmethod
    def _value(self, t: int | float) -> Any:
        """What `value` returns."""

    @staticmethod
    def positive(timesteps: int) -> int:
        """`schedule_timesteps`, checked.

        Raises:
            ValueError: It is not positive.
        """
        if timesteps <= 0:
            raise ValueError(f"schedule_timesteps must be positive, not {timesteps}.")
        return timesteps
