"""What to do when storage fails for a moment, and when a file cannot be read at all."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from aktis.data.context import DatasetContext
from aktis.data.exceptions import DataError, ReadError

T = TypeVar("T")
log = logging.getLogger("aktis.data")

_LONGEST_PAUSE = 30.0  # seconds; object stores that ask to slow down recover within such times


@dataclass(frozen=True)
class ReadPolicy:
    """The part of the context that read tasks need. Travels with each of them, so it is small."""

    on_error: Literal["raise", "skip"]
    retried: tuple[str, ...]
    retries: int
    target_block_bytes: int
    task_bytes: int  # in memory, that a task should read

    @staticmethod
    def of(context: DatasetContext, on_error: str | None = None) -> ReadPolicy:
        chosen = context.on_unreadable_file if on_error is None else on_error
        if chosen not in ("raise", "skip"):
            raise ValueError(f"on_error is 'raise' or 'skip', got {chosen!r}")
        return ReadPolicy(
            "skip" if chosen == "skip" else "raise",
            tuple(context.retried_io_errors),
            context.io_retries,
            context.target_max_block_size,
            max(1, context.read_task_size),
        )

    def fitted(self, context: DatasetContext) -> ReadPolicy:
        """The same, with the sizes of this context."""
        return replace(
            self, target_block_bytes=context.target_max_block_size, task_bytes=max(1, context.read_task_size)
        )

    def is_transient(self, error: BaseException) -> bool:
        """Whether the same call may well succeed a moment later."""
        if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, DataError)):
            return False
        text = f"{type(error).__name__}: {error}"
        return isinstance(error, Exception) and any(part in text for part in self.retried)

    def call(self, function: Callable[[], T]) -> T:
        """``function()``, again after growing pauses as long as its errors are transient."""
        for attempt in range(self.retries + 1):
            try:
                return function()
            except Exception as error:
                if attempt == self.retries or not self.is_transient(error):
                    raise
                _pause(attempt, error)
        raise AssertionError("unreachable")

    def stream(self, make: Callable[[], Iterator[T]]) -> Iterator[T]:
        """The items of ``make()``. After a transient error it is made anew, and what was given already is skipped."""
        given = attempt = 0
        while True:
            skip = given
            try:
                for item in make():
                    if skip:
                        skip -= 1
                        continue
                    given += 1
                    attempt = 0
                    yield item
                return
            except Exception as error:
                if attempt >= self.retries or not self.is_transient(error):
                    raise
                _pause(attempt, error)
                attempt += 1

    def guard(self, path: str, items: Callable[[], Iterator[T]]) -> Iterator[T]:
        """The items read from one file. Any failure names the file, or (``skip``) ends it with a warning."""
        try:
            yield from self.stream(items)
        except (DataError, MemoryError, ImportError):
            raise
        except Exception as error:
            failure = read_error(path, error)
            if self.on_error == "raise":
                raise failure from error
            log.warning("left out: %s", failure.args[0])


def read_error(path: str, cause: BaseException | str) -> ReadError:
    """A :class:`ReadError` that names the file, what went wrong, and the way around it."""
    if isinstance(cause, str):
        why = cause
    else:
        why = str(cause).strip() or type(cause).__name__
        if not isinstance(cause, (OSError, ValueError)):
            why = f"{type(cause).__name__}: {why}"
    error = ReadError(
        f"Cannot read {path}: {why.rstrip('.')}. "
        f'Files that cannot be read are left out with on_error="skip" or DatasetContext.on_unreadable_file = "skip".'
    )
    error.path = path
    return error


def _pause(attempt: int, error: BaseException) -> None:
    """Exponential back-off with full jitter."""
    # Not part of any result, so its randomness needs no seed.
    seconds = random.uniform(0, min(_LONGEST_PAUSE, 0.25 * 2**attempt))
    log.info("trying again in %.1f s after %s: %s", seconds, type(error).__name__, error)
    time.sleep(seconds)
