"""Environment variables: what they are called, how they are read, and what they mean, declared once.

Each package has one module with its variables (``aktis._config`` for core, ``_settings`` in the libraries), and nothing else
of it reads them. ``scripts/write_environment_variables.py`` puts all of them into one page.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["PREFIX", "Variable", "flag", "names", "positive", "size"]

PREFIX = "AKTIS_"
_EXPECTED: dict[Any, str] = {float: "expected a number", int: "expected a whole number"}


def flag(text: str) -> bool:
    """Yes or no."""
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("expected one of 1, 0, true, false, yes, no, on, off")


def size(text: str) -> int:
    """Bytes, with an optional suffix K, M, G or T (powers of 1024)."""
    stripped = text.strip().upper().removesuffix("B").removesuffix("I")
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}.get(stripped[-1:], 1)
    return int(float(stripped[:-1] if scale > 1 else stripped) * scale)


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError("expected a number above 0")
    return value


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable.

    Args:
        name: What it is called, without ``AKTIS_``.
        parse: Makes its value of its text; ValueError says what was expected.
        default: What holds when it is unset.
        meaning: What it means, in a sentence without a stop.
        others: Whole names that mean the same, and count where this one is not set: those of Ray.
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    others: tuple[str, ...] = ()

    @property
    def full(self) -> str:
        """The whole name."""
        return PREFIX + self.name

    def read(self) -> Any:
        """What it says now, or the default.

        Raises:
            ValueError: it cannot be read; the message has its name, its text and its meaning.
        """
        for name in (self.full, *self.others):
            text = os.environ.get(name)
            if text is None or (not text.strip() and self.parse is not flag):  # emptied is unset, but no for a flag
                continue
            try:
                return self.parse(text)
            except (ValueError, IndexError) as error:
                expected = _EXPECTED.get(self.parse, str(error))
                raise ValueError(f"environment variable {name}={text!r}: {expected} ({self.meaning})") from None
        return self.default
