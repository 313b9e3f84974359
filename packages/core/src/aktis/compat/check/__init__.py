"""``aktis compat check``: which of Ray's API a code base uses, and what of it is there. Programs are read, never run."""

from __future__ import annotations

from aktis.cli import Command

__all__ = ["main"]

main = Command(
    "compat",
    "Programs written for Ray: what they use of its API. `python -m aktis.compat SCRIPT` runs them.",
    "aktis.compat.check._app",
)
