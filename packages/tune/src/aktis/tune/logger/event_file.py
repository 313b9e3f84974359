"""An event file for TensorBoard, of which the caller says what it holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aktis.air.integrations.results import flatten_dict, to_number
from aktis.tune.logger import _events as events
from aktis.tune.logger._files import AppendFiles

__all__ = ["EventFile"]


class EventFile:
    """Appends numbers and distributions to an event file.

    Args:
        path: The file, whose name must hold ``tfevents`` for TensorBoard to find it.
        prefix: What tags begin with.
    """

    def __init__(self, path: str, prefix: str = "") -> None:
        self.path = path
        self.prefix = prefix
        self._files = AppendFiles(limit=1)
        self._files.append(path, events.record(events.file_version(time.time())))

    def write(self, values: Mapping[str, Any], step: int) -> None:
        """Add values by name; nested ones are named ``outer/inner``.

        Args:
            values: Numbers become scalars, lists and arrays of numbers histograms. Anything else, and NaN, is left out.
            step: Where on the horizontal axis.
        """
        found = [self._value(name, value) for name, value in flatten_dict(values).items()]
        shown = [value for value in found if value is not None]
        if shown:
            self._files.append(self.path, events.record(events.event(shown, step, time.time())))

    def _value(self, name: str, value: Any) -> bytes | None:
        tag = self.prefix + name
        number = to_number(value)
        if number is not None:
            return events.scalar(tag, number) if number == number else None
        if isinstance(value, (list, tuple)) or (hasattr(value, "dtype") and hasattr(value, "__array__")):
            try:
                return events.histogram(tag, value)
            except (TypeError, ValueError):  # not numbers, or lists of several lengths
                return None
        return None

    def close(self) -> None:
        """Close the file; a later :meth:`write` opens it again."""
        self._files.close_all()
