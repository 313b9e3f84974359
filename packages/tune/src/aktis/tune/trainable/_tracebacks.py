"""Tracebacks that begin in the user's code."""

from __future__ import annotations

import contextlib
import os
import types
from typing import TypeVar

__all__ = ["without_our_frames"]

E = TypeVar("E", bound=BaseException)

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_HELPERS = contextlib.__file__  # of our own context managers


def without_our_frames(error: E) -> E:
    """The error, with a traceback that begins in the user's code; one that arose in ours keeps its frames."""
    traceback: types.TracebackType | None = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    return error.with_traceback(traceback or error.__traceback__)


def _is_ours(filename: str) -> bool:
    return filename.startswith(_OURS) or filename == _HELPERS
