"""What is in each worker of a trainer: the training loop in a thread, and what answers questions about it meanwhile."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

import aktis
from aktis.air import session_host
from aktis.air.function_run import Ended as FunctionEnded
from aktis.air.function_run import FunctionRun
from aktis.air.tracebacks import without_our_frames
from aktis.air.worker_group import WorkerHost
from aktis.train._execution.gpu import GpuMeter
from aktis.train._execution.messages import Ended, LoopSetup, RankFacts, Report
from aktis.train._execution.session import WorkerSession
from aktis.train.error import TrainError

__all__ = ["CONTROL", "STACK_SIGNAL", "TrainWorker"]

logger = logging.getLogger(__name__)

CONTROL = "control"  # the concurrency group of what answers while the loop runs
STACK_SIGNAL = signal.SIGRTMIN + 9  # has a worker write its stacks to a file, whatever it is doing


class TrainWorker(WorkerHost):
    """One worker.

    Args:
        name: Name of the trainer, in front of the worker's output.
        stacks: File that the stacks go to with :data:`STACK_SIGNAL`, "{pid}" in it; None: nowhere.
    """

    def __init__(self, name: str, stacks: str | None = None) -> None:
        self._name = name
        self._rank: int | None = None
        self._run: FunctionRun | None = None
        self._session: WorkerSession | None = None
        self._since = time.monotonic()
        self._process: Any = None
        self._gpus: GpuMeter | None = None
        self._output: Any = None
        self._stack_file: Any = None
        if stacks is not None:
            self._write_stacks_to(stacks.format(pid=os.getpid()))

    def __repr__(self) -> str:  # in front of its output on the driver
        return self._name if self._rank is None else f"{self._name} rank={self._rank}"

    def _write_stacks_to(self, path: str) -> None:
        try:
            self._stack_file = open(path, "w", encoding="utf-8")  # stays open for the handler
            faulthandler.register(STACK_SIGNAL, self._stack_file, all_threads=True)
        except (OSError, RuntimeError, ValueError) as error:
            logger.debug("stacks cannot be asked for by signal: %s", error)

    # -- the loop ------------------------------------------------------------------------------------

    def begin(self, setup: LoopSetup, rank: RankFacts, shards: Mapping[str, Any]) -> None:
        """Take over what is to be run; it starts with the first :meth:`next`."""
        self._rank = rank.rank
        session = WorkerSession(setup, rank, shards)
        run = FunctionRun(lambda: self._loop(setup, session), repr(self), error_type=TrainError)
        session.run = run
        self._run, self._session = run, session
        self._since = time.monotonic()
        if setup.facts.log_file and setup.facts.trial_dir:
            self._copy_output(os.path.join(setup.facts.trial_dir, setup.facts.log_file.format(rank=rank.rank)))

    @staticmethod
    def _loop(setup: LoopSetup, session: WorkerSession) -> Any:
        with session_host.installed(session):
            if setup.takes_config:
                return setup.function(setup.config)
            return setup.function()

    def next(self, persisted: str | None = None) -> Report | Ended:
        """Let the loop go on until it reports or ends. What it raises is raised here.

        Args:
            persisted: Where the checkpoint of its last report lies.
        """
        run, session = self._run, self._session
        if run is None or session is None:
            raise TrainError("no training loop was begun in this worker")
        if persisted is not None:
            session.persisted(persisted)
        self._since = time.monotonic()
        try:
            event = run.next()
        except BaseException as error:
            raise without_our_frames(error)  # noqa: B904 - it is the same error
        self._since = time.monotonic()
        if isinstance(event, FunctionEnded):
            return Ended(event.value, session.take_saved())
        report: Report = event.checkpoint
        return report

    def stop(self, timeout: float) -> bool:
        """End the loop where it reports. Returns whether it has ended."""
        return self._run is None or self._run.stop(timeout)

    # -- questions -----------------------------------------------------------------------------------

    @aktis.method(concurrency_group=CONTROL)
    def status(self) -> dict[str, Any]:
        """How it is: what it does, since how many seconds, and what it uses."""
        session = self._session
        waits_since = None if session is None else session.waits_since
        phase = "idle" if session is None else "training" if waits_since is None else "waiting in report"
        since = self._since if waits_since is None else waits_since
        return {
            "rank": self._rank,
            "pid": os.getpid(),
            "phase": phase,
            "seconds": time.monotonic() - since,
            "reports": 0 if session is None else session.reports,
            **self._usage(),
        }

    def _usage(self) -> dict[str, Any]:
        import psutil

        if self._process is None:
            self._process = psutil.Process()
            self._process.cpu_percent()  # counts from call to call, so the first time it is the mean since the process began
            times, age = self._process.cpu_times(), time.time() - self._process.create_time()
            cpu = 100 * (times.user + times.system) / max(age, 0.01)
        else:
            cpu = self._process.cpu_percent()
        if self._gpus is None:
            self._gpus = GpuMeter([str(gpu) for gpu in aktis.get_gpu_ids()])
        with self._process.oneshot():
            return {
                "cpu_percent": cpu,
                "rss_bytes": self._process.memory_info().rss,
                "threads": self._process.num_threads(),
                **self._gpus.sample(),
            }

    @aktis.method(concurrency_group=CONTROL)
    def stack(self) -> str:
        """Where the loop is, as a traceback; empty when it does not run."""
        thread = None if self._run is None else self._run.thread
        frame = None if thread is None or thread.ident is None else sys._current_frames().get(thread.ident)
        return "" if frame is None else "".join(traceback.format_stack(frame))

    # -- output ---------------------------------------------------------------------------------------

    def _copy_output(self, path: str) -> None:
        from aktis.train._execution.output import copy_output_to

        self._output = copy_output_to(path)
