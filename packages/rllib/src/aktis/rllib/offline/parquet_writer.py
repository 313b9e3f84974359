"""Batches to Parquet files, a row for each step."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from aktis.rllib.offline._files import output_name
from aktis.rllib.offline._tables import META, batch_to_table, pyarrow
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.offline.output_writer import OutputWriter
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["ParquetWriter"]


class ParquetWriter(OutputWriter):
    """Writes each batch as a row group, in files ``output-<date>_worker-<i>_<n>.parquet``.

    A Parquet file can be read when it is complete: it has another name until the next one begins, or until ``close()``.

    Args:
        path: A folder, which is made if there is none.
        ioctx: The context of the worker.
        max_file_size: Bytes (of the columns in memory) after which the next file begins.

    Raises:
        ImportError: pyarrow is not installed.
    """

    def __init__(
        self, path: str | os.PathLike[str], ioctx: IOContext | None = None, max_file_size: int = 64 * 1024 * 1024
    ) -> None:
        pyarrow()
        self.ioctx = ioctx or IOContext()
        self.max_file_size = max_file_size
        self.folder = os.path.abspath(os.path.expanduser(os.fspath(path)))
        os.makedirs(self.folder, exist_ok=True)
        self._writer: Any = None
        self._meta: dict[str, Any] | None = None
        self._schema: Any = None
        self._paths = ("", "")
        self._bytes = 0
        self._number = 0

    def write(self, sample_batch: SampleBatch | MultiAgentBatch) -> None:
        """Keep a batch: its steps, policy by policy.

        Raises:
            OfflineDataError: a column holds what a table cannot.
        """
        from pyarrow import parquet

        table, meta = batch_to_table(sample_batch)
        if self._writer is not None and (
            self._bytes >= self.max_file_size or meta != self._meta or not table.schema.equals(self._schema)
        ):
            self.close()
        if self._writer is None:
            self._paths = self._next_paths()
            self._meta, self._schema, self._bytes = meta, table.schema, 0
            schema = table.schema.with_metadata({META: json.dumps(meta).encode()})
            self._writer = parquet.ParquetWriter(self._paths[0], schema)
        self._writer.write_table(table.cast(self._writer.schema), row_group_size=max(1, table.num_rows))
        self._bytes += table.nbytes

    def _next_paths(self) -> tuple[str, str]:
        date = time.strftime("%Y-%m-%d_%H-%M-%S")
        while True:
            path = output_name(self.folder, date, self.ioctx.worker_index, self._number, ".parquet")
            unfinished = os.path.join(self.folder, f".{os.path.basename(path)}.unfinished")
            self._number += 1
            try:
                open(unfinished, "xb").close()
            except FileExistsError:
                continue
            if not os.path.exists(path):
                return unfinished, path
            os.unlink(unfinished)

    def close(self) -> None:
        """Complete the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            os.replace(*self._paths)
