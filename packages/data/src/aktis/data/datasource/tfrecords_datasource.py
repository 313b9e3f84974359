"""TFRecord files of ``tf.train.Example``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa

from aktis.data._blocks.types import Block
from aktis.data.datasource._tfrecord import decode_examples, example_class, read_records
from aktis.data.datasource.file_based_datasource import FileBasedDatasource, with_compressed

__all__ = ["TFRecordDatasource"]

_PORTION = 8 << 20  # bytes of records that become one table


class TFRecordDatasource(FileBasedDatasource):
    """One row per example, one column per feature. Features with one value in all examples of a file are no lists."""

    _FILE_EXTENSION = with_compressed("tfrecords", "tfrecord")
    _MEMORY_RATIO = 2.0
    _OWN_TABLES = True

    def create_reader(self, paths: Any = None, filesystem: Any = None, **read_args: Any) -> Any:
        example_class()  # says which packages are missing, before anything is read
        return super().create_reader(paths, filesystem, **read_args)

    def _read_stream(
        self, f: Any, path: str, verify: bool = True, list_columns: Collection[str] = (), **_: Any
    ) -> Iterator[Block]:
        lists = set(list_columns)
        waiting: list[bytes] = []
        size = 0
        for record in read_records(f, verify=verify):
            waiting.append(record)
            size += len(record)
            if size >= _PORTION:
                yield _decode(waiting, lists)
                waiting, size = [], 0
        if waiting:
            yield _decode(waiting, lists)

    def _sink(self, options: Any, args: Mapping[str, Any], args_fn: Any) -> Any:
        from aktis.data.datasource.tfrecords_sink import TFRecordsSink

        return TFRecordsSink(options)


def _decode(records: list[bytes], lists: set[str]) -> Block:
    """A table; features that were lists before stay lists, also where each has one value."""
    table = decode_examples(records, list_columns=lists)
    lists.update(
        field.name for field in table.schema if pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
    )
    return table
