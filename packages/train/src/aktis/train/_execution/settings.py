"""What the environment says about training runs. It is read on the driver and goes with the trainer."""

from __future__ import annotations

from dataclasses import dataclass

from aktis.train import _settings

__all__ = ["Settings"]

_VARIABLES = {
    "start_timeout_s": _settings.START_TIMEOUT,
    "heartbeat_period_s": _settings.HEARTBEAT_PERIOD,
    "heartbeat_timeout_s": _settings.HEARTBEAT_TIMEOUT,
    "report_timeout_s": _settings.REPORT_TIMEOUT,
    "shutdown_patience_s": _settings.SHUTDOWN_PATIENCE,
}


@dataclass(frozen=True)
class Settings:
    """Time limits of a training run, in seconds.

    Attributes:
        start_timeout_s: How long workers may take to be there (TRAIN_PLACEMENT_GROUP_TIMEOUT_S).
        heartbeat_period_s: How often workers are asked how they are (TRAIN_HEARTBEAT_PERIOD_S).
        heartbeat_timeout_s: How long a worker may take to answer that (TRAIN_HEARTBEAT_TIMEOUT_S).
        report_timeout_s: How long a worker may take to report after another one has (TRAIN_REPORT_TIMEOUT_S).
        shutdown_patience_s: How long workers may take to end (TRAIN_SHUTDOWN_PATIENCE_S).
    """

    start_timeout_s: float = 100.0
    heartbeat_period_s: float = 5.0
    heartbeat_timeout_s: float = 120.0
    report_timeout_s: float = 1800.0
    shutdown_patience_s: float = 5.0

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings by the environment variables.

        Raises:
            ValueError: one is no positive number.
        """
        return cls(**{field: variable.read() for field, variable in _VARIABLES.items()})
