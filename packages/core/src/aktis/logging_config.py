"""How the processes of a session write their logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoggingConfig:
    """``aktis.init(logging_config=...)``: the root logger of the driver's workers, as text or as JSON lines."""

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        import logging

        if self.encoding not in ("TEXT", "JSON"):
            raise ValueError(f"encoding must be 'TEXT' or 'JSON', got {self.encoding!r}")
        if not isinstance(logging.getLevelName(str(self.log_level).upper()), int):
            raise ValueError(f"log_level must be a level of the logging module, got {self.log_level!r}")
        known = set(logging.makeLogRecord({}).__dict__) | {"asctime", "message"}
        unknown = [name for name in self.additional_log_standard_attrs if name not in known]
        if unknown:
            raise ValueError(f"additional_log_standard_attrs: {unknown[0]!r} is not an attribute of log records")
