"""A number that decays."""

from __future__ import annotations

from aktis.rllib.utils.schedules.schedule import Schedule


class ExponentialSchedule(Schedule):
    """`initial_p * decay_rate ** (t / schedule_timesteps)`.

    Args:
        schedule_timesteps: After so many steps the number has been multiplied by `decay_rate` once.
        framework: Has no meaning.
        initial_p: The number in the beginning.
        decay_rate: What it is multiplied by.

    Raises:
        ValueError: `schedule_timesteps` is not positive.
    """

    def __init__(
        self, schedule_timesteps: int, framework: str | None = None, initial_p: float = 1.0, decay_rate: float = 0.1
    ) -> None:
        super().__init__(framework)
        self.schedule_timesteps = self.positive(schedule_timesteps)
        self.initial_p = initial_p
        self.decay_rate = decay_rate

    def _value(self, t: int | float) -> float:
        return float(self.initial_p * self.decay_rate ** (t / self.schedule_timesteps))
