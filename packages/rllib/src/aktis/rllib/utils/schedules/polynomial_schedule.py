"""From one number to another along a power of time."""

from __future__ import annotations

from aktis.rllib.utils.schedules.schedule import Schedule


class PolynomialSchedule(Schedule):
    """`final_p + (initial_p - final_p) * (1 - t / schedule_timesteps) ** power`, and `final_p` afterwards.

    Args:
        schedule_timesteps: When `final_p` is reached.
        final_p: The number in the end.
        framework: Has no meaning.
        initial_p: The number in the beginning.
        power: The exponent; 1 is linear.

    Raises:
        ValueError: `schedule_timesteps` is not positive.
    """

    def __init__(
        self,
        schedule_timesteps: int,
        final_p: float,
        framework: str | None = None,
        initial_p: float = 1.0,
        power: float = 2.0,
    ) -> None:
        super().__init__(framework)
        self.schedule_timesteps = self.positive(schedule_timesteps)
        self.final_p = final_p
        self.initial_p = initial_p
        self.power = power

    def _value(self, t: int | float) -> float:
        left = 1.0 - min(max(t, 0), self.schedule_timesteps) / self.schedule_timesteps
        return float(self.final_p + (self.initial_p - self.final_p) * left**self.power)
