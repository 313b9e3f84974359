"""Checkpoints at URIs: the same layout, with the sizes of all files in the manifest, which is uploaded last."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from aktis.air import _transfer
from aktis.air._checkpoint import layout, ray_format
from aktis.air._checkpoint.files import walk
from aktis.air.exceptions import CheckpointNotFoundError, TornCheckpointError

_MANIFEST = f"{layout.FOLDER}/{layout.MANIFEST}"


def upload(directory: str, uri: str) -> None:
    """Copy a checkpoint's directory to a URI."""
    from aktis.air.checkpoint import Checkpoint

    manifest = layout.read_manifest(directory) or layout.Manifest("directory", layout.class_name(Checkpoint))
    names = [name for name in _transfer.local_files(directory) if not layout.is_marker(name)]
    old = _transfer.list_files(uri)
    if _MANIFEST in old:
        _transfer.delete_file(uri, _MANIFEST)
    # The folder is there from the start, so that what is only half uploaded does not pass for a directory like any other.
    with tempfile.TemporaryDirectory(prefix="aktis-upload-") as temporary:
        os.mkdir(os.path.join(temporary, layout.FOLDER))
        marker = f"{layout.FOLDER}/{layout.WRITING}"
        with open(os.path.join(temporary, marker), "w") as file:
            file.write(uri)
        _transfer.upload_files(temporary, uri, [marker])
        _transfer.upload_files(directory, uri, names)
        for name in sorted(set(old) - set(names) - {_MANIFEST, marker}):
            _transfer.delete_file(uri, name)
        manifest.files = {
            name: os.path.getsize(os.path.join(directory, name)) for name in names if not layout.is_ours(name)
        }
        manifest.folders = _empty_folders(directory)
        layout.write_manifest(temporary, manifest)
        _transfer.upload_files(temporary, uri, [_MANIFEST])
        _transfer.delete_file(uri, marker)


def _empty_folders(directory: str) -> list[str]:
    return [entry.name for entry in walk(directory, layout.is_ours) if entry.is_dir and not os.listdir(entry.path)]


def download(uri: str, directory: str) -> None:
    """Copy a checkpoint from a URI into a directory."""
    from aktis.air.checkpoint import Checkpoint

    _transfer.download_dir(uri, directory)
    manifest = layout.read_manifest(directory)
    if manifest is None or manifest.files is None:
        return
    for name in manifest.folders:
        os.makedirs(os.path.join(directory, name), exist_ok=True)
    manifest.files = None
    manifest.folders = []
    if manifest.kind == "directory" and not manifest.parts and manifest.cls == layout.class_name(Checkpoint):
        layout.remove_ours(directory)  # a directory like any other
    else:
        layout.write_manifest(directory, manifest)


@contextlib.contextmanager
def peek(uri: str) -> Iterator[str]:
    """A temporary directory with what says of which class a checkpoint is. The sizes of all its files are checked.

    Raises:
        CheckpointNotFoundError: there is nothing at the URI.
        TornCheckpointError: something is missing.
    """
    found = _transfer.list_files(uri)
    if not found:
        if _transfer.exists(uri):
            yield from _empty()
            return
        raise CheckpointNotFoundError(f"there is no checkpoint at {uri}")
    state = ("class.pkl", "state.json", "state.safetensors", "state.pkl", layout.MANIFEST, layout.WRITING)
    wanted = {f"{layout.FOLDER}/{name}" for name in state} | {ray_format.METADATA_FILE}
    with tempfile.TemporaryDirectory(prefix="aktis-peek-") as directory:
        if any(name.startswith(layout.FOLDER + "/") for name in found):
            os.mkdir(os.path.join(directory, layout.FOLDER))
        for name in sorted(wanted & set(found)):
            _transfer.download_file(uri, name, os.path.join(directory, name))
        try:
            manifest = layout.read_manifest(directory, check=False)
        except TornCheckpointError as error:
            raise TornCheckpointError(f"{uri} is not a whole checkpoint: its upload was interrupted") from error
        for name, size in manifest.sizes().items() if manifest is not None else ():
            layout.check_size(uri, name, size, found.get(name))
        yield directory


def _empty() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="aktis-peek-") as directory:
        yield directory


def write_metadata(uri: str, metadata: dict[str, Any]) -> None:
    """Put the user's metadata beside a checkpoint at a URI."""
    with tempfile.TemporaryDirectory(prefix="aktis-upload-") as temporary:
        with open(os.path.join(temporary, layout.METADATA), "w", encoding="utf-8") as file:
            json.dump(metadata, file)
        _transfer.upload_files(temporary, uri, [layout.METADATA])
