"""How the files of a read are found and described: meant to be replaced by those who know their storage better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from aktis.data._blocks.types import BlockMetadata
from aktis.data.datasource._listing import FileInfo, FileList, Paths, list_files
from aktis.data.datasource.partitioning import PathPartitionFilter

__all__ = [
    "BaseFileMetadataProvider",
    "DefaultFileMetadataProvider",
    "DefaultParquetMetadataProvider",
    "FastFileMetadataProvider",
    "FileExtensionFilter",
    "FileMetadataProvider",
    "FileShuffleConfig",
    "ParquetMetadataProvider",
]


class FileMetadataProvider:
    """Describes the block that is read from some files."""

    def _get_block_metadata(self, paths: list[str], schema: pa.Schema | None, **kwargs: Any) -> BlockMetadata:
        raise NotImplementedError(f"{type(self).__name__} must define _get_block_metadata()")

    def __call__(self, paths: list[str], schema: pa.Schema | None, **kwargs: Any) -> BlockMetadata:
        return self._get_block_metadata(paths, schema, **kwargs)


class BaseFileMetadataProvider(FileMetadataProvider):
    """Also finds the files. Subclass it, define both methods, and pass an instance as ``meta_provider=``."""

    def _get_block_metadata(
        self,
        paths: list[str],
        schema: pa.Schema | None,
        *,
        rows_per_file: int | None = None,
        file_sizes: list[int | None] | None = None,
        **kwargs: Any,
    ) -> BlockMetadata:
        """What is known about the block that is made of ``paths``."""
        sizes = list(file_sizes or [None])
        known = None if any(size is None for size in sizes) else sum(size or 0 for size in sizes)
        rows = None if rows_per_file is None else len(paths) * rows_per_file
        return BlockMetadata(rows, known, schema, list(paths))

    def expand_paths(self, paths: list[str], filesystem: Any, **kwargs: Any) -> Iterator[tuple[str, int | None]]:
        """The files that ``paths`` stand for, with their sizes in bytes (None: not known)."""
        raise NotImplementedError(f"{type(self).__name__} must define expand_paths()")


class DefaultFileMetadataProvider(BaseFileMetadataProvider):
    """Lists directories and patterns, and asks for the size of each file."""

    def expand_paths(self, paths: list[str], filesystem: Any, **kwargs: Any) -> Iterator[tuple[str, int | None]]:
        for file in list_files(paths, filesystem, **kwargs).files:
            yield file.path, file.size


class FastFileMetadataProvider(DefaultFileMetadataProvider):
    """Takes paths as they are: each one is a file, nothing is listed or asked for. A missing file fails when it is read."""

    def expand_paths(self, paths: list[str], filesystem: Any, **kwargs: Any) -> Iterator[tuple[str, int | None]]:
        for file in list_files(paths, filesystem, expand_directories=False).files:
            yield file.path, None


class ParquetMetadataProvider(DefaultFileMetadataProvider):
    """For Parquet files: footers say how many rows there are and how large they will be."""


DefaultParquetMetadataProvider = ParquetMetadataProvider


class FileExtensionFilter:
    """Keeps the paths that end with one of the extensions, upper or lower case.

    Args:
        file_extensions: ``"csv"``, ``".csv"`` or a list of such.
        allow_if_no_extension: keep paths without any extension, too.
    """

    def __init__(self, file_extensions: str | Sequence[str], allow_if_no_extension: bool = False) -> None:
        names = [file_extensions] if isinstance(file_extensions, str) else list(file_extensions)
        self.extensions = tuple("." + name.lower().lstrip(".") for name in names)
        self.allow_if_no_extension = allow_if_no_extension

    def apply(self, path: str) -> bool:
        """Whether one path is kept."""
        name = path.rsplit("/", 1)[-1].lower()
        return name.endswith(self.extensions) or (self.allow_if_no_extension and "." not in name)

    def __call__(self, paths: Sequence[str]) -> list[str]:
        return [path for path in paths if self.apply(path)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileExtensionFilter) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.extensions, self.allow_if_no_extension))

    def __repr__(self) -> str:
        return f"FileExtensionFilter({list(self.extensions)!r}, allow_if_no_extension={self.allow_if_no_extension})"


PathFilter = Any  # a callable from paths to those that are kept


@dataclass(frozen=True)
class FileShuffleConfig:
    """Read files in a random order: ``shuffle=FileShuffleConfig(seed=42)``. Without a seed, each read draws its own."""

    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and not isinstance(self.seed, int):
            raise ValueError(f"seed of a FileShuffleConfig is an int or None, got {self.seed!r}")


@dataclass(frozen=True)
class FileSelection:
    """Which of the files below the given paths are read, and in what order: arguments that all file reads share."""

    meta_provider: BaseFileMetadataProvider | None = None
    partition_filter: PathFilter | None = None
    file_extensions: Sequence[str] | None = None
    ignore_missing_paths: bool = False
    shuffle: Literal["files"] | FileShuffleConfig | None = None

    def __post_init__(self) -> None:
        if self.shuffle not in (None, "files") and not isinstance(self.shuffle, FileShuffleConfig):
            raise ValueError(f"shuffle is None, 'files' or a FileShuffleConfig, got {self.shuffle!r}")
        if self.meta_provider is not None and not isinstance(self.meta_provider, BaseFileMetadataProvider):
            raise TypeError(
                f"meta_provider is an instance of a subclass of BaseFileMetadataProvider, got {self.meta_provider!r}"
            )

    def files(self, paths: Paths, filesystem: Any, usual_extensions: Sequence[str] | None) -> FileList:
        """The files, listed now.

        Args:
            paths: as users give them.
            filesystem: a pyarrow or fsspec file system, or None.
            usual_extensions: in directories, only such files are read, if there is any.
        """
        found = self._list(paths, filesystem)
        if self.file_extensions is not None:
            found = self._kept(found, FileExtensionFilter(self.file_extensions).apply, f"{self.file_extensions!r}")
        elif usual_extensions is not None and not all(file.explicit for file in found.files):
            found = _only_usual(found, FileExtensionFilter(usual_extensions))
        if self.partition_filter is not None:
            chosen = set(_as_filter(self.partition_filter)(found.paths))
            found = self._kept(found, chosen.__contains__, f"the partition filter {self.partition_filter!r}")
        if self.shuffle is not None:
            seed = self.shuffle.seed if isinstance(self.shuffle, FileShuffleConfig) else None
            order = np.random.default_rng(seed).permutation(len(found.files))
            found = FileList(found.filesystem, tuple(found.files[i] for i in order), found.driver_only, found.given)
        return found

    def _list(self, paths: Paths, filesystem: Any) -> FileList:
        provider = self.meta_provider
        fast = isinstance(provider, FastFileMetadataProvider)
        listing = type(provider).expand_paths if provider is not None else DefaultFileMetadataProvider.expand_paths
        if listing in (DefaultFileMetadataProvider.expand_paths, FastFileMetadataProvider.expand_paths):
            return list_files(paths, filesystem, ignore_missing=self.ignore_missing_paths, expand_directories=not fast)
        assert provider is not None
        resolved = list_files(paths, filesystem, expand_directories=False)
        files = tuple(
            FileInfo(path, size, path) for path, size in provider.expand_paths(resolved.paths, resolved.filesystem)
        )
        return FileList(resolved.filesystem, files, resolved.driver_only, resolved.given)

    @staticmethod
    def _kept(found: FileList, chosen: Any, what: str) -> FileList:
        kept = found.keep(chosen)
        if not kept.files:
            raise ValueError(
                f"No file is left to read: {what} keeps none of the {len(found.files)} files, "
                f"such as {found.files[0].path!r}"
            )
        return kept


def _as_filter(given: Any) -> Any:
    """A function from paths to kept paths. Functions of one path that give a bool are accepted, too."""
    if isinstance(given, (PathPartitionFilter, FileExtensionFilter)):
        return given

    def keep(paths: list[str]) -> list[str]:
        answer = given(paths)
        if isinstance(answer, bool):
            return [path for path in paths if given(path)]
        return list(answer)

    return keep


def _only_usual(found: FileList, usual: FileExtensionFilter) -> FileList:
    """Without the files in directories that have other extensions; with all of them where none has a usual one."""
    roots = {file.root for file in found.files if not file.explicit and usual.apply(file.path)}
    files = tuple(f for f in found.files if f.explicit or f.root not in roots or usual.apply(f.path))
    return FileList(found.filesystem, files, found.driver_only, found.given)
