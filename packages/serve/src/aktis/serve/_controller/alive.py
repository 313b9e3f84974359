"""How the death of an actor is noticed at once: a call that never returns waits in it, and fails when the actor ends."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

RETRY_S = 0.1


class Ending(enum.Enum):
    """What became of an actor."""

    DEAD = enum.auto()  # for good
    INTERRUPTED = enum.auto()  # its process is started again, or could not be reached for a moment


async def stay(actor: Any) -> None:
    """Runs in the actor watched. An async actor goes on with other calls meanwhile."""
    await asyncio.Event().wait()


async def until_ending(handle: Any) -> tuple[Ending, str]:
    """Returns when the actor has ended: how, and why, as text."""
    from aktis.exceptions import ActorUnavailableError, AktisError, TaskCancelledError

    try:
        await handle.__ray_call__.remote(stay)
    except (ActorUnavailableError, TaskCancelledError) as error:
        return Ending.INTERRUPTED, str(error)
    except AktisError as error:
        return Ending.DEAD, str(error)
    return Ending.INTERRUPTED, "the call that waited in it returned"


async def until_death(handle: Any) -> str:
    """Returns when the actor is dead for good: why, as text."""
    while True:
        ending, reason = await until_ending(handle)
        if ending is Ending.DEAD:
            return reason
        await asyncio.sleep(RETRY_S)
