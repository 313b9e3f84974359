"""How the files of a write are called."""

from __future__ import annotations

import inspect
import posixpath
from typing import TYPE_CHECKING, Any

from aktis.data._blocks.types import Block

if TYPE_CHECKING:
    from pyarrow import fs as pafs

__all__ = ["BlockWritePathProvider", "DefaultBlockWritePathProvider", "FilenameProvider"]


class FilenameProvider:
    """Names for files, decided where they are written. Subclass it, and give an instance to ``write_*``.

    Names must depend on nothing but the arguments, so that a task that is run again names its files as before. All
    names of one write must be different. A name may contain ``/``: files are then put into folders.
    """

    def get_filename_for_block(self, block: Block, write_uuid: str, task_index: int, block_index: int) -> str:
        """The name of a file with many rows, with its extension.

        Args:
            block: the first block of the file, an Arrow table.
            write_uuid: the same for all files of one write, different for each write.
            task_index: of the writing task among the tasks of the write.
            block_index: of the file among the files of the task.
        """
        raise NotImplementedError(f"{type(self).__name__} must define get_filename_for_block()")

    def get_filename_for_row(
        self, row: dict[str, Any], write_uuid: str, task_index: int, block_index: int, row_index: int
    ) -> str:
        """The name of a file with one row (images), with its extension.

        Args:
            row: the row.
            write_uuid: the same for all files of one write, different for each write.
            task_index: of the writing task among the tasks of the write.
            block_index: of the block among the blocks of the task.
            row_index: of the row in its block.
        """
        raise NotImplementedError(f"{type(self).__name__} must define get_filename_for_row()")


class BlockWritePathProvider:
    """Paths for files, decided when everything is written. The older form of :class:`FilenameProvider`."""

    def _get_write_path_for_block(
        self,
        base_path: str,
        *,
        filesystem: pafs.FileSystem | None = None,
        dataset_uuid: str | None = None,
        block: Any = None,
        block_index: int | None = None,
        file_format: str | None = None,
    ) -> str:
        """The path of a file, somewhere below ``base_path``.

        Args:
            base_path: the folder that is written to.
            filesystem: where that folder is.
            dataset_uuid: the same for all files of one write, different for each write.
            block: None: blocks are not kept until paths are decided.
            block_index: of the file, counted over the whole data set in the order of its rows.
            file_format: the extension that the file should have, such as "parquet".
        """
        raise NotImplementedError(f"{type(self).__name__} must define _get_write_path_for_block()")

    def __call__(
        self,
        base_path: str,
        *,
        filesystem: pafs.FileSystem | None = None,
        dataset_uuid: str | None = None,
        block: Any = None,
        block_index: int | None = None,
        file_format: str | None = None,
    ) -> str:
        return self._get_write_path_for_block(
            base_path,
            filesystem=filesystem,
            dataset_uuid=dataset_uuid,
            block=block,
            block_index=block_index,
            file_format=file_format,
        )


class DefaultBlockWritePathProvider(BlockWritePathProvider):
    """``{dataset_uuid}_{block_index:06}.{file_format}``."""

    def _get_write_path_for_block(
        self,
        base_path: str,
        *,
        filesystem: pafs.FileSystem | None = None,
        dataset_uuid: str | None = None,
        block: Any = None,
        block_index: int | None = None,
        file_format: str | None = None,
    ) -> str:
        return posixpath.join(base_path, default_filename(dataset_uuid or "", block_index or 0, file_format or ""))


def default_filename(dataset_uuid: str, index: int, file_format: str) -> str:
    """What a file is called unless somebody decides otherwise. Names sort in the order of rows."""
    return f"{dataset_uuid}_{index:06}.{file_format}"


def call_provider(method: Any, subject: Any, write_uuid: str, **indices: int) -> str:
    """Call a method of a user's :class:`FilenameProvider`, which may have the older form without ``write_uuid``."""
    if "write_uuid" in inspect.signature(method).parameters:
        indices = {"write_uuid": write_uuid, **indices}  # type: ignore[dict-item]
    name = method(subject, **indices)
    if not isinstance(name, str) or not name:
        raise TypeError(f"{type(method.__self__).__name__}.{method.__name__} must return a file name, not {name!r}")
    return name
