"""What ``.dt`` does to Arrow values."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.expressions._functions import Function, Value, kernel, plain

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_NAMES = {"s": "second", "ms": "millisecond", "us": "microsecond", "ns": "nanosecond"}


def _local(value: Value) -> Value:
    """Times as the clock on the wall shows them, where there is a time zone."""
    value = plain(value)
    return pc.local_timestamp(value) if pa.types.is_timestamp(value.type) and value.type.tz else value


def _strftime(value: Value, *, format: str) -> Value:
    value = plain(value)
    if "%S.%f" in format:  # Arrow's %S has the fraction already
        format = format.replace("%S.%f", "%S")
    elif pa.types.is_timestamp(value.type) and value.type.unit != "s":
        whole = pc.floor_temporal(value, unit="second")
        value = whole.cast(pa.timestamp("s", value.type.tz), safe=False)
    return pc.strftime(value, format=format)


def _timestamp(value: Value, *, unit: str) -> Value:
    value = plain(value)
    if unit not in _PER_SECOND:
        raise ValueError(f"unit is 's', 'ms', 'us' or 'ns', not {unit!r}")
    if pa.types.is_date(value.type):
        value = value.cast(pa.timestamp("ms"))
    tz = value.type.tz
    return pc.floor_temporal(value, unit=_NAMES[unit]).cast(pa.timestamp(unit, tz), safe=False).cast(pa.int64())


def _total_seconds(value: Value) -> Value:
    if not pa.types.is_duration(value.type):
        raise TypeError(f"total_seconds() is for durations (differences of times), not for {value.type}")
    return pc.divide(pc.cast(value.cast(pa.int64()), pa.float64(), safe=False), float(_PER_SECOND[value.type.unit]))


def _rounded(name: str) -> Function:
    function = getattr(pc, name)

    def compute(value: Value, *, unit: str, multiple: int) -> Value:
        return function(plain(value), multiple=multiple, unit=unit)

    return Function(compute)


TIMES: dict[str, Function] = {
    "weekday": Function(lambda value: pc.day_of_week(plain(value), count_from_zero=True, week_start=1)),
    "week": Function(kernel(pc.iso_week).compute),
    "date": Function(lambda value: _local(value).cast(pa.date32(), safe=False)),
    "strftime": Function(_strftime),
    "timestamp": Function(_timestamp),
    "total_seconds": Function(_total_seconds),
    "floor": _rounded("floor_temporal"),
    "ceil": _rounded("ceil_temporal"),
    "round": _rounded("round_temporal"),
}
TIMES.update(
    (name, kernel(getattr(pc, name)))
    for name in (
        "year", "quarter", "month", "day", "day_of_year", "hour", "minute", "second", "millisecond", "microsecond",
        "is_leap_year",
    )
)  # fmt: skip
