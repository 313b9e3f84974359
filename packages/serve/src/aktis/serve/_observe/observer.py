"""What a proxy does with its numbers: metrics each second, the access log, and tracing where it is on."""

from __future__ import annotations

from typing import Any

from aktis.serve._observe.counters import Counters


class Observer:
    """Made when a proxy starts; see the module's docstring."""

    def __init__(self, index: int, options: Any, counters: Counters, dispatcher: Any) -> None:
        self._counters = counters
        self._dispatcher = dispatcher

    def flush(self) -> None:
        """Once a second."""

    def close(self) -> None:
        """The proxy ends."""
