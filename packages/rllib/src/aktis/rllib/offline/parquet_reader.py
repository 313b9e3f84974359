"""Batches from Parquet files, in which rows are steps."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aktis.rllib.offline._adapt import adapt
from aktis.rllib.offline._files import expand, is_uri, open_text
from aktis.rllib.offline._tables import META, pyarrow, table_to_batch
from aktis.rllib.offline.errors import OfflineDataError
from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, concat_samples

__all__ = ["ParquetReader"]

Batch = SampleBatch | MultiAgentBatch
_STEPS = 1000  # of a batch of somebody else's file, at least; an episode is not cut for it


class ParquetReader(InputReader):
    """Reads steps, over and over.

    Row groups of ``ParquetWriter`` are batches. Other files are read in parts of about a thousand steps that end where an
    episode does. Workers share files and batches as those of a ``JsonReader`` do.

    Args:
        inputs: A file, a folder (its ``*.parquet`` files), a pattern, a URI that fsspec knows, or a list of those. Columns
            have the names of a SampleBatch: ``obs``, ``actions``, ``rewards``, ``terminateds``, ...; lists are arrays, structs
            are dicts.
        ioctx: The context of the worker.

    Raises:
        ImportError: pyarrow is not installed.
        FileNotFoundError: there is no such file.
    """

    adapts = True

    def __init__(
        self, inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], ioctx: IOContext | None = None
    ) -> None:
        pyarrow()
        self.ioctx = ioctx or IOContext()
        self.files = expand(inputs, (".parquet",))
        self._batches = self._without_end()

    def next(self) -> Batch:
        """The next batch.

        Raises:
            OfflineDataError: a file is not of steps, or not of those of the worker's policies.
        """
        batch: Batch = next(self._batches)
        return batch

    def read_all_files(self) -> Iterator[Batch]:
        """Every batch of all files, once."""
        for path in self.files:
            for number, batch in enumerate(self._of_file(path)):
                yield adapt(batch, self.ioctx, f"{path}, batch {number + 1}")

    def close(self) -> None:
        """Close the file that is open."""
        self._batches.close()

    def _without_end(self) -> Any:
        workers, index = self.ioctx.num_workers, self.ioctx.worker_index
        by_file = workers > 1 and len(self.files) >= workers
        mine = self.files[index - 1 :: workers] if by_file else self.files
        every = 1 if by_file else workers
        while True:
            count, read = 0, False
            for path in mine:
                for number, batch in enumerate(self._of_file(path)):
                    if count % every == (index - 1) % every:
                        read = True
                        yield adapt(batch, self.ioctx, f"{path}, batch {number + 1}")
                    count += 1
            if count == 0:
                raise OfflineDataError(f"there is no step in {', '.join(mine[:3])}: the file is empty")
            if not read:
                every = 1

    def _of_file(self, path: str) -> Iterator[Batch]:
        pa = pyarrow()
        with open_text(path, "rb") if is_uri(path) else open(path, "rb") as opened:
            try:
                file = pa.parquet.ParquetFile(opened)
            except (pa.ArrowException, OSError) as error:
                raise OfflineDataError(f"{path} is no Parquet file: {error}") from error
            told = (file.schema_arrow.metadata or {}).get(META)
            meta = None if told is None else json.loads(told)
            groups = (file.read_row_group(number) for number in range(file.num_row_groups))
            try:
                batches = [] if meta is None else (table_to_batch(table, meta) for table in groups if table.num_rows)
                yield from batches if meta is not None else _whole_episodes(groups)
            except OfflineDataError as error:
                raise OfflineDataError(f"{path}: {error}") from error.__cause__


def _whole_episodes(tables: Iterator[Any]) -> Iterator[SampleBatch]:
    """Parts of at least ``_STEPS`` steps, cut where an episode ends (if the columns say where)."""
    rest: SampleBatch | None = None
    for table in tables:
        batch = table_to_batch(table, None)
        assert isinstance(batch, SampleBatch)
        whole = batch if rest is None else concat_samples([rest, batch])
        assert isinstance(whole, SampleBatch)
        start = 0
        for end in _ends(whole):
            if end - start >= _STEPS:
                yield whole.slice(start, end).copy()
                start = end
        rest = whole.slice(start, whole.count) if start < whole.count else None
    if rest is not None and rest.count:
        yield rest.copy()


def _ends(batch: SampleBatch) -> list[int]:
    """Rows before which a new episode begins."""
    rows = batch.count
    marks = [name for name in ("terminateds", "truncateds", "dones") if name in dict.keys(batch)]
    if not marks and "eps_id" not in batch:
        return list(range(_STEPS, rows, _STEPS))
    end: np.ndarray[Any, Any] = np.zeros(rows, bool)
    for name in marks:
        end |= np.asarray(dict.__getitem__(batch, name)).astype(bool)
    if "eps_id" in batch:
        ids = np.asarray(batch["eps_id"])
        end[:-1] |= ids[1:] != ids[:-1]
    return [int(row) + 1 for row in np.flatnonzero(end)]
