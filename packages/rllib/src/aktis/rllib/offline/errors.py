"""What is wrong with recorded experience."""

from __future__ import annotations

__all__ = ["OfflineDataError"]


class OfflineDataError(ValueError):
    """Recorded experience cannot be used: a broken line, missing columns, or values that are not of the policy's spaces.

    The message names the file (and the line, where there are lines) and what to do.
    """
