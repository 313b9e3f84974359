"""Topics with numbers: what the controller tells whoever listens, and who waits for which news. Pure.

A topic's number grows with each new value. A listener names the topics it wants with the numbers it has; it is answered
at once when one of them differs from the controller's, and otherwise when the first of them gets a new value.

The first number comes from outside and must be larger than any number of an earlier controller (its start, in
nanoseconds): so listeners that knew an earlier controller are told everything once, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

Topic = tuple[str, ...]
News = dict[Topic, tuple[int, Any]]


class Broadcast:
    """Values by topic, and those who wait for them. A waiter is anything hashable: the shell's future."""

    def __init__(self, first_number: int) -> None:
        self._first = first_number
        self._last = first_number
        self._values: dict[Topic, tuple[int, Any]] = {}
        self._waiting: dict[Hashable, tuple[Topic, ...]] = {}
        self._waiters: dict[Topic, dict[Hashable, None]] = {}

    def get(self, topic: Topic) -> tuple[int, Any]:
        """Number and value of a topic; those of one that never had a value are the first number and None."""
        return self._values.get(topic, (self._first, None))

    def set(self, topic: Topic, value: Any) -> dict[Hashable, News]:
        """Give a topic a value. Returns what to answer to whom; nobody, when it had this value."""
        if self.get(topic)[1] == value:
            return {}
        self._last += 1
        self._values[topic] = (self._last, value)
        waiters = list(self._waiters.get(topic, ()))
        answers: dict[Hashable, News] = {waiter: {topic: self._values[topic]} for waiter in waiters}
        for waiter in waiters:
            self.forget(waiter)
        return answers

    def news(self, known: Mapping[Topic, int]) -> News:
        """The topics of ``known`` whose number is another one here."""
        return {topic: self.get(topic) for topic, number in known.items() if self.get(topic)[0] != number}

    def wait(self, waiter: Hashable, topics: Iterable[Topic]) -> None:
        """Let ``waiter`` be answered by the next :meth:`set` of one of ``topics``."""
        self._waiting[waiter] = tuple(topics)
        for topic in self._waiting[waiter]:
            self._waiters.setdefault(topic, {})[waiter] = None

    def forget(self, waiter: Hashable) -> None:
        """``waiter`` does not wait any more. Harmless when it did not."""
        for topic in self._waiting.pop(waiter, ()):
            waiters = self._waiters.get(topic)
            if waiters is not None:
                waiters.pop(waiter, None)
                if not waiters:
                    del self._waiters[topic]

    def drop(self, topic: Topic) -> dict[Hashable, News]:
        """Tell listeners that ``topic`` is gone (None), and keep no more of it than that.

        What stays is its number: it must never have the same one again with another value.
        """
        return self.set(topic, None)

    def has_waiters(self, topic: Topic) -> bool:
        """Whether anybody waits for this topic."""
        return topic in self._waiters

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)


class Audience:
    """Whether listeners have heard what was published: one that was answered has, as soon as it asks again. Pure.

    Those without a name ("") are not waited for; one that was answered and hangs, as long as :meth:`patience` is told.
    """

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}  # how often each listener has asked
        self._answered: dict[
            str, tuple[float, frozenset[Topic]]
        ] = {}  # those that have not asked again: when, for what

    def asks(self, listener: str) -> int:
        """A listener asks. Returns which question of it this is."""
        self._answered.pop(listener, None)
        question = self._asked[listener] = self._asked.get(listener, 0) + 1
        return question

    def answered(self, listener: str, question: int, topics: Iterable[Topic], now: float) -> None:
        """A listener got the answer to a question about these; an earlier question than its last one does not count."""
        if listener and self._asked.get(listener) == question:
            self._answered[listener] = (now, frozenset(topics))

    def left(self, listener: str, question: int) -> None:
        """A listener took back a question. It was its last one, unless it has asked another since."""
        if self._asked.get(listener) == question:
            self._answered.pop(listener, None)

    def gone(self, listener: str) -> None:
        """A listener will ask no more; what it is answered from now on does not count."""
        self._answered.pop(listener, None)
        self._asked.pop(listener, None)

    def patience(self, topic: Topic, most_s: float, now: float) -> float:
        """How much longer to wait for those that have not asked again, each for ``most_s``; 0: all have heard."""
        away = [when for when, topics in self._answered.values() if topic in topics and when > now - most_s]
        return max(away) + most_s - now if away else 0.0

    def forget_absent(self, since: float) -> None:
        """Those that have not asked again since then have died."""
        for listener in [each for each, (when, _) in self._answered.items() if when < since]:
            del self._answered[listener]
            del self._asked[listener]
