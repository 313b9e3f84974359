"""Checkpoint directories that Ray 2.x wrote: pickles all of them, so read only where no folder of ours says otherwise.

=====================  ============================================================================
``dict_checkpoint.pkl``  the dict of a checkpoint made from one
``{key}.meta.pkl``       a value that was added to a checkpoint made from a directory
``.metadata.pkl``        class and attributes
``_preprocessor``        the preprocessor (``preprocessor.pkl``, too)
=====================  ============================================================================

Classes of Ray in them become ours of the same name; one that we do not have becomes a stand-in, which keeps its state.
"""

from __future__ import annotations

import importlib
import os
import pickle
from typing import Any

from aktis.air.exceptions import CheckpointContentError

DICT_FILE = "dict_checkpoint.pkl"
METADATA_FILE = ".metadata.pkl"
PREPROCESSOR_FILES = ("_preprocessor", "preprocessor.pkl")
_KEY_SUFFIX = ".meta.pkl"


class Metadata:
    """What Ray pickles into ``.metadata.pkl``."""

    checkpoint_type: Any = None
    checkpoint_state: dict[str, Any] = {}  # noqa: RUF012 - the pickle sets the real one


class UnknownRayClass:
    """Stands for an object of a class of Ray that Aktis does not have."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


def is_special(name: str) -> bool:
    """Whether a path in the directory is one of Ray's own files."""
    return (
        name in (DICT_FILE, METADATA_FILE)
        or ("/" not in name and name.endswith(_KEY_SUFFIX))
        or name in PREPROCESSOR_FILES
    )


def is_ray_checkpoint(directory: str) -> bool:
    """Whether Ray's files are in it."""
    names = os.listdir(directory)
    return DICT_FILE in names or METADATA_FILE in names or any(name.endswith(_KEY_SUFFIX) for name in names)


def read_values(directory: str) -> tuple[bool, dict[str, Any]]:
    """Whether the checkpoint was made from a dict, and the values in it."""
    values: dict[str, Any] = {}
    path = os.path.join(directory, DICT_FILE)
    is_dict = os.path.exists(path)
    if is_dict:
        values.update(load_file(path))
    for name in sorted(os.listdir(directory)):
        if name.endswith(_KEY_SUFFIX):
            values[name.removesuffix(_KEY_SUFFIX)] = load_file(os.path.join(directory, name))
    preprocessor = read_preprocessor(directory)
    if preprocessor is not None:
        values["_preprocessor"] = preprocessor
    values.pop("_metadata", None)
    return is_dict, values


def read_preprocessor(directory: str) -> Any:
    """The preprocessor, if there is a file of it."""
    for name in (*PREPROCESSOR_FILES, f"_preprocessor{_KEY_SUFFIX}"):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return load_file(path)
    return None


def read_class(directory: str) -> tuple[type | None, dict[str, Any]]:
    """Class and attributes of the checkpoint."""
    path = os.path.join(directory, METADATA_FILE)
    if not os.path.exists(path):
        return None, {}
    found = load_file(path)
    cls = getattr(found, "checkpoint_type", None)
    state = getattr(found, "checkpoint_state", None) or {}
    return (cls if isinstance(cls, type) and cls is not UnknownRayClass else None), dict(state)


def load_file(path: str) -> Any:
    with open(path, "rb") as file:
        try:
            return _Unpickler(file).load()
        except Exception as error:
            raise CheckpointContentError(
                f"{path}, which Ray wrote, cannot be loaded here ({type(error).__name__}: {error}): "
                "install what it was made with"
            ) from error


def loads(data: bytes) -> Any:
    import io

    return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "numpy.core" or module.startswith("numpy.core."):  # as numpy 1 called it
            try:
                return super().find_class(module.replace("numpy.core", "numpy._core", 1), name)
            except (ImportError, AttributeError):
                return super().find_class(module, name)
        if module != "ray" and not module.startswith("ray."):
            return super().find_class(module, name)
        if (module, name) == ("ray.air.checkpoint", "_CheckpointMetadata"):
            return Metadata
        if module.startswith("ray.cloudpickle"):
            return super().find_class("cloudpickle.cloudpickle", name)
        for candidate in _ours(module):
            try:
                found: Any = importlib.import_module(candidate)
                for part in name.split("."):
                    found = getattr(found, part)
                return found
            except (ImportError, AttributeError):
                continue
        return UnknownRayClass


def _ours(module: str) -> list[str]:
    """Where the class may be with us: the same module, or the public one above it."""
    parts = module.split(".")[1:]
    return ["aktis" + "".join(f".{part}" for part in parts[:end]) for end in range(len(parts), 0, -1)]
