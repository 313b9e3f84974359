"""Libraries that say too much."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet(
    *loggers: str, ignore: tuple[str, ...] = (), stdout: bool = False, level: int = logging.WARNING
) -> Iterator[None]:
    """Keep a library quiet while it works.

    Args:
        loggers: Those that log below ``level`` for no good.
        ignore: Beginnings (regular expressions) of warnings that are known and harmless.
        stdout: Whether what it prints is thrown away.
        level: What still comes through.
    """
    with contextlib.ExitStack() as stack:
        for name in loggers:
            logger = logging.getLogger(name)
            before = logger.level
            if logger.getEffectiveLevel() < level:
                stack.callback(logger.setLevel, before)
                logger.setLevel(level)
        if ignore:
            stack.enter_context(warnings.catch_warnings())
            for message in ignore:
                warnings.filterwarnings("ignore", message=message)
        if stdout:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        yield
