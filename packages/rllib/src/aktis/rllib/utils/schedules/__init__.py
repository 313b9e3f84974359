"""Numbers that change with time."""

from __future__ import annotations

from aktis.rllib.utils.schedules.constant_schedule import ConstantSchedule
from aktis.rllib.utils.schedules.exponential_schedule import ExponentialSchedule
from aktis.rllib.utils.schedules.linear_schedule import LinearSchedule
from aktis.rllib.utils.schedules.piecewise_schedule import PiecewiseSchedule
from aktis.rllib.utils.schedules.polynomial_schedule import PolynomialSchedule
from aktis.rllib.utils.schedules.schedule import Schedule

__all__ = [
    "ConstantSchedule",
    "ExponentialSchedule",
    "LinearSchedule",
    "PiecewiseSchedule",
    "PolynomialSchedule",
    "Schedule",
]
