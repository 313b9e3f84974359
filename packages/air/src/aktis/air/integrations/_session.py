"""Where the user's function runs: the trial's name and the rank, or nothing when it is called by itself."""

from __future__ import annotations

from typing import NamedTuple

from aktis.air import session_host

__all__ = ["Place", "here"]


class Place(NamedTuple):
    """Of the session that this thread is part of; None outside of one."""

    trial_id: str | None = None
    trial_name: str | None = None
    experiment_name: str | None = None
    rank: int = 0


def here() -> Place:
    """Where this is called. Unlike the functions of ``session``, this does not warn outside of one."""
    host = session_host.current()
    if host is None:
        return Place()
    return Place(host.get_trial_id(), host.get_trial_name(), host.get_experiment_name(), host.get_world_rank())
