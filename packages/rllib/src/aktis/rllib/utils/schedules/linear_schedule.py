"""From one number to another along a line."""

from __future__ import annotations

from typing import Any

from aktis.rllib.utils.schedules.polynomial_schedule import PolynomialSchedule


class LinearSchedule(PolynomialSchedule):
    """From `initial_p` to `final_p` in `schedule_timesteps` steps, and `final_p` afterwards. Arguments of
    PolynomialSchedule but `power`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(power=1.0, **kwargs)
