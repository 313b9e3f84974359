"""What the configurations have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar


class Config:
    """A frozen dataclass with a repr of what is not as it would be anyway."""

    _filled_in: ClassVar[Mapping[str, type]] = {}  # fields for which None means a default configuration of that class

    def __repr__(self) -> str:
        shown = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            filled_in = self._filled_in.get(field.name)
            if not _same(value, filled_in() if filled_in is not None else field.default):
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _same(value: Any, default: Any) -> bool:
    try:
        return type(value) is type(default) and bool(value == default)
    except Exception:  # what users put in need not compare
        return False
