"""What aktis.data raises.

::

    DataError
    ├── UserFunctionError        a function given to map, filter, ... raised; also an instance of what it raised
    ├── BatchTypeError           (TypeError) a function returned something that is no batch, row or block
    ├── SchemaError              (ValueError) blocks, files or rows that do not fit together
    ├── ReadError                (OSError) a file could not be read: names the file, and the policy that would skip it
    ├── WriteError               (OSError) a write failed; nothing of it is visible
    ├── TooManyErroredBlocksError  more blocks failed than ``DatasetContext.max_errored_blocks`` allows
    └── PreprocessorNotFittedException  (RuntimeError) transform before fit
"""

from __future__ import annotations

import pickle
from typing import Any

__all__ = [
    "BatchTypeError",
    "DataError",
    "PreprocessorNotFittedException",
    "ReadError",
    "SchemaError",
    "TooManyErroredBlocksError",
    "UserFunctionError",
    "WriteError",
]


def _restore(
    cls: type[DataError],
    args: tuple[Any, ...],
    state: dict[str, Any],
    cause: BaseException | None = None,
    number: int | None = None,
) -> DataError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    error.__cause__ = cause
    if number is not None and isinstance(error, OSError):
        error.errno = number
    return error


def _portable(cause: BaseException | None) -> BaseException | None:
    """The cause, if it can be sent to another process."""
    try:
        pickle.loads(pickle.dumps(cause))
    except Exception:
        return None
    return cause


class DataError(Exception):
    """Root of everything that aktis.data raises on its own account."""

    def __reduce__(self) -> tuple[Any, ...]:
        number = self.errno if isinstance(self, OSError) else None
        return _restore, (type(self), self.args, self.__dict__, _portable(self.__cause__), number)


class UserFunctionError(DataError):
    """A function given to a Dataset raised.

    The error is also an instance of the class that the function raised, so ``except ValueError`` works. ``operator``,
    ``function``, ``origin`` (file and rows, where known) and ``batch_schema`` say where; ``__cause__`` is the original.
    """

    operator: str = ""
    function: str = ""
    origin: str = ""
    batch_schema: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_user_error, (self.args, self.__dict__, self.__cause__)


def _restore_user_error(args: tuple[Any, ...], state: dict[str, Any], cause: BaseException | None) -> UserFunctionError:
    error = user_function_error(args[0] if args else "", cause)
    error.__dict__.update(state)
    return error


def user_function_error(message: str, cause: BaseException | None, **where: str) -> UserFunctionError:
    """A :class:`UserFunctionError` that is an instance of the cause's class, too, where Python allows that."""
    kind: type[UserFunctionError] = UserFunctionError
    if isinstance(cause, Exception) and not isinstance(cause, UserFunctionError):
        try:
            name = f"UserFunctionError({type(cause).__name__})"
            kind = type(name, (UserFunctionError, type(cause)), {"__module__": __name__, "__str__": _message})
            error = kind.__new__(kind)
            error.args = (message,)
        except TypeError:  # a class that cannot be subclassed, or with a layout of its own
            error = UserFunctionError(message)
    else:
        error = UserFunctionError(message)
    error.__dict__.update(where)
    error.__cause__ = cause
    return error


def _message(error: BaseException) -> str:
    return str(error.args[0]) if error.args else ""


class BatchTypeError(DataError, TypeError, ValueError):
    """A function returned something that is no batch. A ValueError, too: that is what Ray raises."""


class SchemaError(DataError, ValueError):
    """Rows, blocks or files whose columns or types do not fit together."""


class ReadError(DataError, OSError):
    """A file could not be read. ``path`` names it."""

    path: str = ""


class WriteError(DataError, OSError):
    """A write failed. Nothing half-written is visible, and the same call may be repeated.

    ``errno`` and ``__cause__`` are those of the storage's error.
    """


class TooManyErroredBlocksError(DataError):
    """More blocks failed than ``DatasetContext.max_errored_blocks`` allows. ``__cause__`` is the last failure."""


class PreprocessorNotFittedException(DataError, RuntimeError):
    """``transform`` was called before ``fit``."""
