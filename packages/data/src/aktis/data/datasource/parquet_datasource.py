"""Parquet: footers are read when they are needed, by several threads, once; the optimizer's wishes are all granted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data._blocks import unify_schemas
from aktis.data._blocks.types import BlockMetadata
from aktis.data._cpus import cpu_count
from aktis.data.context import MIB, DatasetContext
from aktis.data.datasource._base import Datasource, Reader, ReadTask
from aktis.data.datasource._listing import FileInfo, FileList, Paths
from aktis.data.datasource._parquet_footers import Footer, Footers
from aktis.data.datasource._parquet_scan import GIVEN_SCHEMA, SMALL_FILE, FilePart, ParquetScan
from aktis.data.datasource._policy import ReadPolicy, read_error
from aktis.data.datasource._source import cut, plain_schema, schema_conflict
from aktis.data.datasource.file_meta_provider import FileSelection
from aktis.data.datasource.partitioning import PartitionColumns, Partitioning
from aktis.data.exceptions import SchemaError

__all__ = ["ParquetBaseDatasource", "ParquetDatasource"]

EXTENSIONS = ("parquet", "pq", "parq")
_SAMPLED_FILES = 8  # their footers tell how much larger data is in memory than on storage
_MOST_SPLIT_FILES = 256  # with more files than this there is enough to do in parallel without splitting any
_FILE_COST = MIB // 4  # in bytes in memory that take as long to decode as a file takes to open: about 0.4 ms
_WORTH_SPLITTING = 4 * MIB  # in memory; below, a task of its own costs more than it saves
_FILE_OPTIONS = frozenset(
    {
        "memory_map",
        "buffer_size",
        "pre_buffer",
        "coerce_int96_timestamp_unit",
        "read_dictionary",
        "decryption_properties",
        "thrift_string_size_limit",
        "thrift_container_size_limit",
        "page_checksum_verification",
        "arrow_extensions_enabled",
        "binary_type",
        "list_type",
    }
)


class ParquetDatasource(Datasource):
    """Parquet files. ``create_reader`` takes what :func:`aktis.data.read_parquet` takes."""

    def get_name(self) -> str:
        return "Parquet"

    def create_reader(self, **read_args: Any) -> Reader:
        return parquet_reader(**read_args)

    def create_sink(self, **write_args: Any) -> Any:
        """Files in a folder ``path=...``. Takes what :meth:`aktis.data.Dataset.write_parquet` takes."""
        from aktis.data.datasource._written_files import file_sink
        from aktis.data.datasource.parquet_sink import ParquetSink

        return file_sink(ParquetSink, **write_args)


ParquetBaseDatasource = ParquetDatasource


def parquet_reader(
    paths: Paths,
    filesystem: Any = None,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,
    schema: pa.Schema | None = None,
    selection: FileSelection | None = None,
    partitioning: Partitioning | None = Partitioning("hive"),  # noqa: B008 (frozen)
    include_paths: bool = False,
    tensor_column_schema: Mapping[str, tuple[Any, tuple[int, ...]]] | None = None,
    on_error: str | None = None,
    batch_size: int | None = None,
    use_threads: bool | None = None,
    **file_options: Any,
) -> ParquetReader:
    """A reader of Parquet files. Lists them now, and checks what can be checked without reading much.

    Raises:
        FileNotFoundError: a path leads to nothing.
        SchemaError: ``columns`` names one that no file has.
        TypeError: an option that ``pyarrow.parquet.ParquetFile`` does not know.
    """
    unknown = set(file_options) - _FILE_OPTIONS
    if unknown:
        raise TypeError(
            f"read_parquet got unknown arguments {sorted(unknown)}; those for Arrow's reader are {sorted(_FILE_OPTIONS)}"
        )
    files = (selection or FileSelection()).files(paths, filesystem, EXTENSIONS)
    policy = ReadPolicy.of(DatasetContext.get_current(), on_error)
    reader = ParquetReader(
        files=files,
        policy=policy,
        footers=Footers(files.filesystem, file_options, policy),
        partitions=PartitionColumns(partitioning, files.paths),
        path_column="path" if include_paths else None,
        given_schema=None if schema is None else plain_schema(schema),
        tensor_columns=dict(tensor_column_schema or {}),
        file_options=file_options,
        batch_rows=batch_size,
        use_threads=use_threads,
    )
    if filter is not None:
        narrowed = reader.with_filter(filter)
        if narrowed is None:
            raise ValueError(f"the filter {filter} cannot be applied to the columns {reader.schema().names}")
        reader = narrowed
    if columns is not None:
        reader = reader.chosen(list(columns))
    return reader


@dataclass(frozen=True, kw_only=True, eq=False)
class ParquetReader(Reader):
    """Immutable: ``with_columns`` and the like return another one, which shares the footers."""

    chooses_parallelism = True

    files: FileList
    policy: ReadPolicy
    footers: Footers
    partitions: PartitionColumns
    path_column: str | None = None
    given_schema: pa.Schema | None = None
    tensor_columns: Mapping[str, tuple[Any, tuple[int, ...]]] = field(default_factory=dict)
    file_options: Mapping[str, Any] = field(default_factory=dict)
    batch_rows: int | None = None
    use_threads: bool | None = None
    columns: tuple[str, ...] | None = None
    predicate: Any = None
    predicate_columns: tuple[str, ...] = ()
    limit: int | None = None

    # what is known without reading data

    def schema(self) -> pa.Schema:
        fields = self._all_fields()
        names = list(fields) if self.columns is None else list(self.columns)
        return pa.schema([fields[name] for name in names])

    def count_rows(self) -> int | None:
        if self.predicate is not None:
            return None
        footers = self.footers.get(self.files.paths)
        return sum(footer.rows for footer in footers if footer is not None)

    def input_files(self) -> list[str]:
        return self.files.paths

    def estimate_inmemory_data_size(self) -> int | None:
        size = self.files.size_bytes
        if size is None:
            return None
        total = int(size * self._ratio())
        if self.limit is None or self.predicate is not None:
            return total
        known = self.footers.known(self.files.paths)  # the sample has read some
        sizes = {file.path: file.size or 0 for file in self.files.files}
        rows = sum(footer.rows for _, footer in known)
        stored = sum(sizes[path] for path, _ in known)
        return min(total, int(self.limit * stored * self._ratio() / rows) + 1) if rows else total

    def describe(self) -> str:
        count = len(self.files.files)
        parts = [self.files.files[0].path if count == 1 else f"{count} files"]
        if self.columns is not None:
            parts.append(f"columns={list(self.columns)}")
        if self.predicate is not None:
            parts.append(f"filter={self.predicate}")
        if self.limit is not None:
            parts.append(f"limit={self.limit}")
        return ", ".join(parts)

    # what the optimizer may ask for

    def with_columns(self, columns: list[str]) -> ParquetReader | None:
        if any(name not in self._all_fields() for name in columns):
            return None
        return replace(self, columns=tuple(columns))

    def with_filter(self, predicate: pc.Expression) -> ParquetReader | None:
        if self.limit is not None:  # the limit would have to come first
            return None
        fields = self._all_fields()
        used = referenced_columns(predicate, pa.schema(list(fields.values())))
        if used is None:
            return None
        both = predicate if self.predicate is None else self.predicate & predicate
        names = tuple(dict.fromkeys((*self.predicate_columns, *used)))
        narrowed = replace(self, predicate=both, predicate_columns=names)
        return narrowed._without_excluded_files() if self.partitions else narrowed

    def with_limit(self, rows: int) -> ParquetReader:
        return replace(self, limit=rows if self.limit is None else min(rows, self.limit))

    def chosen(self, columns: list[str]) -> ParquetReader:
        """The user's ``columns=``: an error where one is not there."""
        known = self._all_fields()
        if any(name not in known for name in columns):
            self.footers.get(self.files.paths)  # perhaps other files have it
            known = self._all_fields()
        missing = [name for name in columns if name not in known]
        if missing:
            raise SchemaError(
                f"There is no column {', '.join(map(repr, missing))} in {self.files.files[0].path}: it has {list(known)}"
            )
        return replace(self, columns=tuple(columns))

    # planning

    def fitted(self, context: DatasetContext) -> ParquetReader:
        return replace(self, policy=self.policy.fitted(context))

    def get_read_tasks(self, parallelism: int = -1) -> list[ReadTask]:
        if self.limit is not None and self.predicate is None:
            groups = self._limited(self.limit)
        elif parallelism > 0:
            groups = self._exactly(parallelism)
        else:
            groups = self._automatic(int((self.files.size_bytes or 0) * self._ratio()))
        threads = self.use_threads
        if threads is None:  # few tasks: each may use what the others leave idle
            threads = len(groups) < cpu_count()
        scan = self._scan(threads)
        return [self._task(scan, parts) for parts in groups]

    def _scan(self, use_threads: bool) -> ParquetScan:
        schema, reference = self._stored_schema()
        return ParquetScan(
            filesystem=self.files.filesystem,
            policy=self.policy,
            schema=schema,
            reference=reference,
            columns=self.columns,
            predicate=self.predicate,
            predicate_columns=self.predicate_columns,
            limit=self.limit,
            partitions=self.partitions,
            path_column=self.path_column,
            tensor_columns=self.tensor_columns,
            file_options=self.file_options,
            batch_rows=self.batch_rows,
            use_threads=use_threads,
        )

    def _task(self, scan: ParquetScan, parts: list[FilePart]) -> ReadTask:
        paths = list(dict.fromkeys(part.path for part in parts))
        rows: int | None = 0
        for part in parts:
            count = self._part_rows(part)
            rows = None if rows is None or count is None or self.predicate is not None else rows + count
        size = int(sum(part.size for part in parts) * self._ratio())
        origin = paths[0] if len(paths) == 1 else f"{len(paths)} files, {paths[0]} to {paths[-1]}"
        metadata = BlockMetadata(rows, size, self.schema(), paths, None, origin)
        return ReadTask(_ReadParts(scan, parts), metadata)

    def _part_rows(self, part: FilePart) -> int | None:
        known = self.footers.known([part.path])
        if not known:
            return None
        footer = known[0][1]
        numbers = range(len(footer.groups)) if part.row_groups is None else part.row_groups
        rows = sum(footer.groups[number][0] for number in numbers)
        return (rows if part.stop is None else min(part.stop, rows)) - part.start

    def _automatic(self, estimate: int) -> list[list[FilePart]]:
        """Tasks of about ``read_task_size``, and enough of them for all CPUs, if there is enough to read."""
        goal = self.policy.task_bytes
        files = self.files.files
        ratio = self._ratio()
        cost = estimate + len(files) * _FILE_COST
        worth = cost // _WORTH_SPLITTING
        least = max(1, worth) if worth <= 2 else min(2 * cpu_count(), worth)  # the session is not asked in vain
        tasks = max(-(-cost // goal), least)
        split = len(files) <= _MOST_SPLIT_FILES and (
            len(files) < tasks or any((file.size or 0) * ratio > 2 * goal for file in files)
        )
        if not split:
            parts = [_whole(file) for file in files]
        else:
            largest = max(1.0, min(goal, estimate / tasks))
            big = [file.path for file in files if (file.size or 0) * ratio > largest]
            self.footers.get(big)
            chosen = set(big)
            parts = [part for f in files for part in (self._groups(f) if f.path in chosen else [_whole(f)])]
        return [
            _merged(parts[r.start : r.stop]) for r in cut([part.size * ratio + _FILE_COST for part in parts], tasks)
        ]

    def _exactly(self, tasks: int) -> list[list[FilePart]]:
        """As many tasks as were asked for, if there are as many rows."""
        parts = [_whole(file) for file in self.files.files]
        if tasks > len(parts):
            self.footers.get(self.files.paths)
            parts = [part for file in self.files.files for part in self._groups(file)]
        if tasks > len(parts) and self.predicate is None:
            return self._by_rows(parts, tasks)
        return [_merged(parts[r.start : r.stop]) for r in cut([part.size for part in parts], tasks)]

    def _by_rows(self, parts: list[FilePart], tasks: int) -> list[list[FilePart]]:
        """Cut within row groups. Each task decodes the groups that it has rows of."""
        counts = [self._part_rows(part) or 0 for part in parts]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        tasks = max(1, min(tasks, total))
        result = []
        for task in range(tasks):
            start, stop = total * task // tasks, total * (task + 1) // tasks
            chosen = []
            for part, count, end in zip(parts, counts, ends):
                low, high = max(start - (end - count), 0), min(stop - (end - count), count)
                if low < high:
                    size = part.size * (high - low) // max(1, count)
                    chosen.append(replace(part, size=int(size), start=int(low), stop=int(high)))
            result.append(chosen or parts[:1])
        return result

    def _limited(self, limit: int) -> list[list[FilePart]]:
        """Only as many files and row groups as it takes."""
        chosen: list[FilePart] = []
        left = limit
        for file in self.files.files:
            self.footers.get([file.path])
            for part in self._groups(file):
                rows = self._part_rows(part) or 0
                chosen.append(replace(part, stop=left) if rows > left else part)
                left -= rows
                if left <= 0:
                    break
            if left <= 0:
                break
        ratio = self._ratio()
        sizes = [part.size * ratio for part in chosen]
        tasks = max(1, int(sum(sizes) // self.policy.task_bytes))
        return [_merged(chosen[r.start : r.stop]) for r in cut(sizes, tasks)]

    def _groups(self, file: FileInfo) -> list[FilePart]:
        """A part for each row group; the whole file where its footer is not known or says that there are none."""
        known = self.footers.known([file.path])
        if not known or not known[0][1].groups:
            return [_whole(file)]
        groups = known[0][1].groups
        encoded = sum(size for _, size in groups) or 1
        parts, first = [], 0
        for number, (rows, size) in enumerate(groups):
            parts.append(FilePart(file.path, int((file.size or size) * size / encoded), (number,), first))
            first += rows
        return parts

    def _ratio(self) -> float:
        """Bytes in memory, of the wanted columns, for each byte on storage."""
        columns = None
        if self.columns is not None:
            columns = frozenset((*self.columns, *self.predicate_columns))
        cache = self.footers.ratios
        if columns not in cache:
            files = self.files.files
            step = max(1, len(files) // _SAMPLED_FILES)
            chosen = files[::step][:_SAMPLED_FILES]
            memory = stored = 0.0
            for file, footer in zip(chosen, self.footers.get([file.path for file in chosen], sample=True)):
                if footer is not None and footer.sampled and file.size:
                    size = sum(v for name, v in footer.memory.items() if columns is None or name in columns)
                    memory += size * sum(encoded for _, encoded in footer.groups) / footer.sampled
                    stored += file.size
            cache[columns] = memory / stored if stored else 2.0
        return cache[columns]

    # schemas

    def _stored_schema(self) -> tuple[pa.Schema, str]:
        """What the files that were looked at have in common, and the file that is named when another does not fit."""
        if self.given_schema is not None:
            return self.given_schema, GIVEN_SCHEMA
        known = self.footers.known(self.files.paths)
        if not known:
            for file in self.files.files:
                if self.footers.get([file.path], sample=True)[0] is not None:
                    break
            known = self.footers.known(self.files.paths)
        if not known:
            raise read_error(self.files.files[0].path, "none of the files can be read")
        cache = self.footers.unified
        if len(known) not in cache:
            cache[len(known)] = _unify(known)
        return cache[len(known)], known[0][0]

    def _all_fields(self) -> dict[str, pa.Field]:
        fields = {field.name: field for field in self._stored_schema()[0]}
        for name, (dtype, shape) in self.tensor_columns.items():
            if name in fields:
                kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(np.dtype(dtype)), tuple(shape))
                fields[name] = pa.field(name, kind)
        for name, kind in self.partitions.types.items():
            fields.setdefault(name, pa.field(name, kind))
        if self.path_column:
            fields.setdefault(self.path_column, pa.field(self.path_column, pa.string()))
        return fields

    def _without_excluded_files(self) -> ParquetReader:
        """Leave out the files whose partition values say that no row can satisfy the predicate."""
        import pyarrow.dataset as pads  # which imports pandas: not before it is needed

        form = pads.ParquetFileFormat()
        schema = pa.schema(list(self._all_fields().values()))
        fragments = []
        for file in self.files.files:
            known = None
            for name, value in self.partitions.values(file.path).items():
                one = pads.field(name) == value if value.is_valid else pads.field(name).is_null()
                known = one if known is None else known & one
            known = pads.scalar(True) if known is None else known
            fragments.append(form.make_fragment(file.path, self.files.filesystem, known))
        dataset = pads.FileSystemDataset(fragments, schema, form, self.files.filesystem)
        kept = {fragment.path for fragment in dataset.get_fragments(filter=self.predicate)}
        if len(kept) == len(self.files.files):
            return self
        # one file stays, so that there is a schema; its rows do not satisfy the predicate
        kept = kept or {self.files.files[0].path}
        return replace(self, files=self.files.keep(kept.__contains__))


class _ReadParts:
    """The function of a read task."""

    def __init__(self, scan: ParquetScan, parts: list[FilePart]) -> None:
        self.scan = scan
        self.parts = parts

    def __call__(self) -> Iterator[pa.Table]:
        return self.scan.read(self.parts)


def _whole(file: FileInfo) -> FilePart:
    return FilePart(file.path, file.size or SMALL_FILE)


def _merged(parts: list[FilePart]) -> list[FilePart]:
    """Neighbouring row groups of one file as one part."""
    result: list[FilePart] = []
    for part in parts:
        last = result[-1] if result else None
        if (
            last is not None
            and last.path == part.path
            and last.row_groups is not None
            and part.row_groups is not None
            and last.stop is None
            and part.start == 0
            and part.stop is None
            and part.row_groups[0] == last.row_groups[-1] + 1
        ):
            result[-1] = replace(last, size=last.size + part.size, row_groups=last.row_groups + part.row_groups)
        else:
            result.append(part)
    return result


def _unify(known: list[tuple[str, Footer]]) -> pa.Schema:
    first_path, first = known[0]
    distinct = [(first_path, first.schema)]
    for path, footer in known[1:]:
        if not any(footer.schema.equals(schema) for _, schema in distinct):
            distinct.append((path, footer.schema))
    unified = first.schema
    for path, schema in distinct[1:]:
        try:
            unified = unify_schemas([unified, schema])
        except (SchemaError, pa.ArrowException) as error:
            culprit = _partner(distinct, path, schema)
            raise schema_conflict(culprit[0], culprit[1], path, schema, error) from error
    return unified


def _partner(distinct: list[tuple[str, pa.Schema]], path: str, schema: pa.Schema) -> tuple[str, pa.Schema]:
    """The file that ``path`` does not fit together with."""
    for other, candidate in distinct:
        if other == path:
            break
        try:
            unify_schemas([candidate, schema])
        except (SchemaError, pa.ArrowException):
            return other, candidate
    return distinct[0]


def referenced_columns(predicate: pc.Expression, schema: pa.Schema) -> tuple[str, ...] | None:
    """The columns that an expression uses. None if it does not fit the schema.

    Expressions do not tell what they refer to; but they cannot be bound to a table that lacks one of their columns.
    """

    import pyarrow.dataset as pads

    def binds(names: list[str]) -> bool:
        empty = pa.schema([schema.field(name) for name in names]).empty_table()
        try:
            pads.dataset(empty).scanner(filter=predicate)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowKeyError):
            return False
        return True

    def needed(names: list[str], others: list[str]) -> list[str]:
        """Those of ``names`` that cannot be missing, beside ``others`` that stay."""
        if not names or binds(others):
            return []
        if len(names) == 1:
            return names
        middle = len(names) // 2
        left, right = names[:middle], names[middle:]
        found = needed(left, right + others)
        return found + needed(right, found + others)

    if not binds(schema.names):
        return None
    return tuple(needed(schema.names, []))
