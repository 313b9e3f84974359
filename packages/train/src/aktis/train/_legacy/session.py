"""What a training function of the older ``Trainer`` sees: each checkpoint that is saved is a round of its own.

::

    worker                                          trainer
    train.report(loss=1)          ─── results ───►  callbacks
    train.save_checkpoint(e=1)    ─── SAVED ─────►  checkpoints/checkpoint_000001, no results

so that a checkpoint is safe when ``save_checkpoint`` returns, as many as there are between two reports.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.air import session_host
from aktis.train import constants
from aktis.train._execution.session import WorkerSession
from aktis.train.error import SessionMisuseError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint

__all__ = ["SAVED", "LegacySession", "TrainFunction"]

SAVED = "_checkpoint_saved"
"""In the metrics of a round that is nothing but a checkpoint."""


@dataclass(frozen=True)
class TrainFunction:
    """The training loop that the workers run: the user's function in a :class:`LegacySession`.

    Args:
        function: The user's.
        takes_config: Whether it takes the configuration.
        detailed: Whether results get the detailed keys.
    """

    function: Callable[..., Any]
    takes_config: bool
    detailed: bool

    def __call__(self, config: dict[str, Any]) -> Any:
        inner = session_host.current()
        if not isinstance(inner, WorkerSession):
            raise SessionMisuseError("the training function of a Trainer runs in its workers only")
        with session_host.installed(LegacySession(inner, self.detailed)):
            return self.function(config) if self.takes_config else self.function()


class LegacySession(WorkerSession):
    """The session of one rank.

    Args:
        inner: The session that the worker has made, which does the work.
        detailed: Whether results get the detailed keys.
    """

    def __init__(self, inner: WorkerSession, detailed: bool = False) -> None:
        super().__init__(inner._setup, inner._rank, inner._shards)
        self._inner = inner
        self._place = _place() if detailed else None
        self._iteration = 0
        self._last = time.perf_counter()
        self._total = 0.0

    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        seconds = time.perf_counter() - self._last
        self._total += seconds
        self._iteration += 1
        plain = {name: _unwrapped(value) for name, value in metrics.items()}
        self._inner.report({**plain, **self._filled_in(seconds)}, checkpoint=checkpoint)
        self._last = time.perf_counter()

    def _filled_in(self, seconds: float) -> Mapping[str, Any]:
        now = time.time()
        basic = {
            constants.TIMESTAMP: int(now),
            constants.TIME_THIS_ITER_S: seconds,
            constants.TRAINING_ITERATION: self._iteration,
        }
        if self._place is None:
            return basic
        date = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))
        return {**basic, **self._place, constants.DATE: date, constants.TIME_TOTAL_S: self._total}

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint, and return when it is safe."""
        from aktis.air.checkpoint import Checkpoint

        values = {name: _unwrapped(value) for name, value in checkpoint.to_dict().items()}
        stamped = Checkpoint.from_dict({constants.TIMESTAMP: int(time.time()), **values})
        self._inner.report({SAVED: True}, checkpoint=stamped)

    def get_checkpoint(self) -> Checkpoint | None:
        return self._inner.get_checkpoint()


def _unwrapped(value: Any) -> Any:
    """The model in a DistributedDataParallel, which is of use where there is a process group only."""
    parallel = sys.modules.get("torch.nn.parallel")  # if nobody imported it, there are none
    return value.module if parallel is not None and isinstance(value, parallel.DistributedDataParallel) else value


def _place() -> dict[str, Any]:
    from aktis.util import get_node_ip_address

    return {
        constants.HOSTNAME: socket.gethostname(),
        constants.NODE_IP: get_node_ip_address(),
        constants.PID: os.getpid(),
    }
