"""The checkpoints of all ranks of a round, as one directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint

__all__ = ["UNFINISHED", "merge_checkpoints", "remove_unfinished"]

UNFINISHED = ".writing_"  # begins the names of folders that are being written


def merge_checkpoints(checkpoints: Sequence[str | Checkpoint | None], directory: str) -> str | None:
    """One folder with the files of all ranks. Of files of the same name that of the lowest rank stays.

    Args:
        checkpoints: By rank: the folder in ``directory`` that it was written to, or a checkpoint that was sent, or None.
        directory: Where the result is to be.

    Returns:
        The folder, under a temporary name; None when no rank had a checkpoint.
    """
    folders = [_as_folder(checkpoint, directory) for checkpoint in checkpoints if checkpoint is not None]
    if not folders:
        return None
    target, others = folders[0], folders[1:]
    for folder in others:
        _move_missing(folder, target)
        shutil.rmtree(folder, ignore_errors=True)
    return target


def _as_folder(checkpoint: str | Checkpoint, directory: str) -> str:
    if isinstance(checkpoint, str):
        return checkpoint
    folder = os.path.join(directory, f"{UNFINISHED}sent.{os.urandom(6).hex()}")
    return checkpoint.to_directory(folder)


def _move_missing(source: str, target: str) -> None:
    for folder, _, files in os.walk(source):
        place = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(place, exist_ok=True)
        for name in files:
            path = os.path.join(place, name)
            if not os.path.lexists(path):
                os.rename(os.path.join(folder, name), path)


def remove_unfinished(directory: str) -> None:
    """Remove what killed workers were writing. Only when nobody writes in the directory.

    A second dot begins the names of what a Checkpoint makes while it writes one.
    """
    try:
        names = os.listdir(directory)
    except FileNotFoundError:  # somebody deleted it
        return
    for name in names:
        if name.startswith((UNFINISHED, f".{UNFINISHED}")):
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
