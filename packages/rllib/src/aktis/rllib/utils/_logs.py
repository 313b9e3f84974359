"""What `log_level` of a configuration does."""

from __future__ import annotations

import logging

__all__ = ["set_log_level"]

LOGGER = "aktis.rllib"


def set_log_level(level: str) -> None:
    """Let the loggers of aktis.rllib in this process say more, or less. "WARN", the default, leaves them as they are.

    Where nobody has set logging up, as in the processes of workers, messages go to stderr.
    """
    if level == "WARN":
        return
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger.addHandler(handler)
