"""Transforms: what gives a new Dataset, row by row or batch by batch. All of them are lazy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.data import compute as strategies
from aktis.data._dataset._base import DatasetBase
from aktis.data._plan.logical import Compute, Filter, Limit, Map, Project
from aktis.data._plan.logical import Union as UnionOperator
from aktis.data._transforms._base import Transform
from aktis.data._transforms.map_batches import BatchSize, MapBatches
from aktis.data._transforms.map_rows import FilterRows, FlatMapRows, MapRows
from aktis.data._transforms.user_code import UserFunction

if TYPE_CHECKING:
    import pandas as pd

    from aktis.data.dataset import Dataset
    from aktis.data.expressions import Expr, UnnestExpr

BATCH_FORMATS = ("default", "native", "pandas", "pyarrow", "numpy", "polars", None)


class Transforms(DatasetBase):
    """Row-wise and batch-wise transforms."""

    # -- functions of one row -------------------------------------------------------------------

    def map(
        self,
        fn: Callable[..., Any],
        *,
        compute: Any = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: strategies.Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Call ``fn`` for every row; what it returns is the new row.

        Args:
            fn: gets a row (a dict, or for simple data the item itself) and returns one of either kind. A class is
                instantiated once per actor and then called; ``async`` functions run several calls at a time.
            compute: ``"tasks"``, ``"actors"``, ``TaskPoolStrategy`` or ``ActorPoolStrategy``.
            fn_args: further positional arguments of ``fn``, after the row.
            fn_kwargs: keyword arguments of ``fn``.
            fn_constructor_args: positional arguments for the constructor, when ``fn`` is a class.
            fn_constructor_kwargs: keyword arguments for it.
            num_cpus: CPUs of each task or actor.
            num_gpus: GPUs of each task or actor.
            memory: bytes of heap of each task or actor, for scheduling.
            concurrency: how many tasks or actors at most; ``(least, most)`` for a class.
            **ray_remote_args: other options of ``aktis.remote``, such as ``resources``.
        """
        function = _user_function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        remote = _remote_args(ray_remote_args, num_cpus=num_cpus, num_gpus=num_gpus, memory=memory)
        return self._map(MapRows(function), function, compute, concurrency, remote, keeps_rows=True)

    def flat_map(
        self,
        fn: Callable[..., Iterable[Any]],
        *,
        compute: Any = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: strategies.Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Call ``fn`` for every row; it returns (or yields) any number of new rows. Arguments as for :meth:`map`."""
        function = _user_function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        remote = _remote_args(ray_remote_args, num_cpus=num_cpus, num_gpus=num_gpus, memory=memory)
        return self._map(FlatMapRows(function), function, compute, concurrency, remote)

    def filter(
        self,
        fn: Callable[..., Any] | Expr | str | None = None,
        *,
        expr: Expr | str | None = None,
        compute: Any = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: strategies.Concurrency = None,
        **ray_remote_args: Any,
    ) -> Dataset:
        """The rows for which ``fn(row)`` is true, or an expression is.

        Args:
            fn: a function of one row (see :meth:`map`), or an expression such as ``col("fare") > 10``.
            expr: an expression, or its text: ``"fare > 10 and tip < 2"``. Evaluated by Arrow on whole blocks, and by the
                reader itself where it can (row groups of Parquet are skipped). A row for which it is null is left out.

        The other arguments are those of :meth:`map`, and only for functions.
        """
        from aktis.data.expressions import Expr

        if (fn is None) == (expr is None):
            raise TypeError("filter() takes a function or an expression: one of fn and expr=")
        if expr is None and isinstance(fn, (Expr, str)):
            expr = fn
        if expr is not None:
            return self._with(Filter(predicate=_expression(expr), inputs=(self._root,)))
        function = _user_function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        remote = _remote_args(ray_remote_args, num_cpus=num_cpus, num_gpus=num_gpus, memory=memory)
        return self._map(FilterRows(function), function, compute, concurrency, remote)

    # -- functions of batches -------------------------------------------------------------------

    def map_batches(
        self,
        fn: Callable[..., Any],
        *,
        batch_size: BatchSize = "default",
        compute: Any = None,
        batch_format: str | None = "default",
        zero_copy_batch: bool = False,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: float | None = None,
        concurrency: strategies.Concurrency = None,
        udf_modifying_row_count: bool = True,
        prefetch_batches: int = 0,
        **ray_remote_args: Any,
    ) -> Dataset:
        """Call ``fn`` with batches of rows; what it returns takes their place.

        Args:
            fn: gets a batch, and returns one (a list, an Arrow table, a pandas or polars frame, an array, or a dict of
                arrays), or yields several. Classes and ``async`` functions as in :meth:`map`.
            batch_size: rows per batch. A number: exactly so many (the last of a task may be smaller), across blocks.
                None: whole blocks. ``"default"``: a block, or a part of a big one (131,072 rows, 32 MiB).
            compute: see :meth:`map`.
            batch_format: what ``fn`` gets. ``"default"``: a pandas frame (for tensor data an array, for simple data a
                list). Or ``"pandas"``, ``"pyarrow"``, ``"numpy"`` (a dict of arrays), ``"polars"``.
            zero_copy_batch: True: the batch may be a read-only view of the block, which saves a copy.
            udf_modifying_row_count: False promises as many rows out as in, so that a limit may move before it.
            prefetch_batches: accepted for compatibility.

        The other arguments are those of :meth:`map`.
        """
        if batch_format not in BATCH_FORMATS:
            raise ValueError(f"batch_format must be one of {', '.join(map(repr, BATCH_FORMATS))}, got {batch_format!r}")
        if isinstance(batch_size, bool) or not (batch_size in (None, "default") or isinstance(batch_size, int)):
            raise TypeError(f'batch_size must be an int, None or "default", got {batch_size!r}')
        if isinstance(batch_size, int) and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        function = _user_function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        remote = _remote_args(ray_remote_args, num_cpus=num_cpus, num_gpus=num_gpus, memory=memory)
        transform = MapBatches(function, batch_size=batch_size, batch_format=batch_format, zero_copy=zero_copy_batch)
        rows = batch_size if isinstance(batch_size, int) else None
        return self._map(
            transform,
            function,
            compute,
            concurrency,
            remote,
            keeps_rows=not udf_modifying_row_count,
            min_rows=rows,
            whole_blocks=function.joins_batches,
        )

    def add_column(
        self, col: str, fn: Callable[[pd.DataFrame], Any], *, compute: Any = None, **ray_remote_args: Any
    ) -> Dataset:
        """One more column: ``fn`` gets each batch as a pandas frame and returns the column (a Series or an array).

        See :meth:`with_column` for columns that an expression can compute.
        """
        if not isinstance(col, str):
            raise TypeError(f"the name of a column must be a str, got {col!r}")
        if not callable(fn):
            raise TypeError(f"add_column() takes a function of a pandas frame, got {fn!r}")
        function = UserFunction(_AddColumn(col, fn))
        function.name = col
        transform = MapBatches(function, batch_format="pandas", verb="AddColumn")
        return self._map(transform, function, compute, None, ray_remote_args, keeps_rows=True)

    # -- columns --------------------------------------------------------------------------------

    def with_column(self, column_name: str, expr: Expr) -> Dataset:
        """One more column (or another one of that name), computed by an expression: ``with_column("x2", col("x") * 2)``."""
        return self.with_columns({column_name: expr})

    def with_columns(
        self, exprs: Mapping[str, Expr] | UnnestExpr, *more_exprs: Mapping[str, Expr] | UnnestExpr
    ) -> Dataset:
        """More columns, computed by expressions from the columns that are there.

        Args:
            exprs: a mapping of names to expressions; or ``unnest(expr)``, a column for each field of a struct.
            more_exprs: more of them.
        """
        from aktis.data._plan.facts import known_schema
        from aktis.data.expressions import UnnestExpr

        columns: list[tuple[str, Expr]] = []
        for given in (exprs, *more_exprs):
            if isinstance(given, UnnestExpr):
                columns += given.expand(known_schema(self._root))
            else:
                columns += [(name, _expression(expr)) for name, expr in given.items()]
        return self._with(Project(columns=tuple(columns), keep=True, inputs=(self._root,)))

    def select_columns(self, cols: str | Sequence[str], *, compute: Any = None, **ray_remote_args: Any) -> Dataset:
        """Only these columns, in this order."""
        from aktis.data.expressions import col

        columns = tuple((name, col(name)) for name in _names(cols))
        return self._with(Project(columns=columns, inputs=(self._root,)))

    def select(self, *exprs: str | Expr) -> Dataset:
        """Columns by name, or computed by expressions with an alias: ``select("a", (col("b") + 1).alias("c"))``.

        ``star()`` among them: all columns, and the others beside them.
        """
        from aktis.data.expressions import StarExpr, named

        columns = tuple(named(expr) for expr in exprs if not isinstance(expr, StarExpr))
        return self._with(Project(columns=columns, keep=len(columns) < len(exprs), inputs=(self._root,)))

    def drop_columns(self, cols: str | Sequence[str], *, compute: Any = None, **ray_remote_args: Any) -> Dataset:
        """All columns but these. A name that is not there is an error."""
        return self._with(Project(columns=(), keep=True, drop=tuple(_names(cols)), inputs=(self._root,)))

    def rename_columns(self, names: Mapping[str, str] | Sequence[str]) -> Dataset:
        """New names: a mapping of old to new ones, or a list with a name for every column."""
        from aktis.data.expressions import col

        if isinstance(names, Mapping):
            schema = self._known_columns("rename_columns() with a mapping")
            unknown = [name for name in names if name not in schema]
            if unknown:
                raise ValueError(f"there is no column {unknown[0]!r} to rename; the columns are {schema}")
            pairs = [(names.get(name, name), name) for name in schema]
        else:
            schema = self._known_columns("rename_columns() with a list")
            if isinstance(names, str) or len(names) != len(schema):
                raise ValueError(f"rename_columns() got {names!r} for {len(schema)} columns: {schema}")
            pairs = list(zip(names, schema))
        if len({new for new, _ in pairs}) != len(pairs):
            raise ValueError(f"two columns would have the same name: {[new for new, _ in pairs]}")
        return self._with(Project(columns=tuple((new, col(old)) for new, old in pairs), inputs=(self._root,)))

    def _known_columns(self, who: str) -> list[str]:
        names: list[str] | None = self.columns()  # type: ignore[attr-defined]
        if names is None:
            raise ValueError(f"{who} needs to know the columns, but the dataset has no rows and no schema")
        return names

    # -- rows -----------------------------------------------------------------------------------

    def limit(self, limit: int) -> Dataset:
        """The first ``limit`` rows. What comes after them is not computed (nor, where possible, read)."""
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"limit must be an int, got {limit!r}")
        if limit < 0:
            raise ValueError(f"limit must not be negative, got {limit}")
        return self._with(Limit(limit=limit, inputs=(self._root,)))

    def random_sample(self, fraction: float, *, seed: int | None = None) -> Dataset:
        """Each row with probability ``fraction``. The same seed and blocks give the same rows."""
        from aktis.data._transforms.sample import RandomSample

        if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
            raise ValueError(f"fraction must be between 0 and 1, got {fraction!r}")
        return self._with(Map(transform=RandomSample(float(fraction), _seed(seed)), inputs=(self._root,)))

    def union(self, *other: Dataset) -> Dataset:
        """The rows of this dataset, then those of the others, in order."""
        roots = [self._root, *(dataset._root for dataset in other)]
        return self._with(UnionOperator(inputs=tuple(roots)))

    # -- helpers --------------------------------------------------------------------------------

    def _map(
        self,
        transform: Transform,
        function: UserFunction,
        compute: Any,
        concurrency: strategies.Concurrency,
        remote_args: Mapping[str, Any],
        *,
        keeps_rows: bool = False,
        min_rows: int | None = None,
        whole_blocks: bool = False,
    ) -> Dataset:
        from dataclasses import replace

        where: Compute = strategies.resolve(compute, concurrency, function.is_class, remote_args, what=function.name)
        return self._with(
            Map(
                transform=transform,
                compute=replace(where, min_rows=min_rows, whole_blocks=whole_blocks),
                keeps_rows=keeps_rows,
                inputs=(self._root,),
            )
        )


class _AddColumn:
    def __init__(self, name: str, fn: Callable[[Any], Any]) -> None:
        self._name, self._fn = name, fn

    def __call__(self, frame: Any) -> Any:
        return frame.assign(**{self._name: self._fn(frame)})


def _user_function(
    fn: Any,
    args: Iterable[Any] | None,
    kwargs: Mapping[str, Any] | None,
    constructor_args: Iterable[Any] | None,
    constructor_kwargs: Mapping[str, Any] | None,
) -> UserFunction:
    if not callable(fn):
        raise TypeError(f"expected a function or a class with a __call__ method, got {fn!r} ({type(fn).__name__})")
    is_class = isinstance(fn, type)
    if is_class and not any("__call__" in vars(base) for base in fn.__mro__):
        raise TypeError(f"class {fn.__name__} has no method __call__, which would get the data")
    if not is_class and (constructor_args is not None or constructor_kwargs is not None):
        raise ValueError(f"fn_constructor_args and fn_constructor_kwargs are for classes; {fn!r} is a function")
    return UserFunction(fn, tuple(args or ()), kwargs, tuple(constructor_args or ()), constructor_kwargs)


def _remote_args(others: Mapping[str, Any], **named: float | None) -> dict[str, Any]:
    result = {key: value for key, value in others.items() if value is not None}
    result.update({key: value for key, value in named.items() if value is not None})
    return result


def _names(cols: str | Sequence[str]) -> list[str]:
    names = [cols] if isinstance(cols, str) else list(cols)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names of columns must be strings, got {name!r} ({type(name).__name__})")
    if len(set(names)) != len(names):
        raise ValueError(f"a column is named twice: {names}")
    return names


def _expression(value: Any) -> Expr:
    from aktis.data.expressions import to_expr

    return to_expr(value)


def _seed(seed: int | None) -> int:
    """The user's seed, or one drawn now: so that a task that runs twice draws the same."""
    if seed is None:
        import secrets

        return secrets.randbits(63)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an int, got {seed!r}")
    return abs(seed)
