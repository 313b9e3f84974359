"""Small things that scripts for Ray call, and that mean little here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

__all__ = ["LOCAL_MODE", "SCRIPT_MODE", "WORKER_MODE", "profile", "profiling"]

# What a process is, in the numbers that programs compare with.
SCRIPT_MODE, WORKER_MODE, LOCAL_MODE = 0, 1, 2


@contextlib.contextmanager
def profile(event_type: str, extra_data: dict[str, str] | None = None) -> Iterator[None]:
    """A span of time in a task. ``aktis timeline`` shows tasks, and no spans within them: this does nothing."""
    yield


profiling = SimpleNamespace(profile=profile)
