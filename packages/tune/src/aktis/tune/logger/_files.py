"""Files that grow by lines: what is appended is in the kernel's hands when the call returns; few are open at a time."""

from __future__ import annotations

import os
from collections import OrderedDict

__all__ = ["AppendFiles", "ends_with"]

# Files open at a time in one logger. Three loggers stay far from the usual limit of 1,024 descriptors, and trials that run
# at the same time are seldom more.
_LIMIT = 64


class AppendFiles:
    """Appends to any number of files with a bounded number of descriptors: the one used longest ago is closed first."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self.limit = max(limit, 1)
        self._descriptors: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._descriptors)

    def append(self, path: str, data: bytes) -> None:
        """Write ``data`` at the end of ``path``: all of it or, when that fails, nothing.

        Raises:
            OSError: The file cannot be written (the disk is full, for instance).
        """
        descriptor = self._descriptor(path)
        if not data:
            return
        written = os.write(descriptor, data)
        if written != len(data):
            self._write_rest(descriptor, data, written)

    def _descriptor(self, path: str) -> int:
        descriptor = self._descriptors.get(path)
        if descriptor is not None:
            self._descriptors.move_to_end(path)
            return descriptor
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = os.open(path, flags, 0o666)
        self._descriptors[path] = descriptor
        if len(self._descriptors) > self.limit:
            os.close(self._descriptors.popitem(last=False)[1])
        return descriptor

    @staticmethod
    def _write_rest(descriptor: int, data: bytes, written: int) -> None:
        try:
            while written < len(data):
                written += os.write(descriptor, data[written:])
        except OSError:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)  # no half line stays
            raise

    def close(self, path: str) -> None:
        """Close one file, when it is open."""
        descriptor = self._descriptors.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def close_all(self) -> None:
        """Close every file; they are opened again when needed."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def __del__(self) -> None:
        self.close_all()

    def __reduce__(self) -> tuple[type[AppendFiles], tuple[int]]:
        """Descriptors are not copied: a copy would close what is open here."""
        return AppendFiles, (self.limit,)


def ends_with(path: str, end: bytes) -> bool:
    """Whether the file ends so; empty and missing files do."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(-min(size, len(end)), os.SEEK_END)
            return size == 0 or file.read() == end
    except FileNotFoundError:
        return True
