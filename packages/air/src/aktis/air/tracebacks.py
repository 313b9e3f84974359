"""Tracebacks that begin in the user's code."""

from __future__ import annotations

import types
from typing import TypeVar

from aktis.exceptions import AktisTaskError

__all__ = ["without_our_frames"]

E = TypeVar("E", bound=BaseException)

_OURS = (
    "aktis.air.function_run", "aktis.air.session", "aktis.air.worker_group", "aktis.train._execution", "aktis.train.base_trainer",
    "aktis.train.data_parallel_trainer", "aktis.tune.trainable", "contextlib",
)  # fmt: skip


def without_our_frames(error: E) -> E:
    """The error, with a traceback that begins in the user's code.

    One that arose in ours keeps its frames, unless it came from another process: where it arose is in its text then.
    """
    traceback: types.TracebackType | None = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_globals.get("__name__", "")):
        traceback = traceback.tb_next
    if traceback is None and not isinstance(error, AktisTaskError):
        traceback = error.__traceback__
    return error.with_traceback(traceback)


def _is_ours(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _OURS)
