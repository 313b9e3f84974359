"""A checkpoint's directory, format 1.

::

    <checkpoint>/
        anything                     the user's files: a checkpoint made from a directory, or what was put beside a dict
        .metadata.json               the user's metadata, if there are any (newer Rays write the same file)
        .aktis_checkpoint/           only there if there is something to say
            data.json                the values of a dict checkpoint (see codec)
            data.safetensors         its arrays, numpy's and torch's
            data.pkl                 its other objects: a list, pickled with cloudpickle. Only if there are any
            state.*, preprocessor.*  the same for the attributes of a subclass, and for the preprocessor
            class.pkl                a subclass that cannot be imported. Only then
            checkpoint.json          written last: a checkpoint without it is torn

``checkpoint.json``::

    {"format": 1,
     "kind": "dict",                       or "directory": then the user's files are the checkpoint
     "class": "package.module:Name",
     "parts": {"data.json": 120, ...},     the files above and their sizes; one that is missing or shorter is torn
     "pickled": ["data.pkl"],              which of them are pickles; nothing is unpickled that is not named here
     "files": {"model.bin": 1024},         sizes of the user's files, in copies at a URI only
     "folders": ["empty"]}                 folders with nothing in them, which object stores do not have; the same

A newer format has a higher number; this version refuses it. A directory without the folder is one of the user's, or of Ray.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from aktis.air.exceptions import CheckpointContentError, CheckpointFormatError, TornCheckpointError
from aktis.util.files import write_whole, written_whole

if TYPE_CHECKING:
    from aktis.air._checkpoint.codec import Parts

FORMAT = 1
FOLDER = ".aktis_checkpoint"
MANIFEST = "checkpoint.json"
WRITING = "writing"  # there while files are copied into a directory that has some already
METADATA = ".metadata.json"
OF_TRIALS = frozenset(
    {".is_checkpoint", ".tune_metadata.json", ".tune_metadata"}
)  # what Tune notes beside the contents


class Manifest:
    """What ``checkpoint.json`` says."""

    def __init__(self, kind: str, cls: str = "", parts: dict[str, int] | None = None) -> None:
        self.kind = kind
        self.cls = cls
        self.parts: dict[str, int] = parts or {}
        self.pickled: list[str] = []
        self.files: dict[str, int] | None = None
        self.folders: list[str] = []

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"format": FORMAT, "kind": self.kind, "class": self.cls, "parts": self.parts}
        found["pickled"] = self.pickled
        if self.files is not None:
            found["files"] = self.files
            found["folders"] = self.folders
        return found

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        try:
            found = json.loads(text)
            version = found["format"]
            if version != FORMAT:
                raise CheckpointFormatError(
                    f"the checkpoint {where} is of format {version!r}, this version of Aktis reads {FORMAT}: use a newer one"
                )
            manifest = cls(found["kind"], found["class"], found["parts"])
            manifest.pickled = found["pickled"]
            manifest.files = found.get("files")
            manifest.folders = found.get("folders", [])
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, CheckpointFormatError):
                raise
            raise CheckpointFormatError(f"{where} has no valid {FOLDER}/{MANIFEST}: {error!r}") from error
        return manifest

    def sizes(self) -> dict[str, int]:
        """The files that must be there, with their sizes."""
        return {**{f"{FOLDER}/{name}": size for name, size in self.parts.items()}, **(self.files or {})}

    def has(self, stem: str) -> bool:
        """Whether there is a value of that name."""
        return f"{stem}.json" in self.parts


def is_marker(name: str) -> bool:
    """Whether a path in a checkpoint is one of the files that say whether it is whole."""
    return name in (f"{FOLDER}/{MANIFEST}", f"{FOLDER}/{WRITING}")


def is_ours(name: str) -> bool:
    """Whether a path in a checkpoint is one of ours, and not one of the user's files."""
    return name in (FOLDER, METADATA) or name.startswith(FOLDER + "/")


# -- writing -----------------------------------------------------------------------------------------------------------


class Writer:
    """Writes the parts into a directory; the checkpoint is complete with :meth:`finish`."""

    def __init__(self, directory: str, kind: str, cls: type) -> None:
        self._folder = os.path.join(directory, FOLDER)
        self._directory = directory
        self.manifest = Manifest(kind)
        os.makedirs(self._folder, exist_ok=True)
        forget_parts(directory)
        self._put_class(cls)

    def put(self, stem: str, value: Any) -> None:
        """Write a value."""
        from aktis.air._checkpoint import arrays
        from aktis.air._checkpoint.codec import Encoder, Parts

        parts = Parts()
        try:
            tree = Encoder(parts).encode(value)
        except RecursionError as error:
            raise CheckpointContentError("the checkpoint is nested too deeply to be stored") from error
        if parts.arrays:
            with self._file(f"{stem}.safetensors") as path, open(path, "wb") as file:
                arrays.write(file, parts.arrays)
        if parts.objects:
            self._pickle(f"{stem}.pkl", parts)
        with self._file(f"{stem}.json") as path, open(path, "w", encoding="ascii") as file:
            json.dump(tree, file, separators=(",", ":"))

    def _put_class(self, cls: type) -> None:
        self.manifest.cls = class_name(cls)
        if _import_class(self.manifest.cls) is cls and cls.__module__ != "__main__":
            return
        import cloudpickle

        with self._file("class.pkl") as path, open(path, "wb") as file:
            cloudpickle.dump(cls, file)
        self.manifest.pickled.append("class.pkl")

    def _pickle(self, name: str, parts: Parts) -> None:
        import cloudpickle

        with self._file(name) as path:
            try:
                with open(path, "wb") as file:
                    cloudpickle.dump(parts.objects, file, protocol=5)
            except Exception as error:
                for value, place in zip(parts.objects, parts.places):
                    with _named(place, value):
                        cloudpickle.dumps(value)
                raise CheckpointContentError(f"the objects of the checkpoint cannot be pickled: {error}") from error
        self.manifest.pickled.append(name)

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[str]:
        path = os.path.join(self._folder, name)
        with written_whole(path) as temporary:
            yield temporary
        self.manifest.parts[name] = os.path.getsize(path)

    def finish(self) -> None:
        """Write the manifest."""
        write_manifest(self._directory, self.manifest)


def write_manifest(directory: str, manifest: Manifest) -> None:
    folder = os.path.join(directory, FOLDER)
    os.makedirs(folder, exist_ok=True)
    write_whole(os.path.join(folder, MANIFEST), json.dumps(manifest.to_json(), indent=1))


@contextlib.contextmanager
def _one_at_a_time(directory: str) -> Iterator[None]:
    """Holds other processes that write into the directory; where directories cannot be locked (NFS), nobody."""
    import fcntl

    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _named(place: str, value: Any) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise CheckpointContentError(
            f"{place or 'the value'} of the checkpoint, {_short(value)}, can be neither written as a plain value nor pickled: "
            f"{error}"
        ) from error


def _short(value: Any) -> str:
    return f"of type {type(value).__module__}.{type(value).__qualname__}"


@contextlib.contextmanager
def being_written(directory: str) -> Iterator[None]:
    """Mark a directory as torn while files are copied into it."""
    folder = os.path.join(directory, FOLDER)
    os.makedirs(folder, exist_ok=True)
    marker = os.path.join(folder, WRITING)
    with open(marker, "w"):
        pass
    yield  # when this fails, the mark stays: it is torn
    os.unlink(marker)
    if not os.listdir(folder):
        os.rmdir(folder)


def forget_parts(directory: str) -> None:
    """Take out what says that a directory is more than files (but for the mark that it is being written)."""
    folder = os.path.join(directory, FOLDER)
    if os.path.isdir(folder):
        for name in sorted(os.listdir(folder), key=lambda name: name != MANIFEST):  # the manifest first
            if name != WRITING:
                os.unlink(os.path.join(folder, name))


def merge(source: str, target: str) -> None:
    """Move a checkpoint into a directory that has files. What it had of an older checkpoint goes; its other files stay."""
    with _one_at_a_time(target), being_written(target):
        forget_parts(target)
        _move_tree(source, target, is_marker)
        manifest = f"{FOLDER}/{MANIFEST}"
        if os.path.exists(os.path.join(source, manifest)):
            os.replace(os.path.join(source, manifest), os.path.join(target, manifest))


def _move_tree(source: str, target: str, skip: Callable[[str], bool]) -> None:
    """Put the files of a folder into another one on the same file system, each at once."""
    for folder, names, files in os.walk(source):
        place = os.path.join(target, os.path.relpath(folder, source))
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        for name in set(names) - set(links):
            os.makedirs(os.path.join(place, name), exist_ok=True)
        for name in files + links:
            path = os.path.join(folder, name)
            if not skip(os.path.relpath(path, source)):
                os.replace(path, os.path.join(place, name))


# -- reading -----------------------------------------------------------------------------------------------------------


def read_manifest(directory: str, check: bool = True) -> Manifest | None:
    """What is said of a checkpoint; None when it is a directory like any other. ``check``: whether all is there.

    Raises:
        TornCheckpointError: it is not complete.
        CheckpointFormatError: a newer version wrote it.
    """
    folder = os.path.join(directory, FOLDER)
    if not os.path.isdir(folder):
        return None
    if os.path.exists(os.path.join(folder, WRITING)):
        raise TornCheckpointError(f"{directory} is not a whole checkpoint: copying files into it was interrupted")
    try:
        with open(os.path.join(folder, MANIFEST), encoding="ascii") as file:
            text = file.read()
    except FileNotFoundError:
        raise TornCheckpointError(
            f"{directory} is not a whole checkpoint: {FOLDER}/{MANIFEST}, which is written last, is missing"
        ) from None
    manifest = Manifest.from_json(text, directory)
    if check:
        for name, size in manifest.sizes().items():
            path = os.path.join(directory, name)
            check_size(directory, name, size, os.path.getsize(path) if os.path.isfile(path) else None)
    return manifest


def check_size(directory: str, name: str, size: int, found: int | None) -> None:
    """Raise unless a file has the size that it is said to have."""
    if found is None:
        raise TornCheckpointError(f"{directory} is not a whole checkpoint: {name} is missing")
    if found != size:
        raise TornCheckpointError(f"{directory} is not a whole checkpoint: {name} has {found} bytes instead of {size}")


def read(directory: str, manifest: Manifest, stem: str) -> Any:
    """A value of a checkpoint."""
    from aktis.air._checkpoint import arrays
    from aktis.air._checkpoint.codec import Decoder

    folder = os.path.join(directory, FOLDER)
    tensors = os.path.join(folder, f"{stem}.safetensors")
    pickle_name = f"{stem}.pkl"
    loaded: list[Any] = []

    def load_object(index: int) -> Any:
        if pickle_name not in manifest.pickled:
            raise CheckpointFormatError(
                f"{directory} names an object of {pickle_name}, which it does not declare: it is damaged"
            )
        if not loaded:
            loaded.extend(_unpickle(os.path.join(folder, pickle_name)))
        return loaded[index]

    with open(os.path.join(folder, f"{stem}.json"), encoding="ascii") as file:
        tree = json.load(file)
    load_array = arrays.reader(tensors) if f"{stem}.safetensors" in manifest.parts else None
    try:
        return Decoder(load_array, load_object).decode(tree)
    except (ValueError, KeyError, IndexError) as error:
        if isinstance(error, CheckpointFormatError):
            raise
        raise CheckpointFormatError(f"{directory} cannot be read: {error}") from error


def _unpickle(path: str) -> Any:
    import pickle

    with open(path, "rb") as file:
        try:
            return pickle.load(file)
        except Exception as error:
            raise CheckpointContentError(
                f"the pickled objects in {path} cannot be loaded here ({type(error).__name__}: {error}): "
                "install what they were made with"
            ) from error


# -- classes -----------------------------------------------------------------------------------------------------------


def class_name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def read_class(directory: str, manifest: Manifest) -> type | None:
    """The class of a checkpoint; None when it cannot be had here."""
    found = _import_class(manifest.cls)
    if found is None and "class.pkl" in manifest.pickled:
        found = _unpickle(os.path.join(directory, FOLDER, "class.pkl"))
    return found if isinstance(found, type) else None


def _import_class(name: str) -> type | None:
    module_name, _, qualname = name.partition(":")
    try:
        found: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) else None


# -- the user's metadata -----------------------------------------------------------------------------------------------


def read_metadata(directory: str) -> dict[str, Any]:
    path = os.path.join(directory, METADATA)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CheckpointFormatError(f"{path} is no JSON: {error}") from error
    return dict(found)


def write_metadata(directory: str, metadata: dict[str, Any]) -> None:
    path = os.path.join(directory, METADATA)
    if not metadata:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    write_whole(path, json.dumps(metadata))


def remove_ours(directory: str) -> None:
    """Take our folder out of a directory."""
    import shutil

    shutil.rmtree(os.path.join(directory, FOLDER), ignore_errors=True)
