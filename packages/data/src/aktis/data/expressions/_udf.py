"""Python functions of whole columns, as expressions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from aktis.data.exceptions import BatchTypeError, DataError, user_function_error
from aktis.data.expressions._evaluation import Evaluation
from aktis.data.expressions._expr import Expr
from aktis.data.expressions._functions import Value, one_array
from aktis.data.expressions._nodes import LiteralExpr, as_expr
from aktis.data.expressions._types import arrow_type

BatchFormat = Literal["pyarrow", "numpy", "pandas", "python"]


class LazyInstance:
    """A callable class and its arguments. The instance is made where it is first needed, once per process."""

    def __init__(self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.cls, self.args, self.kwargs = cls, args, kwargs
        self.__name__ = cls.__name__
        self._instance: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_instance": None}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LazyInstance):
            return NotImplemented
        return (self.cls, self.args, self.kwargs) == (other.cls, other.args, other.kwargs)

    __hash__ = object.__hash__

    def get(self) -> Callable[..., Any]:
        """The instance."""
        if self._instance is None:
            self._instance = self.cls(*self.args, **self.kwargs)
        return self._instance  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False, repr=False)
class UDFExpr(Expr):
    """A call of a user's function. Columns arrive whole, one block at a time; constants arrive as they are."""

    fn: Callable[..., Any]
    args: tuple[Expr, ...]
    kwargs: tuple[tuple[str, Expr], ...] = ()
    return_type: pa.DataType | None = None
    batch_format: BatchFormat = "pyarrow"
    deterministic: bool = field(default=True, kw_only=True)

    @property
    def function_name(self) -> str:
        """Name of the function, or of the class."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    @property
    def is_stateful(self) -> bool:
        """Whether the function is a class whose instances keep state (models, connections): an actor pool suits it."""
        return isinstance(self.fn, LazyInstance)

    @property
    def _fixed(self) -> bool:
        return self.deterministic

    @property
    def _total(self) -> bool:
        return False  # a function may count on a filter that comes before it

    def children(self) -> tuple[Expr, ...]:
        return (*self.args, *(e for _, e in self.kwargs))

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        names = [name for name, _ in self.kwargs]
        return replace(self, args=children[: len(self.args)], kwargs=tuple(zip(names, children[len(self.args) :])))

    def setup(self) -> None:
        """Make the instance of a callable class, in this process."""
        if isinstance(self.fn, LazyInstance):
            self.fn.get()

    def _compute(self, evaluation: Evaluation) -> Value:
        rows = evaluation.num_rows
        if rows == 0:  # functions of users need not know what to do with nothing
            if evaluation.only_types and self.return_type is None:
                raise TypeError(
                    f"the function {self.function_name!r} does not say what it returns: give it a return_dtype"
                )
            return pa.array([], self.return_type or pa.null())
        args = [self._argument(e, evaluation) for e in self.args]
        kwargs = {name: self._argument(e, evaluation) for name, e in self.kwargs}
        function = self.fn.get() if isinstance(self.fn, LazyInstance) else self.fn
        try:
            result = function(*args, **kwargs)
        except DataError:
            raise
        except Exception as error:
            raise self._failure(error, evaluation) from error
        return self._column(result, rows)

    def _argument(self, expr: Expr, evaluation: Evaluation) -> Any:
        if isinstance(expr, LiteralExpr):
            return expr.value
        value = evaluation.value(expr)
        if isinstance(value, pa.Scalar):
            value = pa.repeat(value, evaluation.num_rows)
        return to_format(value, self.batch_format)

    def _failure(self, error: Exception, evaluation: Evaluation) -> Exception:
        task = evaluation.task
        operator, origin = (task.operator, task.origin) if task is not None else ("", "")
        return user_function_error(
            f"{operator + ': ' if operator else ''}the function {self.function_name!r} raised {type(error).__name__}: "
            f"{error}{f' (block of {origin})' if origin else ''}",
            error,
            operator=operator,
            function=self.function_name,
            origin=origin,
            batch_schema=str(evaluation.block.schema),
        )

    def _column(self, result: Any, rows: int) -> Value:
        try:
            column = to_arrow(result, self.return_type)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise BatchTypeError(
                f"The function {self.function_name!r} returned {type(result).__name__}, which is no column"
                f"{f' of type {self.return_type}' if self.return_type is not None else ''}: {error}"
            ) from error
        if len(column) != rows:
            raise BatchTypeError(
                f"The function {self.function_name!r} returned {len(column)} values for {rows} rows: it gets a batch of "
                "rows, and returns one value for each"
            )
        return column

    def _text(self) -> str:
        words = [repr(e.value) if isinstance(e, LiteralExpr) else e._text() for e in self.args]
        words += [f"{k}={e.value!r}" if isinstance(e, LiteralExpr) else f"{k}={e._text()}" for k, e in self.kwargs]
        return f"{self.function_name}({', '.join(words)})"


def to_format(value: pa.Array | pa.ChunkedArray, batch_format: str) -> Any:
    """A column as functions get it."""
    if batch_format == "pyarrow":
        return value if isinstance(value, pa.ChunkedArray) else pa.chunked_array([value])
    if isinstance(value.type, pa.BaseExtensionType):  # tensors, and objects that Arrow has no type for
        from aktis.data._blocks import to_batch, to_rows

        block = pa.table({"column": value})
        if batch_format == "python":
            return [row["column"] for row in to_rows(block)]
        return to_batch(block, batch_format)["column"]
    if batch_format == "pandas":
        return value.to_pandas()
    if batch_format == "python":
        return value.to_pylist()
    return one_array(value).to_numpy(zero_copy_only=False)


def to_arrow(result: Any, type_: pa.DataType | None) -> pa.Array | pa.ChunkedArray:
    """A column from what a function returned."""
    if isinstance(result, (pa.Array, pa.ChunkedArray)):
        return result if type_ is None or result.type == type_ else result.cast(type_)
    if isinstance(result, (str, bytes, dict)) or not hasattr(result, "__len__"):
        raise TypeError("one value for each row is expected: an Arrow or numpy array, a pandas Series, or a list")
    if type_ is None or isinstance(type_, pa.BaseExtensionType):
        from aktis.data._blocks import from_batch

        column = from_batch({"column": result}).column("column")
        return column if type_ is None or column.type == type_ else column.cast(type_)
    if isinstance(result, np.ndarray) and result.ndim > 1:
        result = result.tolist()  # nested lists
    from_pandas = type(result).__module__.split(".")[0] == "pandas"
    try:
        return pa.array(result, type_, from_pandas=from_pandas)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # values of another type, such as ints for a float column
        return pa.array(result, from_pandas=from_pandas).cast(type_)


def _wrap(fn: Any, return_type: pa.DataType | None, batch_format: BatchFormat) -> Any:
    if isinstance(fn, type):
        return _class_wrapper(fn, return_type, batch_format)
    if not callable(fn):
        raise TypeError(f"udf() is for functions and callable classes, not for {fn!r}")
    return _caller(fn, return_type, batch_format)


def _caller(fn: Any, return_type: pa.DataType | None, batch_format: BatchFormat) -> Callable[..., Expr]:
    def call(*args: Any, **kwargs: Any) -> Expr:
        named = tuple((name, as_expr(value)) for name, value in kwargs.items())
        return UDFExpr(fn, tuple(map(as_expr, args)), named, return_type, batch_format)

    call.__name__ = call.__qualname__ = getattr(fn, "__name__", type(fn).__name__)
    call.__doc__ = getattr(fn, "__doc__", None)
    call.__wrapped__ = fn  # type: ignore[attr-defined]
    return call


def _class_wrapper(cls: type, return_type: pa.DataType | None, batch_format: BatchFormat) -> Callable[..., Any]:
    if not any("__call__" in vars(base) for base in cls.__mro__):
        raise TypeError(f"udf() needs a class whose instances can be called, but {cls.__name__} defines no __call__()")

    def make(*args: Any, **kwargs: Any) -> Callable[..., Expr]:
        return _caller(LazyInstance(cls, args, kwargs), return_type, batch_format)

    make.__name__ = make.__qualname__ = cls.__name__
    make.__doc__ = cls.__doc__
    return make


def udf(return_dtype: Any = None, *, batch_format: BatchFormat = "pyarrow") -> Callable[[Any], Any]:
    """Make a function of columns usable in expressions.

    ::

        @udf(return_dtype="float64")
        def share(tip, fare):           # Arrow arrays of a whole block
            return pc.divide(tip, fare)

        ds.with_column("share", share(col("tip"), col("fare")))

    The function is called once per block, and returns one value per row: an Arrow or numpy array, a pandas Series, or a
    list. It must treat each row on its own: which rows come in one call may change, and the optimizer may take rows away
    that nobody needs. A class with ``__call__`` is called twice: ``Model(path)(col("x"))``; its instances are made in
    the workers, once each.

    Args:
        return_dtype: the type of the results (see :meth:`Expr.cast` for its forms); they are cast to it. None: whatever
            the function returns.
        batch_format: what columns arrive as: ``"pyarrow"`` (chunked arrays), ``"numpy"``, ``"pandas"`` (Series) or
            ``"python"`` (lists).
    """
    if batch_format not in get_args(BatchFormat):
        raise ValueError(f"batch_format is one of {', '.join(map(repr, get_args(BatchFormat)))}, not {batch_format!r}")
    if callable(return_dtype) and not isinstance(return_dtype, (type, pa.DataType)):
        raise TypeError("udf needs its parentheses, and the type of the result: @udf(return_dtype='int64')")
    return_type = None if return_dtype is None else arrow_type(return_dtype)
    return lambda fn: _wrap(fn, return_type, batch_format)


def pyarrow_udf(return_dtype: Any = None) -> Callable[[Any], Any]:
    """As :func:`udf`, for functions of Arrow arrays, which arrive in one piece each."""
    return_type = None if return_dtype is None else arrow_type(return_dtype)

    def decorate(fn: Any) -> Any:
        return _wrap(_OnePiece(fn) if not isinstance(fn, type) else fn, return_type, "pyarrow")

    return decorate


class _OnePiece:
    """Calls a function with arrays instead of chunked arrays."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)
        self.__doc__ = getattr(fn, "__doc__", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        def whole(value: Any) -> Any:
            return one_array(value) if isinstance(value, pa.ChunkedArray) else value

        return self.fn(*map(whole, args), **{name: whole(value) for name, value in kwargs.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _OnePiece) and bool(self.fn == other.fn)

    __hash__ = object.__hash__
