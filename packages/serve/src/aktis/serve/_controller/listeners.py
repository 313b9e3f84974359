"""Those who wait for news of the controller: the futures around the pure core in broadcast.py. On the controller's loop only.

A listener that has been answered is waited for until it asks again, so it has to be known when one never will: each has a
call that stays here as long as it listens (:meth:`Listeners.attend`), and the reference of that call, which it owns, fails
here as soon as its process is gone, whatever it was: a driver, a replica, a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from aktis.exceptions import AktisError
from aktis.serve._controller.broadcast import Audience, Broadcast, News, Topic
from aktis.serve._protocol import ROUTES

PATIENCE_S = 1.0
ABSENT_S = 60.0


class Listeners:
    """Topics, and the listen() calls that wait for them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._topics = Broadcast(time.time_ns())
        self._audience = Audience()
        self._moved: asyncio.Future[None] = self._loop.create_future()  # somebody asks, or has left
        self._present: dict[str, asyncio.Future[None]] = {}
        self._watches: set[asyncio.Task[None]] = set()

    def publish(self, topic: Topic, value: Any) -> None:
        """Give a topic a value, and answer who waits for it."""
        for waiter, news in self._topics.set(topic, value).items():
            if isinstance(waiter, asyncio.Future):
                resolve(waiter, news)

    async def listen(self, known: dict[Topic, int], timeout_s: float, listener: str) -> News:
        """See ServeController.listen."""
        question = self._audience.asks(listener)
        self._wake()
        try:
            if not self._topics.news(known) and timeout_s > 0:
                await self._change(known, timeout_s)
        except asyncio.CancelledError:  # it asks for something else, or leaves: it got no answer
            self._audience.left(listener, question)
            raise
        # All of it: a step may have changed several topics. Routes first: who takes requests hears first that it ends.
        news = self._topics.news(known)
        now = self._loop.time()
        self._audience.answered(listener, question, known, now)
        self._audience.forget_absent(now - ABSENT_S)
        return dict(sorted(news.items(), key=lambda each: each[0] != (ROUTES,)))

    async def attend(self, listener: str) -> None:
        """Stays as long as the listener does. It takes this call back when it asks no more."""
        here = self._present[listener] = self._loop.create_future()
        try:
            await here
        finally:
            if self._present.get(listener) is here:
                del self._present[listener]
                self._audience.gone(listener)
                self._wake()

    def watch(self, listener: str, presence: Any) -> None:
        """``presence``: the reference of the listener's :meth:`attend`, which came before."""
        task = self._loop.create_task(self._until_absent(self._present.get(listener), presence))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def _until_absent(self, here: asyncio.Future[None] | None, presence: Any) -> None:
        with contextlib.suppress(AktisError):
            await presence
        if here is not None:
            resolve(here, None)

    def _wake(self) -> None:
        moved, self._moved = self._moved, self._loop.create_future()
        resolve(moved, None)

    async def heard(self, topic: Topic, most_s: float = PATIENCE_S) -> bool:
        """Returns when all who listen know the topic's value as it is now; those that hang are waited for ``most_s``.

        False: nobody listens.
        """
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # those that have just been answered go their way
        anybody = self._topics.has_waiters(topic)
        while (patience := self._audience.patience(topic, most_s, self._loop.time())) > 0:
            anybody = True
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._moved), patience)
        return anybody

    async def _change(self, known: dict[Topic, int], timeout_s: float) -> None:
        """Returns when one of the topics changes, or at the time-out."""
        answer: asyncio.Future[News] = self._loop.create_future()
        self._topics.wait(answer, known)
        timer = self._loop.call_later(timeout_s, resolve, answer, {})
        try:
            await answer
        finally:
            timer.cancel()
            self._topics.forget(answer)


def resolve(future: asyncio.Future[Any], value: Any) -> None:
    """Give a future its value, unless it has one or nobody waits any more."""
    if not future.done():
        future.set_result(value)
