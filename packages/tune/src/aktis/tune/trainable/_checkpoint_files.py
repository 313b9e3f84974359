"""Directories of checkpoints: written whole, recognised, described.

A checkpoint is written into a directory with a temporary name, which is renamed when everything is in it: after a kill there is
either all of it or nothing that looks like it. In the directory, beside what the user saved:

- ``.is_checkpoint``: this is one,
- ``.tune_metadata.json``: the state of the trainable (Ray's ``.tune_metadata``, a pickle, is read too).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.util.files import write_whole

if TYPE_CHECKING:
    from typing import TypeGuard

    from aktis.air.checkpoint import Checkpoint

__all__ = [
    "MARKER",
    "METADATA",
    "commit",
    "directory_name",
    "discard_leftovers",
    "find_directory",
    "from_bytes",
    "is_checkpoint",
    "mark",
    "name_of_new",
    "new_directory",
    "plain",
    "read_metadata",
    "remove",
    "to_bytes",
    "unmark",
    "write_metadata",
]

MARKER = ".is_checkpoint"
METADATA = ".tune_metadata.json"
RAY_METADATA = ".tune_metadata"
_TEMPORARY = ".writing_"


def directory_name(iteration: int) -> str:
    """``checkpoint_000012``."""
    return f"checkpoint_{iteration:06d}"


def is_checkpoint(given: Any) -> TypeGuard[Checkpoint]:
    """Whether it is a Checkpoint, and not a path of one."""
    if isinstance(given, str):
        return False
    from aktis.air.checkpoint import Checkpoint

    return isinstance(given, Checkpoint)


def new_directory(parent: str, name: str) -> str:
    """Make the directory with a temporary name in which the checkpoint ``name`` is to be written."""
    path = os.path.join(parent, f"{_TEMPORARY}{name}.{os.urandom(6).hex()}")
    os.makedirs(path)
    return path


def name_of_new(directory: str) -> str | None:
    """The name that a directory of :func:`new_directory` is to get; None for another directory, which has its name already."""
    base = os.path.basename(directory)
    return base[len(_TEMPORARY) :].partition(".")[0] if base.startswith(_TEMPORARY) else None


def commit(temporary: str, name: str) -> str:
    """Give a directory that is complete its name, beside where it is; one of that name makes room. Returns the new path."""
    target = os.path.join(os.path.dirname(temporary), name)
    try:
        os.rename(temporary, target)
    except OSError:
        if not os.path.lexists(target):
            raise
        aside = new_directory(os.path.dirname(target), name)
        os.rename(target, os.path.join(aside, name))
        os.rename(temporary, target)
        remove(aside)
    return target


def discard_leftovers(parent: str) -> None:
    """Remove what a killed process had not finished writing. Only for a directory in which nobody writes now."""
    try:
        names = os.listdir(parent)
    except OSError:
        return
    for name in names:
        if name.startswith((_TEMPORARY, f".{_TEMPORARY}")):  # the second: what a Checkpoint makes while it writes one
            remove(os.path.join(parent, name))


def remove(directory: str) -> None:
    """Remove a directory, as far as that is possible."""
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


def name_place(error: BaseException, directory: str) -> None:
    """A full disk does not say which."""
    if isinstance(error, OSError) and error.filename is None and error.errno is not None:
        error.filename = directory


def mark(directory: str) -> None:
    """Say that the directory is a checkpoint."""
    with open(os.path.join(directory, MARKER), "wb"):
        pass


def unmark(directory: str) -> None:
    """Say that the directory is no checkpoint, for now."""
    for name in (MARKER, METADATA):
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            pass


def is_complete(path: str) -> bool:
    """Whether this directory, or one that it is in, says that it is a checkpoint. (What is in it, only its reader can tell.)"""
    directory = find_directory(path) if os.path.exists(path) else None
    if directory is None:
        return False
    try:
        read_metadata(directory)
    except ValueError:
        return False
    return True


def find_directory(path: str) -> str | None:
    """The directory of the checkpoint that ``path`` is, or is in; None when there is none."""
    path = os.path.abspath(path)
    while True:
        if any(os.path.exists(os.path.join(path, name)) for name in (MARKER, METADATA, RAY_METADATA)):
            return path
        parent = os.path.dirname(path)
        if parent == path:
            return None
        path = parent


def write_metadata(directory: str, metadata: Mapping[str, Any]) -> None:
    """Write the state of the trainable; what JSON cannot hold is written as text."""
    path = os.path.join(directory, METADATA)
    write_whole(path, json.dumps(plain(metadata), indent=1, sort_keys=True))


def read_metadata(directory: str) -> dict[str, Any] | None:
    """The state that belongs to a checkpoint, None when it has none.

    Raises:
        ValueError: it is there, but damaged.
    """
    path = os.path.join(directory, METADATA)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return _read_of_ray(os.path.join(directory, RAY_METADATA))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): use another checkpoint") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged (it holds a {type(found).__name__}): use another checkpoint")
    return found


def to_bytes(directory: str) -> bytes:
    """A checkpoint with all that is noted beside it, as a tar archive."""
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(directory, arcname=".")
    return buffer.getvalue()


def from_bytes(data: bytes, directory: str) -> None:
    """Unpack what :func:`to_bytes` gave into a directory.

    Raises:
        TypeError: ``data`` is something else than bytes.
        ValueError: it is no such archive.
    """
    import tarfile

    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"a trainable is restored from the bytes that save_to_object() gave, not from {data!r}")
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(directory, filter="data")
            else:  # an older Python: the same promise, for plain files and folders
                for member in archive.getmembers():
                    inside = os.path.realpath(os.path.join(directory, member.name)).startswith(
                        os.path.realpath(directory)
                    )
                    if not inside or not (member.isreg() or member.isdir()):
                        raise tarfile.TarError(f"it holds {member.name!r}")
                archive.extractall(directory)
    except tarfile.TarError as error:
        raise ValueError(f"these are not the bytes of a checkpoint that save_to_object() gave: {error}") from error


def plain(value: Any) -> Any:
    """``value`` in types that JSON knows: numpy's numbers and arrays as Python's, anything strange as text."""
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, int, float, str)):  # of a subclass
        return next(base(value) for base in (bool, int, float, str) if isinstance(value, base))
    convert = getattr(value, "tolist", None)
    if convert is not None:
        try:
            return plain(convert())
        except Exception:  # a sparse tensor, a lazy frame, ...
            pass
    return str(value)


def _read_of_ray(path: str) -> dict[str, Any] | None:
    import pickle

    class Unpickler(pickle.Unpickler):
        """Plain values only: what else is in it (classes of Ray, the user's configuration) becomes a stand-in."""

        def find_class(self, module: str, name: str) -> Any:
            if (module, name) in _HARMLESS or module.split(".")[0] == "numpy":
                return super().find_class(module, name)
            return _StandIn

    try:
        with open(path, "rb") as file:
            found = Unpickler(io.BytesIO(file.read())).load()
    except FileNotFoundError:
        return None
    except Exception as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}): use another checkpoint") from error
    return found if isinstance(found, dict) else None


_HARMLESS = frozenset(
    {("collections", "OrderedDict"), ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "complex")}
)


class _StandIn:
    """In place of what is not needed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass
