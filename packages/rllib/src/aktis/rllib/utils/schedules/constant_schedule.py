"""A number that stays."""

from __future__ import annotations

from aktis.rllib.utils.schedules.schedule import Schedule


class ConstantSchedule(Schedule):
    """The same number at all times.

    Args:
        value: The number.
        framework: Has no meaning.
    """

    def __init__(self, value: float, framework: str | None = None) -> None:
        super().__init__(framework)
        self._v = value

    def _value(self, t: int | float) -> float:
        return self._v
