"""Files as they are."""

from __future__ import annotations

from typing import Any

from pyarrow import fs as pafs

from aktis.data.datasource.file_based_datasource import FileBasedDatasource

__all__ = ["BinaryDatasource"]


class BinaryDatasource(FileBasedDatasource):
    """Rows are the contents of files: ``bytes``, or (``include_paths``) pairs of path and bytes."""

    _NUM_THREADS_PER_TASK = 4
    _ONE_ROW_PER_FILE = True
    _COLUMN_NAME = "bytes"

    def __init__(self, paths: Any = None, *, pairs: bool = False, **file_args: Any) -> None:
        super().__init__(paths, **file_args)
        self._pairs = pairs

    def _open_input_source(self, filesystem: pafs.FileSystem, path: str, **open_args: Any) -> Any:
        # contents as they are: not decompressed, unless that was asked for
        return filesystem.open_input_stream(path, **{"compression": None, **open_args})

    def _read_row(self, f: Any, path: str, **_: Any) -> Any:
        content: bytes = f.readall()
        return (path, content) if self._pairs else content
