"""What can go wrong in training, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aktis.air.exceptions import SessionError

__all__ = [
    "CheckpointTypeError",
    "DatasetMissingError",
    "NothingReportedWarning",
    "RendezvousError",
    "SessionMisuseError",
    "TrainError",
    "TrainingFailedError",
    "UnequalReportsError",
    "WorkerHungError",
    "WorkerLostError",
]


class TrainError(RuntimeError):
    """Base of the errors of this library."""


class TrainingFailedError(TrainError):
    """``Trainer.fit`` failed. ``__cause__`` is the exception of the first worker that failed; the message says how to go on."""


class UnequalReportsError(TrainError):
    """Some workers reported, or ended, where others did the other thing."""


class DatasetMissingError(TrainError, KeyError):
    """A training loop asked for a data set that the trainer was not given."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class CheckpointTypeError(TrainError, TypeError):
    """A checkpoint holds something else than what it is to be read as: the model of another framework, or none at all."""


class SessionMisuseError(SessionError):
    """A function of the training loop was called where there is none."""


class _RankError(TrainError):
    """An error of some ranks, which pickles.

    Args:
        message: What happened, with the state of each rank.
        ranks: The ranks that are to blame.
    """

    def __init__(self, message: str, ranks: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.ranks = tuple(ranks)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.ranks)


class WorkerLostError(_RankError):
    """Workers died: killed, out of memory, or with their machine. ``ranks`` says which."""


class WorkerHungError(_RankError):
    """Workers do not answer any more, or stopped reporting where others go on. The message has the stack of each rank."""


class RendezvousError(_RankError):
    """The workers did not all come together in time. ``ranks`` are those that are missing."""


class NothingReportedWarning(UserWarning):
    """A training loop returned without a report."""
