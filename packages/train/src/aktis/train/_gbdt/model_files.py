"""Where in a checkpoint a model is, and how one gets there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from aktis.train.error import CheckpointTypeError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint

__all__ = ["find_model", "new_directory", "with_preprocessor"]

C = TypeVar("C", bound="Checkpoint")


@contextlib.contextmanager
def new_directory(path: str | os.PathLike[str] | None) -> Iterator[str]:
    """The directory for a checkpoint, made if it is not there; what the block made of it goes when the block fails."""
    import shutil

    if path is None:
        directory = tempfile.mkdtemp(prefix="checkpoint_tmp_")
        is_new = True
    else:
        directory = os.path.abspath(os.path.expanduser(os.fspath(path)))
        is_new = not os.path.exists(directory)
        os.makedirs(directory, exist_ok=True)
    try:
        yield directory
    except BaseException:
        if is_new:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def with_preprocessor(checkpoint: C, preprocessor: Any) -> C:
    """A checkpoint that is a directory, with a preprocessor in that directory, too; None: as it is."""
    if preprocessor is None:
        return checkpoint
    checkpoint.set_preprocessor(preprocessor)
    assert checkpoint.path is not None
    return type(checkpoint).from_directory(checkpoint.to_directory(checkpoint.path))


def find_model(directory: str, names: Sequence[str], what: str) -> str:
    """The path of the first of the files that is there.

    Raises:
        CheckpointTypeError: none is; says what is there instead.
    """
    for name in names:
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return path
    there = sorted(entry for entry in os.listdir(directory) if not entry.startswith("."))
    raise CheckpointTypeError(
        f"this checkpoint does not hold {what}: there is no {' and no '.join(names)} in it, but {', '.join(there) or 'nothing'}"
    )
