"""Functions in threads that nobody waits for any more."""

from __future__ import annotations

import asyncio

from aktis.serve._replica.threads import Threads


def test_a_function_that_returns_between_the_cancellation_and_its_notice() -> None:
    async def scenario() -> list[str]:
        threads = Threads("test", asyncio.get_running_loop())
        ended: list[str] = []
        future = threads.run(lambda: None)
        future.cancel()
        while threads._busy:  # what it returned is delivered, and nobody has asked to be told yet
            await asyncio.sleep(0)
        threads.when_ended(future, lambda: ended.append("told"))
        threads.close()
        return ended

    assert asyncio.run(scenario()) == ["told"]
