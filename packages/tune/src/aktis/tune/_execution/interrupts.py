"""Ctrl-C during a run: once, and the run ends in order; twice, and it ends at once.

The handler only counts, and the loop looks: nothing is interrupted half-way. A signal that arrives while the loop waits for
trials is seen when the wait ends, after :data:`WAIT_S` at the latest.
"""

from __future__ import annotations

import logging
import signal
import threading
from types import TracebackType
from typing import Any

from aktis.tune import _settings

WAIT_S = 0.2

logger = logging.getLogger(__name__)


class Interrupts:
    """SIGINT, as long as the block runs. Outside of the main thread, or where it is switched off, nothing is changed."""

    def __init__(self) -> None:
        self.count = 0
        self._previous: Any = None
        self._installed = False

    def __enter__(self) -> Interrupts:
        if _settings.sigint_handler() and threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            signal.signal(signal.SIGINT, self._on_signal)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)

    def _on_signal(self, number: int, frame: Any) -> None:
        self.count += 1
        if self.count == 1:
            logger.warning(
                "Ctrl-C: trials are stopped and the state is saved. Once more: everything is stopped at once, without "
                "last checkpoints"
            )
        elif self.count > 3:
            raise KeyboardInterrupt  # something is stuck
