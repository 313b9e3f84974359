"""What aktis.air raises.

::

    AirError
    ├── CheckpointError
    │   ├── CheckpointNotFoundError    (FileNotFoundError, RuntimeError) there is nothing at that path or URI
    │   ├── TornCheckpointError        (ValueError) half of a checkpoint: its writing or copying was interrupted
    │   ├── CheckpointFormatError      (ValueError) a newer version wrote it, or it is none
    │   └── CheckpointContentError     (TypeError) a value that cannot be stored; names where in the checkpoint it is
    ├── StorageError                   (OSError) a transfer failed: names the file and the URI
    │   └── StorageTimeoutError        (TimeoutError) a transfer took longer than ``sync_timeout``
    ├── SessionError                   (RuntimeError) a session function that has no meaning where it was called
    ├── WorkerStartError               (RuntimeError) workers of a group were not there in time
    └── PredictorNotSerializableException  (RuntimeError) predictors are not pickled; checkpoints are

A wrong argument is a ``ValueError`` or a ``TypeError`` of its own, which says what to write instead.
"""

from __future__ import annotations

import logging

__all__ = [
    "AirError",
    "CheckpointContentError",
    "CheckpointError",
    "CheckpointFormatError",
    "CheckpointNotFoundError",
    "PredictorNotSerializableException",
    "SessionError",
    "StorageError",
    "StorageTimeoutError",
    "TornCheckpointError",
    "WorkerStartError",
]

logger = logging.getLogger(__name__)


def add_note(error: BaseException, text: str) -> None:
    """Say with an error what it came from: below its traceback, or, where Python has no notes (before 3.11), in the log."""
    note = getattr(error, "add_note", None)
    if note is not None:
        note(text)
    else:
        logger.error("%s: %s; %s", type(error).__name__, error, text)


class AirError(Exception):
    """Root of everything that aktis.air raises on its own account."""


class CheckpointError(AirError):
    """Something is wrong with a checkpoint."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError, RuntimeError):
    """There is no checkpoint at that path or URI."""


class TornCheckpointError(CheckpointError, ValueError):
    """Only part of a checkpoint is there: whoever wrote or copied it was interrupted. Use an older one."""


class CheckpointFormatError(CheckpointError, ValueError):
    """This version cannot read it: a newer one wrote it, or it is no checkpoint at all."""


class CheckpointContentError(CheckpointError, TypeError):
    """A value in a checkpoint that cannot be stored, or not be read back; the message names its place."""


class StorageError(AirError, OSError):
    """A transfer between this machine and a URI failed. The message names the file and the URI, ``__cause__`` says why."""


class StorageTimeoutError(StorageError, TimeoutError):
    """A transfer took too long."""


class SessionError(AirError, RuntimeError):
    """A session function was called where it has no meaning."""


class WorkerStartError(AirError, RuntimeError):
    """Workers of a group were not there in time: too few resources are free, or a machine does not answer."""


class PredictorNotSerializableException(AirError, RuntimeError):
    """Predictors hold models, perhaps on a GPU, so they are not pickled: pass the checkpoint, and load it where it is used."""
