"""Calling what users wrote: functions, callable classes, coroutines and generators, with errors that say where."""

from __future__ import annotations

import functools
import inspect
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from aktis.data._blocks.types import Block
from aktis.data._transforms._base import TaskContext
from aktis.data.exceptions import UserFunctionError, user_function_error

_OURS = "aktis/data/_"  # frames of files with this in their path are not the user's


def function_name(function: Any) -> str:
    """What operators and errors call a function."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return str(name)


class UserFunction:
    """A function or callable class with the arguments that users gave for it. Picklable; call ``setup`` where it runs."""

    def __init__(
        self,
        function: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        constructor_args: Sequence[Any] = (),
        constructor_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._function = function
        self._args = tuple(args)
        self._kwargs = dict(kwargs or {})
        self._constructor_args = tuple(constructor_args)
        self._constructor_kwargs = dict(constructor_kwargs or {})
        self.name = function_name(function)
        self.is_class = isinstance(function, type)
        self._call: Callable[..., Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_call": None}

    def setup(self) -> None:
        """Make the instance of a class."""
        if self._call is not None:
            return
        call = self._function
        if self.is_class:
            try:
                call = call(*_fetched(self._constructor_args), **_fetched_dict(self._constructor_kwargs))
            except Exception as error:
                text = f"the constructor of {self.name} raised {type(error).__name__}: {error}\n{_user_frames(error)}"
                raise user_function_error(text, error, function=self.name) from error
        if self._args or self._kwargs:
            call = _with_arguments(call, _fetched(self._args), _fetched_dict(self._kwargs))
        self._call = call

    @property
    def call(self) -> Callable[..., Any]:
        """The thing to call with a row or a batch."""
        if self._call is None:
            self.setup()
        assert self._call is not None
        return self._call

    @property
    def joins_batches(self) -> bool:
        """Whether the function has an attribute ``__joins_batches__`` that is true.

        It says that each row of its results depends on one row of the batch alone, and that it is quicker when it gets several
        batches in one. Models of trees are like that.
        """
        return bool(getattr(self._function, "__joins_batches__", False))

    @property
    def is_async(self) -> bool:
        """Whether calls give coroutines or asynchronous generators."""
        target = self._function
        while isinstance(target, functools.partial):
            target = target.func
        if isinstance(target, type):
            target = target.__call__
        elif not inspect.isroutine(target):
            target = type(target).__call__
        return inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)


def _with_arguments(call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[..., Any]:
    """``fn_args`` come after the batch, which functools.partial cannot say."""
    return lambda first: call(first, *args, **kwargs)


def _fetched(values: Sequence[Any]) -> list[Any]:
    """Arguments, with references to objects replaced by what they stand for."""
    import aktis

    return [aktis.get(value) if isinstance(value, aktis.ObjectRef) else value for value in values]


def _fetched_dict(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(values, _fetched(list(values.values()))))


class RowPosition:
    """Which row a call was for, found out only when it has raised: counting along would slow every call down."""

    def __init__(self, remaining: Iterator[Any], count: int, row: Callable[[int], Any], start: int) -> None:
        self._remaining, self._count, self._row, self._start = remaining, count, row, start

    def _index(self) -> int:
        left: int = self._remaining.__length_hint__()  # type: ignore[attr-defined]
        return max(0, self._count - left - 1)

    @property
    def row(self) -> Any:
        return self._row(self._index())

    def text(self) -> str:
        return f"row {self._start + self._index():,} of the block"


@contextmanager
def calling(
    task: TaskContext, operator: str, function: str, sample: Any = None, rows: Callable[[], str] | None = None
) -> Iterator[None]:
    """Wraps calls of a user's function: counts their time, and turns what they raise into a UserFunctionError.

    ``rows()`` says which rows were being worked on. A RowPosition stands for the row it is at.
    """
    start = time.perf_counter()
    try:
        yield
    except UserFunctionError:
        raise
    except Exception as error:
        where = rows() if rows is not None else ""
        raise failure(
            task, operator, function, error, sample.row if isinstance(sample, RowPosition) else sample, where
        ) from error
    finally:
        task.user_seconds += time.perf_counter() - start


def failure(
    task: TaskContext, operator: str, function: str, error: Exception, sample: Any = None, rows: str = ""
) -> UserFunctionError:
    """What went wrong in a user's function, and where."""
    origin = ", ".join(part for part in (task.origin, rows) if part)
    schema = describe(sample)
    where = f" (data: {origin})" if origin else ""
    lines = [f"{operator}: {function} raised {type(error).__name__}: {error}{where}"]
    if schema:
        lines.append(f"It was called with {schema}.")
    text = _user_frames(error)
    if text:
        lines.append(text)
    return user_function_error(
        "\n".join(lines), error, operator=operator, function=function, origin=origin, batch_schema=schema
    )


def describe(sample: Any) -> str:
    """A row or batch in one line: its type, size and columns."""
    if sample is None:
        return ""
    if isinstance(sample, pa.Table):
        return f"a table of {sample.num_rows} rows with " + _columns(zip(sample.schema.names, sample.schema.types))
    if type(sample).__module__.partition(".")[0] == "pandas" and hasattr(sample, "dtypes"):
        return f"a pandas frame of {len(sample)} rows with " + _columns(sample.dtypes.items())
    if isinstance(sample, dict):
        return "a dict with " + _columns((key, _kind(value)) for key, value in sample.items())
    return f"a {_kind(sample)}"


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None and hasattr(value, "dtype"):
        return f"{type(value).__name__} of {value.dtype} with shape {tuple(shape)}"
    if isinstance(value, list):
        return f"list of {len(value)}"
    return type(value).__name__


def _columns(items: Any) -> str:
    described = [f"{name}: {kind}" for name, kind in items]
    more = f" and {len(described) - 20} more" if len(described) > 20 else ""
    return "columns {" + ", ".join(described[:20]) + "}" + more


def _user_frames(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last_ours = max((i for i, frame in enumerate(frames) if _OURS in frame.filename.replace("\\", "/")), default=-1)
    shown = _without_libraries(frames[last_ours + 1 :])[-12:]
    if not shown:
        return ""
    return "Traceback of the function (most recent call last):\n" + "".join(traceback.format_list(shown)).rstrip()


def _without_libraries(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Without what other parts of aktis do before they call the user's code; all, if they never do."""
    import aktis

    folders = tuple(os.path.join(folder, "") for folder in aktis.__path__)
    first = next((i for i, frame in enumerate(frames) if not frame.filename.startswith(folders)), 0)
    return frames[first:]


def batch_block(value: Any, task: TaskContext, operator: str, function: str) -> Block:
    """What a function returned, as a block. An error names the function."""
    from aktis.data._blocks import from_batch
    from aktis.data.exceptions import DataError

    try:
        return from_batch(value)
    except DataError as error:
        error.args = (f"{operator}: what {function} returned is no batch: {error}",)
        raise
