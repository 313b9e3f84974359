"""What holds generators for Ray Client. Needs Ray, and no cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("ray")


class Letters:
    """Stands for a remote function of Ray's: its generators give references that can be awaited."""

    def options(self, **options: Any) -> Letters:
        if options:
            raise ValueError("refused")
        return self

    def remote(self, text: str) -> AsyncIterator[str]:
        async def items() -> AsyncIterator[str]:
            for letter in text:
                yield letter

        return items()


def test_calls_may_start_before_the_one_that_opens() -> None:
    """As those of an async actor do on a busy cluster."""
    from aktis._ray.relay import Relay

    async def main() -> None:
        relay = Relay()
        first = asyncio.ensure_future(relay.next(1))
        closed = asyncio.ensure_future(relay.close(2, cancel=False))
        await asyncio.sleep(0)
        await relay.open_task(1, Letters(), {}, ("ab",), {})
        await relay.open_task(2, Letters(), {}, ("cd",), {})
        assert await first == ["a"]
        assert await relay.next(1) == ["b"]
        assert await relay.next(1) is None
        await closed
        assert await relay.next(2) is None
        assert await relay.completed(2) is None

    asyncio.run(main())


def test_what_cannot_be_opened_says_why() -> None:
    from aktis._ray.relay import Relay

    async def main() -> None:
        relay = Relay()
        first = asyncio.ensure_future(relay.next(1))
        await relay.open_task(1, Letters(), {"bad": 1}, (), {})
        with pytest.raises(ValueError, match="refused"):
            await first

    asyncio.run(main())
