"""How the workers of an XGBoost training find each other: the tracker of XGBoost, in the trainer's process.

::

    trainer   RabitTracker ── its address ──► workers      (on_start)
    workers   their training thread joins the tracker's group (:func:`collective`), trains, and leaves it
    trainer   frees the tracker                            (on_shutdown)

A worker that raises does not leave the group in good order, which would be to wait for the others: it is the executor that ends
all workers then. Where all are stopped at once, in ``report``, all leave.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from aktis.air.function_run import Stopped
from aktis.train._gbdt.contact import LostContactError
from aktis.train._gbdt.libraries import import_library
from aktis.train.backend import Backend, BackendConfig

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerGroup

__all__ = ["XGBoostConfig", "collective"]

logger = logging.getLogger(__name__)

_OF_NETWORK = "/collective/"  # in the name of the source file that XGBoost's errors begin with
_FREE_TIMEOUT_S = 5.0  # freeing a tracker is a matter of milliseconds, unless it waits for the dead


@dataclass
class XGBoostConfig(BackendConfig):
    """How the workers are connected.

    Args:
        xgboost_communicator: "rabit", the only one there is.
        timeout_s: Seconds after which workers that have not all come together fail.

    Raises:
        ValueError: something else.
    """

    xgboost_communicator: str = "rabit"
    timeout_s: float = 300

    def __post_init__(self) -> None:
        if self.xgboost_communicator != "rabit":
            raise ValueError(f"xgboost_communicator must be 'rabit', not {self.xgboost_communicator!r}")
        if isinstance(self.timeout_s, bool) or not isinstance(self.timeout_s, (int, float)) or not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be a number of seconds above 0, not {self.timeout_s!r}")

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return _XGBoostBackend


class _XGBoostBackend(Backend):
    needs_processes = True

    def __init__(self) -> None:
        self._tracker: Any = None

    def on_start(self, worker_group: WorkerGroup, backend_config: XGBoostConfig) -> None:
        if len(worker_group) == 1:
            worker_group.execute(_remember, None)
            return
        tracker = import_library("xgboost.tracker").RabitTracker(
            n_workers=len(worker_group),
            host_ip=_address_for(worker_group),
            sortby="task",  # by the names that the workers give themselves: XGBoost's ranks are ours
            timeout=max(1, round(backend_config.timeout_s)),
        )
        tracker.start()
        self._tracker = tracker
        arguments = {**tracker.worker_args(), "dmlc_timeout": max(1, round(backend_config.timeout_s))}
        worker_group.execute_ranked(_remember_ranked, arguments)

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: XGBoostConfig) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is None:
            return
        thread = threading.Thread(target=_free, args=(tracker,), name="aktis-free-xgboost-tracker", daemon=True)
        thread.start()
        thread.join(_FREE_TIMEOUT_S)


def _free(tracker: Any) -> None:
    try:
        tracker.free()
    except Exception as error:
        logger.debug("the tracker of XGBoost could not be freed: %s", error)


def _address_for(worker_group: WorkerGroup) -> str:
    """The address of this machine that the workers reach."""
    from aktis.util import get_node_ip_address

    own = str(get_node_ip_address())
    elsewhere = [worker.metadata.node_ip for worker in worker_group.workers if worker.metadata.node_ip != own]
    if elsewhere and own.startswith("127."):
        import socket

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # nothing is sent
            probe.connect((elsewhere[0], 1))
            return str(probe.getsockname()[0])
    return own


# -- in the workers ------------------------------------------------------------------------------------------------------

_arguments: dict[str, Any] | None = None  # of the group that this worker belongs to; None: it trains alone


def _remember(arguments: dict[str, Any] | None) -> None:
    global _arguments
    _arguments = arguments


def _remember_ranked(rank: int, arguments: dict[str, Any]) -> None:
    _remember({**arguments, "dmlc_task_id": f"{rank:08d}"})  # sorted as text


class _WithoutRank(io.TextIOBase):
    """Output without what XGBoost always prints: "Task 00000001 got rank 1"."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._skips = False

    def write(self, text: str) -> int:
        if " Task " in text and " got rank " in text:
            self._skips = not text.endswith("\n")
        elif self._skips and text == "\n":
            self._skips = False
        else:
            self._out.write(text)
        return len(text)

    def flush(self) -> None:
        self._out.flush()


@contextlib.contextmanager
def collective() -> Iterator[None]:
    """Be a member of the workers' group in this thread; does nothing where there is one worker.

    Left in good order if the block ends well, or if all workers are stopped: else this one would wait for those that do not
    know yet.
    """
    if _arguments is None:
        yield
        return
    library = import_library("xgboost")
    try:
        with contextlib.redirect_stdout(_WithoutRank(sys.stdout)):
            library.collective.init(**_arguments)
        try:
            yield
        except Stopped:
            library.collective.finalize()
            raise
        library.collective.finalize()
    except library.core.XGBoostError as error:
        if _OF_NETWORK not in str(error):
            raise
        raise LostContactError(f"the network of XGBoost broke: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip("- ") for line in str(error).splitlines() if line.startswith("- ")]
    return "; ".join(lines) or type(error).__name__


def in_collective(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run as a member of the group."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        with collective():
            return function(*args)

    return run
