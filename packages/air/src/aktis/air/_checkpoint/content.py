"""What is in a checkpoint's directory, in our format, in Ray's, or in none; and how it is written."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import TYPE_CHECKING, Any

from aktis.air._checkpoint import layout, ray_format
from aktis.air._checkpoint.files import copy_tree, is_archive, pack, unpack
from aktis.air.exceptions import CheckpointFormatError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint


def _keys() -> tuple[str, str, str]:
    from aktis.air.checkpoint import EXTRA_FILES_KEY, FILES_KEY, PREPROCESSOR_KEY

    return FILES_KEY, EXTRA_FILES_KEY, PREPROCESSOR_KEY


class Content:
    """The contents of a directory. Values are read when they are asked for, files when they are packed.

    Attributes:
        values: Values that are put above those in the directory.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.values: dict[str, Any] = {}
        self._manifest = layout.read_manifest(directory)
        self._is_ray = self._manifest is None and ray_format.is_ray_checkpoint(directory)

    def _skip(self, name: str) -> bool:
        if name in layout.OF_TRIALS:
            return True
        return layout.is_ours(name) or (self._is_ray and ray_format.is_special(name))

    def _read(self) -> tuple[bool, dict[str, Any]]:
        """Whether it was made from a dict, and all values."""
        if self._is_ray:
            is_dict, values = ray_format.read_values(self.directory)
        elif self._manifest is None:
            is_dict, values = False, {}
        else:
            is_dict = self._manifest.kind == "dict"
            values = layout.read(self.directory, self._manifest, "data") if self._manifest.has("data") else {}
            if self._manifest.has("preprocessor"):
                values[_keys()[2]] = self.preprocessor()
        return is_dict, {**values, **self.values}

    def preprocessor(self) -> Any:
        """The preprocessor alone."""
        key = _keys()[2]
        if key in self.values:
            return self.values[key]
        if self._manifest is None:
            return ray_format.read_preprocessor(self.directory) if self._is_ray else None
        return (
            layout.read(self.directory, self._manifest, "preprocessor") if self._manifest.has("preprocessor") else None
        )

    def to_values(self) -> dict[str, Any]:
        """All of it as one dict."""
        files_key, extra_key, _ = _keys()
        is_dict, values = self._read()
        files = pack(self.directory, self._skip)
        if not is_dict:
            return {files_key: files, **values}
        return {**values, extra_key: files} if files else values

    def write(self, target: str, cls: type[Checkpoint], state: dict[str, Any]) -> None:
        """Write it into a directory, which is empty or its own, as a checkpoint of a class."""
        is_dict, values = self._read()
        if os.path.realpath(target) != os.path.realpath(self.directory):
            copy_tree(self.directory, target, self._skip)
        elif self._is_ray:
            for name in os.listdir(target):
                if ray_format.is_special(name):
                    os.unlink(os.path.join(target, name))
        _write_parts(target, is_dict, values, cls, state)


def write_values(target: str, data: dict[str, Any], cls: type[Checkpoint], state: dict[str, Any]) -> None:
    """Write the dict of a checkpoint into a directory."""
    files_key, extra_key, _ = _keys()
    values = dict(data)
    is_dict = not (files_key in values and is_archive(values[files_key]))
    files = values.pop(files_key if not is_dict else extra_key, None)
    if files:
        if not is_archive(files):
            raise CheckpointFormatError(f"{extra_key!r} in the dict of a checkpoint must be a tar archive")
        unpack(files, target)
    _write_parts(target, is_dict, values, cls, state)


def _write_parts(target: str, is_dict: bool, values: dict[str, Any], cls: type, state: dict[str, Any]) -> None:
    from aktis.air.checkpoint import Checkpoint

    values = dict(values)
    preprocessor = values.pop(_keys()[2], None)
    if not is_dict and not values and preprocessor is None and not state and cls is Checkpoint:
        layout.remove_ours(target)
        return
    writer = layout.Writer(target, "dict" if is_dict else "directory", cls)
    if is_dict or values:
        writer.put("data", values)
    if preprocessor is not None:
        writer.put("preprocessor", preprocessor)
    if state:
        writer.put("state", state)
    writer.finish()


def copy_checkpoint(source: str, target: str) -> None:
    """Copy a checkpoint's directory into another; what says that it is whole goes last."""
    manifest = layout.read_manifest(source)
    copy_tree(source, target, layout.is_marker)
    if manifest is not None:
        layout.write_manifest(target, manifest)


def from_bytes(data: bytes, cls: type[Checkpoint]) -> dict[str, Any]:
    """The dict of a checkpoint from the bytes of one."""
    if data[:1] == b"\x80":  # Ray pickles the dict
        try:
            values = ray_format.loads(data)
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError) as error:
            raise CheckpointFormatError(f"these are not the bytes of a checkpoint: {error}") from error
        if not isinstance(values, dict):
            raise CheckpointFormatError(f"these are not the bytes of a checkpoint, but of a {type(values).__name__}")
        values.pop("_metadata", None)
        return values
    if not is_archive(data) and data.strip(b"\0"):
        raise CheckpointFormatError("these are not the bytes of a checkpoint: to_bytes() gives a tar archive")
    with tempfile.TemporaryDirectory(prefix="aktis-checkpoint-") as directory:
        if data.strip(b"\0"):
            unpack(data, directory)
        return cls.from_directory(directory).to_dict()
