"""What a stream leads to."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["can_repaint", "is_terminal"]


def is_terminal(stream: Any) -> bool:
    """Whether somebody looks at it; what is closed, None or no stream leads nowhere."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def can_repaint(stream: Any) -> bool:
    """Whether it is a terminal that can move its cursor, so that a display can be painted over."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
