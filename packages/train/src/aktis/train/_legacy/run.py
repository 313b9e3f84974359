"""One run of the older ``Trainer``: rounds of the executor, made anew when workers are lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from aktis.air.exceptions import WorkerStartError
from aktis.train._legacy.session import SAVED
from aktis.train.constants import BASIC_AUTOFILLED_KEYS, DETAILED_AUTOFILLED_KEYS
from aktis.train.error import TrainingFailedError, UnequalReportsError, WorkerHungError, WorkerLostError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.train._execution.executor import Round, TrainExecutor

__all__ = ["Attempts", "Run", "is_retried"]

logger = logging.getLogger(__name__)

_FILLED_IN = BASIC_AUTOFILLED_KEYS | DETAILED_AUTOFILLED_KEYS


def is_retried(error: BaseException) -> bool:
    """Whether it is nobody's fault, so that the workers are made anew: they died, or hang."""
    died_at_its_start = (
        isinstance(error, WorkerStartError) and error.__cause__ is not None
    )  # else it did not come in time
    return died_at_its_start or isinstance(error, (WorkerLostError, WorkerHungError))


class Attempts:
    """Counts how often workers were made anew.

    Args:
        most: How often they may; -1: always.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.failures = 0

    def after(self, error: BaseException) -> None:
        """Go on after ``error``, or raise.

        Raises:
            TrainingFailedError: that was once too often.
        """
        self.failures += 1
        if 0 <= self.most < self.failures:
            raise TrainingFailedError(
                f"training has failed {self.failures} times because of its workers, which max_retries={self.most} does not "
                f"allow. The last time: {error}"
            ) from error
        limit = "" if self.most < 0 else f" ({self.failures} of {self.most} retries)"
        logger.warning("the workers are made anew%s: %s", limit, error)


class Checkpoints(Protocol):
    """Where the checkpoints of a run go."""

    @property
    def latest(self) -> Checkpoint | None:
        """The newest; None when there is none."""

    def add(self, written: str, metrics: Mapping[str, Any]) -> None:
        """Take over a complete one from a directory with a temporary name; ``metrics`` were reported with it."""


class Run:
    """The results of a run, one list for each report. Errors end it.

    Args:
        executor: Its workers were started.
        begin: Gives the workers what they are to run, from a checkpoint.
        restart: Makes the workers anew.
        attempts: How often that is allowed.
        checkpoints: Where checkpoints go.
        initial: What the run begins with.
    """

    def __init__(
        self,
        executor: TrainExecutor,
        begin: Callable[[Checkpoint | None], None],
        restart: Callable[[], None],
        attempts: Attempts,
        checkpoints: Checkpoints,
        initial: Checkpoint | None,
    ) -> None:
        self._executor = executor
        self._begin = begin
        self._restart = restart
        self._attempts = attempts
        self._checkpoints = checkpoints
        self._initial = initial
        self._rounds: Iterator[Round] | None = None

    def start(self) -> None:
        """Give the workers what they are to run. Their failures count as those of the run."""
        while self._rounds is None:
            try:
                self._begin(self._checkpoints.latest or self._initial)
                self._rounds = self._executor.rounds()
            except Exception as error:
                self._again(error)

    def next(self) -> list[dict[str, Any]] | None:
        """The results of the next report, by rank; None at the end."""
        while True:
            assert self._rounds is not None
            try:
                current = next(self._rounds, None)
            except Exception as error:
                self._again(error)
                self.start()
                continue
            if current is None:
                self._save_last()
                return None
            is_result = not _is_checkpoint_only(current.metrics)
            if current.checkpoint is not None:
                metrics = {key: value for key, value in current.metrics[0].items() if key != SAVED}
                self._checkpoints.add(current.checkpoint, metrics)
                latest = self._checkpoints.latest
                current.persisted = None if latest is None else latest.path
            if is_result:
                return [_own_first(result) for result in current.metrics]

    def _again(self, error: Exception) -> None:
        """Make the workers anew after ``error``, or raise it."""
        self._rounds = None
        while True:
            if not is_retried(error):
                raise error
            self._attempts.after(error)
            try:
                self._restart()
                return
            except Exception as another:
                error = another

    def _save_last(self) -> None:
        """A checkpoint that the executor still has, after the last report."""
        left = self._executor.last_checkpoint
        if left is not None:
            self._checkpoints.add(left, {})


def _is_checkpoint_only(metrics: list[dict[str, Any]]) -> bool:
    saved = [SAVED in result for result in metrics]
    if any(saved) and not all(saved):
        savers = [rank for rank, has_saved in enumerate(saved) if has_saved]
        reporters = [rank for rank, has_saved in enumerate(saved) if not has_saved]
        raise UnequalReportsError(
            f"the ranks {savers} saved a checkpoint where the ranks {reporters} reported results: all ranks must call "
            "train.save_checkpoint and train.report equally often and in the same order (what rank 0 saves is kept)"
        )
    return all(saved)


def _own_first(result: dict[str, Any]) -> dict[str, Any]:
    """A result with what was reported in front of what is filled in, for those who print it."""
    return {key: result[key] for key in sorted(result, key=_FILLED_IN.__contains__)}
