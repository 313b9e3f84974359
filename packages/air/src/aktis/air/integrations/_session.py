"""Where the user's function runs: the trial's name and the rank, or nothing when it is called by itself."""

from __future__ import annotations

import warnings
from typing import NamedTuple

__all__ = ["Place", "here"]


class Place(NamedTuple):
    """Of the session that this process is part of; None outside of one."""

    trial_id: str | None = None
    trial_name: str | None = None
    experiment_name: str | None = None
    rank: int = 0


def here() -> Place:
    """Where this is called."""
    from aktis.air import session

    with warnings.catch_warnings():  # outside of a session its functions warn, and say None
        warnings.simplefilter("ignore")
        return Place(
            session.get_trial_id(),
            session.get_trial_name(),
            session.get_experiment_name(),
            session.get_world_rank() or 0,
        )
