"""How the death of an actor is noticed at once: a call that never returns waits in it, and fails when the actor ends."""

from __future__ import annotations

import asyncio
from typing import Any


async def stay(actor: Any) -> None:
    """Runs in the actor watched. An async actor goes on with other calls meanwhile."""
    await asyncio.Event().wait()


async def until_death(handle: Any) -> str:
    """Returns when the actor has ended: why, as text."""
    from aktis.exceptions import AktisActorError, AktisError, TaskCancelledError

    while True:
        try:
            await handle.__ray_call__.remote(stay)
        except AktisActorError as error:
            if type(error).__name__ != "ActorUnavailableError":
                return str(error)
            await asyncio.sleep(0.1)  # it may only have been unreachable
        except TaskCancelledError:
            await asyncio.sleep(0.1)
        except AktisError as error:
            return str(error)
