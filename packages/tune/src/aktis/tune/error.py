"""What aktis.tune raises.

::

    TuneError
    ├── DependencyNotReadyError   a sample_from function read a variable that is not resolved yet: it is tried again later
    ├── RecursiveDependencyError  variables that wait for each other
    ├── ExperimentDirectoryError  (ValueError) a directory that holds no experiment, half of one, or one of a newer version
    └── TrialError                a trial failed; ``trial_id`` and the remote traceback say which and where
"""

from __future__ import annotations


class TuneError(Exception):
    """Root of everything that aktis.tune raises on its own account."""


class DependencyNotReadyError(TuneError):
    """A function of the search space read a variable that is not resolved yet."""


class RecursiveDependencyError(TuneError):
    """Variables of the search space wait for each other."""


class ExperimentDirectoryError(TuneError, ValueError):
    """A directory that holds no experiment, only half of one, or one that a newer version wrote."""


class TrialError(TuneError):
    """A trial failed. The message is the remote traceback."""

    def __init__(self, message: str = "", trial_id: str | None = None) -> None:
        super().__init__(message, trial_id)
        self.message = message
        self.trial_id = trial_id

    def __str__(self) -> str:
        return self.message
