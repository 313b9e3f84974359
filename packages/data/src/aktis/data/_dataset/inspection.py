"""Looking at a Dataset: rows, counts, schemas, plans, statistics."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Union

import pyarrow as pa

import aktis
from aktis.data._blocks import concat, kind_of, to_batch, to_rows, unify_schemas
from aktis.data._blocks.types import ITEM, Block
from aktis.data._dataset._base import DatasetBase
from aktis.data._plan import facts
from aktis.data._plan.logical import InputBlocks, Limit, LogicalOperator, Map, Read
from aktis.data.context import DatasetContext

if TYPE_CHECKING:
    from os import PathLike

    from aktis.data.dataset import Dataset, MaterializedDataset

_ITEM_TYPES = (
    (pa.types.is_boolean, bool),
    (pa.types.is_integer, int),
    (pa.types.is_floating, float),
    (pa.types.is_string, str),
    (pa.types.is_large_string, str),
    (pa.types.is_binary, bytes),
    (pa.types.is_large_binary, bytes),
    (pa.types.is_null, type(None)),
)


class Inspection(DatasetBase):
    """What a Dataset holds."""

    # -- rows -----------------------------------------------------------------------------------

    def take(self, limit: int = 20) -> list[Any]:
        """The first rows, as a list. Only as much as needed is executed."""
        return self._take(limit)

    def take_all(self, limit: int | None = None) -> list[Any]:
        """All rows, as a list. Raises ValueError if there are more than ``limit``."""
        if limit is None:
            return [row for block in self._blocks() for row in to_rows(block)]
        rows = self._take(limit + 1)
        if len(rows) > limit:
            raise ValueError(f"the dataset has more than {limit} rows; take_all(limit=...) allows no more")
        return rows

    def _take(self, limit: int) -> list[Any]:
        rows: list[Any] = []
        with self._stream(self._first(limit)) as stream:
            for handle in stream:
                rows += to_rows(handle.load())
        return rows

    def take_batch(self, batch_size: int = 20, *, batch_format: str | None = "default") -> Any:
        """The first rows as one batch: see :meth:`iter_batches` for the formats. Raises ValueError if there are none."""
        with self._stream(self._first(batch_size)) as stream:
            blocks = [handle.load() for handle in stream]
        full = [block for block in blocks if block.num_rows]
        if not full:
            raise ValueError("take_batch() found no rows: the dataset is empty")
        return to_batch(concat(full), batch_format, copy=True)

    def show(self, limit: int = 20) -> None:
        """Print the first rows, one per line."""
        for row in self.take(limit):
            print(row)

    def _first(self, limit: int) -> Limit:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"the number of rows must be an int, got {limit!r}")
        if limit < 0:
            raise ValueError(f"the number of rows must not be negative, got {limit}")
        return Limit(limit=limit, inputs=(self._root,))

    # -- numbers and names ------------------------------------------------------------------------

    def count(self) -> int:
        """How many rows there are: from metadata where they say so, else by executing with as few columns as possible."""
        from aktis.data._transforms.count import CountRows

        known = facts.known_rows(self._root)
        if known is not None:
            return known
        with self._stream(Map(transform=CountRows(), inputs=(self._root,))) as stream:
            return sum(sum(handle.load()["rows"].to_pylist()) for handle in stream)

    def schema(self, fetch_if_missing: bool = True) -> Any:
        """Names and types of the columns: a ``pyarrow.Schema``; for simple data the Python type of the items.

        None if there are no rows and nothing is known, or if finding out means to execute and ``fetch_if_missing`` is False.
        """
        schema = self._schema(fetch_if_missing)
        return None if schema is None or len(schema) == 0 else _public(schema, self)

    def _schema(self, fetch: bool = True) -> pa.Schema | None:
        """The Arrow schema, as inside."""
        root = self._root
        if isinstance(root, InputBlocks):
            schemas = [h.metadata.schema for h in root.handles if h.metadata.schema is not None]
            return unify_schemas(schemas) if schemas else None
        schema = facts.known_schema(root)
        if schema is not None or not fetch:
            return schema
        cached: pa.Schema | None = getattr(self, "_found_schema", None)
        if cached is None:
            with self._stream(self._first(1)) as stream:
                found = [handle.metadata.schema for handle in stream if handle.metadata.schema is not None]
            cached = self._found_schema = unify_schemas(found) if found else None
        return cached

    def columns(self, fetch_if_missing: bool = True) -> list[str] | None:
        """Names of the columns; for simple data the name of the one internal column."""
        schema = self._schema(fetch_if_missing)
        return None if schema is None else list(schema.names)

    def types(self) -> list[Any] | None:
        """Arrow types of the columns."""
        schema = self._schema()
        return None if schema is None else list(schema.types)

    def num_blocks(self) -> int:
        """How many blocks the data is cut into. Executes the plan where that cannot be known before."""
        known = _known_blocks(self._root, self._context)
        return len(self._handles()) if known is None else known

    def size_bytes(self) -> int:
        """Bytes in memory: an estimate for files that have not been read, exact for what is materialized."""
        estimate = facts.estimated_bytes(self._root) if _only_read(self._root) else None
        if estimate is not None:
            return estimate
        with self._stream() as stream:
            return sum(handle.size_bytes for handle in stream)

    def input_files(self) -> list[str]:
        """The files that the data comes from."""
        return list(facts.input_files(self._root))

    def dataset_format(self) -> str:
        """``"simple"`` (Python objects), or ``"arrow"``."""
        schema = self._schema()
        return "simple" if schema is not None and kind_of(schema) == "simple" else "arrow"

    def default_batch_format(self) -> type:
        """The type that ``batch_format="default"`` gives: ``list``, ``numpy.ndarray`` or ``pandas.DataFrame``."""
        schema = self._schema()
        kind = kind_of(schema) if schema is not None else "table"
        if kind == "simple":
            return list
        if kind == "tensor":
            import numpy as np

            return np.ndarray
        import pandas as pd

        frame: type = pd.DataFrame
        return frame

    # -- execution ------------------------------------------------------------------------------

    def materialize(self) -> MaterializedDataset:
        """Execute now, and keep the blocks: what is built on the result does not compute them again."""
        from aktis.data.dataset import MaterializedDataset

        handles = tuple(self._handles())
        result = MaterializedDataset(InputBlocks(handles=handles), context=self._context)
        result._last_stats = self._last_stats
        return result

    def fully_executed(self) -> Dataset:
        """Execute this dataset itself, so that it holds its blocks from now on, and return it."""
        if not isinstance(self._root, InputBlocks):
            self._root = InputBlocks(handles=tuple(self._handles()))
        return self  # type: ignore[return-value]

    def is_fully_executed(self) -> bool:
        """Whether the blocks are there already."""
        return isinstance(self._root, InputBlocks)

    def lazy(self) -> Dataset:
        """This dataset: all of them are lazy."""
        return self  # type: ignore[return-value]

    def copy(self) -> Dataset:
        """Another dataset with the same plan."""
        result = copy.copy(self)
        result._context = copy.deepcopy(self._context)
        return result  # type: ignore[return-value]

    @property
    def context(self) -> DatasetContext:
        """The settings of this dataset: a copy of the process's, made when the dataset was created."""
        return self._context

    def get_internal_block_refs(self) -> list[aktis.ObjectRef[Block]]:
        """References to all blocks, after executing the plan."""
        return [handle.ref() for handle in self._handles()]

    def iter_internal_ref_bundles(self) -> Iterator[tuple[aktis.ObjectRef[Block], Any]]:
        """References and metadata of all blocks, one by one as they are made."""
        with self._stream(background=True) as stream:
            for handle in stream:
                yield handle.ref(), handle.metadata

    # -- telling --------------------------------------------------------------------------------

    def stats(self) -> str:
        """What the latest execution did, operator by operator: rows, bytes, times, memory."""
        if self._last_stats is None:
            return "This dataset has not been executed yet."
        iteration = getattr(self, "_iteration_stats", None)
        return str(self._last_stats.to_string(iteration))

    def save_timeline(self, path: Union[str, PathLike[str]]) -> None:
        """Save when which block was made, for chrome://tracing or Perfetto. Raises ValueError before the first execution."""
        if self._last_stats is None:
            raise ValueError("there is no timeline yet: this dataset has not been executed")
        self._last_stats.save_timeline(path)

    def explain(self) -> str:
        """The plan as you wrote it, as it is after optimising, and as it is executed. Prints and returns it."""
        from aktis.data._plan.explain import explain

        text = explain(self._root, self._context)
        print(text)
        return text

    # -- moving the plan itself -----------------------------------------------------------------

    def has_serializable_lineage(self) -> bool:
        """Whether all data comes from reads, so that the plan alone is enough to make it again elsewhere."""
        return not any(isinstance(node, InputBlocks) for node in _walk(self._root))

    def serialize_lineage(self) -> bytes:
        """The plan as bytes, for :meth:`deserialize_lineage` in another session. Raises ValueError for data in memory."""
        import cloudpickle

        if not self.has_serializable_lineage():
            raise ValueError(
                "this dataset holds data from memory (from_items, from_pandas, materialize ...), which its plan does not contain: "
                "write it to files, and read those"
            )
        data: bytes = cloudpickle.dumps((self._root, self._context))
        return data

    @staticmethod
    def deserialize_lineage(serialized_ds: bytes) -> Dataset:
        """The dataset that :meth:`serialize_lineage` was called on. Only for bytes that you trust: they are unpickled."""
        import pickle

        from aktis.data.dataset import Dataset

        root, context = pickle.loads(serialized_ds)
        return Dataset(root, context=context)

    def __len__(self) -> int:
        raise AttributeError("a Dataset has no len(), which might have to execute it: use ds.count()")

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a Dataset is not iterable by itself: use ds.iter_rows() or ds.iter_batches()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_short(self._root)})"

    __str__ = __repr__


def _public(schema: pa.Schema, dataset: Inspection) -> Any:
    if kind_of(schema) != "simple":
        return schema.remove_metadata()
    kind = schema.field(ITEM).type
    for fits, python_type in _ITEM_TYPES:
        if fits(kind):
            return python_type
    first = dataset.take(1)
    return type(first[0]) if first else object


def _walk(root: LogicalOperator) -> Iterator[LogicalOperator]:
    yield root
    for child in root.inputs:
        yield from _walk(child)


def _only_read(root: LogicalOperator) -> bool:
    return isinstance(root, (Read, InputBlocks))


def _known_blocks(root: LogicalOperator, context: DatasetContext) -> int | None:
    from aktis.data._execution.runner import read_tasks
    from aktis.data._plan.logical import Exchanged, Project, Rearranged, Union

    if isinstance(root, InputBlocks):
        return len(root.handles)
    if isinstance(root, Read):
        return len(read_tasks(root.reader, root.parallelism, context))
    if isinstance(root, (Map, Project)):
        return _known_blocks(root.inputs[0], context)
    if isinstance(root, Union):
        counts = [_known_blocks(child, context) for child in root.inputs]
        return None if any(count is None for count in counts) else sum(count or 0 for count in counts)
    if isinstance(root, Rearranged):
        return getattr(root.rearrangement, "num_blocks", None)
    if isinstance(root, Exchanged):
        return getattr(root.exchange, "num_blocks", None)
    return None


def _short(root: LogicalOperator) -> str:
    """The plan in one line, and what is known about data in memory."""
    if isinstance(root, InputBlocks):
        rows = sum(handle.num_rows for handle in root.handles)
        schema = next((h.metadata.schema for h in root.handles if h.metadata.schema is not None), None)
        if schema is None:
            columns = "unknown schema"
        elif kind_of(schema) == "simple":
            columns = "simple"
        else:
            shown = [f"{field.name}: {field.type}" for field in schema][:20]
            columns = "schema={" + ", ".join(shown) + (", ..." if len(schema) > 20 else "") + "}"
        return f"num_blocks={len(root.handles)}, num_rows={rows}, {columns}"
    names = []
    node = root
    while len(node.inputs) == 1:
        names.append(node.name)
        node = node.inputs[0]
    names.append(f"{node.name}[{', '.join(_short(child) for child in node.inputs)}]" if node.inputs else node.name)
    return " -> ".join(reversed(names))
