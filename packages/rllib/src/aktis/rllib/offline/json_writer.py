"""Batches to files of JSON lines."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import IO, Any

from aktis.rllib.offline._files import is_uri, open_text, output_name
from aktis.rllib.offline._json_lines import to_json
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.offline.output_writer import OutputWriter
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["JsonWriter"]


class JsonWriter(OutputWriter):
    """Writes each batch as one line, in files ``output-<date>_worker-<i>_<n>.json``.

    A line is appended with one write and is in the file when ``write`` returns: whatever happens to the process, what was
    written before can be read. Files of URIs are complete when the next one begins, or on ``close()``.

    Args:
        path: A folder, which is made if there is none; or a URI that fsspec knows.
        ioctx: The context of the worker.
        max_file_size: Bytes after which the next file begins.
        compress_columns: Columns that are packed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        ioctx: IOContext | None = None,
        max_file_size: int = 64 * 1024 * 1024,
        compress_columns: Iterable[str] = frozenset(("obs", "new_obs")),
    ) -> None:
        if max_file_size < 1:
            raise ValueError(f"max_file_size={max_file_size}: it must be a positive number of bytes")
        self.ioctx = ioctx or IOContext()
        self.max_file_size = max_file_size
        self.compress_columns = frozenset(compress_columns)
        folder = os.fspath(path)
        self._remote = is_uri(folder)
        self.folder = folder if self._remote else os.path.abspath(os.path.expanduser(folder.removeprefix("file://")))
        if not self._remote:
            os.makedirs(self.folder, exist_ok=True)
        self.current_path: str | None = None
        self._number = 0
        self._bytes = 0
        self._file: IO[Any] | None = None  # of a URI; local files are opened for each line

    def write(self, sample_batch: SampleBatch | MultiAgentBatch) -> None:
        """Append a batch.

        Raises:
            OfflineDataError: a column holds what cannot be written.
            OSError: the disk is full, for example; then nothing of this batch is in the file.
        """
        line = (to_json(sample_batch, self.compress_columns) + "\n").encode()
        if self.current_path is None or self._bytes >= self.max_file_size:
            self._next_file()
        assert self.current_path is not None
        if self._remote:
            assert self._file is not None
            self._file.write(line)
        else:
            _append(self.current_path, line)
        self._bytes += len(line)

    def _next_file(self) -> None:
        self.close()
        date = time.strftime("%Y-%m-%d_%H-%M-%S")
        while True:
            path = output_name(self.folder, date, self.ioctx.worker_index, self._number, ".json")
            self._number += 1
            if self._remote:
                self._file = open_text(path, "wb")
                break
            try:
                open(path, "xb").close()  # nobody else's: another writer of the same second takes the next number
                break
            except FileExistsError:
                continue
        self.current_path = path
        self._bytes = 0

    def close(self) -> None:
        """Complete the file."""
        file, self._file = self._file, None
        self.current_path = None
        if file is not None:
            file.close()


def _append(path: str, line: bytes) -> None:
    """The whole line, or nothing of it: a full disk takes a part, and says so only the next time."""
    with open(path, "ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                file.truncate(before)
            raise OSError(error.errno, f"{error.strerror}: what was sampled cannot be written", path) from error
