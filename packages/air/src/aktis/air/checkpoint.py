"""Checkpoints: what is needed to go on, as a dict, a directory, bytes or at a URI, and from each of them to each other."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aktis.air._checkpoint import layout
from aktis.air._uri import file_uri, is_uri, local_path
from aktis.air.exceptions import CheckpointError, CheckpointNotFoundError

if TYPE_CHECKING:
    from aktis.air._checkpoint.content import Content

__all__ = ["Checkpoint"]

C = TypeVar("C", bound="Checkpoint")

FILES_KEY = "fs_checkpoint"  # in the dict of a checkpoint made from a directory: its files, as a tar archive
EXTRA_FILES_KEY = "_additional_checkpoint_files"  # of one made from a dict: the files that were put beside it
PREPROCESSOR_KEY = "_preprocessor"


class Checkpoint:
    """The state of a model, or of anything, at some point.

    It is made from one form and handed out in any::

        checkpoint = Checkpoint.from_dict({"epoch": 3, "weights": array})
        path = checkpoint.to_directory("/tmp/ckpt")
        Checkpoint.from_directory(path).to_dict()  # {"epoch": 3, "weights": array}

    No form loses anything. Numbers, texts, containers and arrays (numpy, torch) are stored in plain formats, other objects
    pickled; the classes of subclasses are kept, and so are the attributes that they name in ``_SERIALIZED_ATTRS``.
    Pickling a checkpoint pickles its contents, so that one made from a directory can be used on another machine.

    Args:
        local_path: A directory, or a URI.
        data_dict: The contents, as a dict.
        uri: Where it is.

    Raises:
        ValueError: not exactly one of these is given, or it is empty.
        CheckpointNotFoundError: there is nothing at the path.
    """

    _SERIALIZED_ATTRS: ClassVar[tuple[str, ...]] = ()

    _local_path: str | None = None
    _uri: str | None = None
    _data: dict[str, Any] | None = None

    def __init__(
        self,
        local_path: str | os.PathLike[str] | None = None,
        data_dict: dict[str, Any] | None = None,
        uri: str | None = None,
    ) -> None:
        given = [value for value in (local_path, data_dict, uri) if value is not None]
        if len(given) > 1:
            raise ValueError("a checkpoint is made from one thing: a path, a dict or a URI, not several of them")
        if not given or (isinstance(given[0], (str, dict)) and not given[0]):
            raise ValueError(
                "a checkpoint cannot be made from nothing: give it a path, a dict that is not empty, or a URI"
            )
        if isinstance(local_path, str) and is_uri(local_path):
            local_path, uri = None, local_path
        self._key = _new_key()  # names the temporary directory that the copies of this checkpoint share
        self._preprocessor: tuple[Any] | None = None  # one that was set on a directory, which stays as it is
        self._metadata: dict[str, Any] | None = None  # None: what is in the directory
        if data_dict is not None:
            if not isinstance(data_dict, dict):
                raise TypeError(f"data_dict must be a dict, not {type(data_dict).__name__}")
            self._data = dict(data_dict)
        elif local_path is not None:
            self._set_path(os.path.abspath(os.path.expanduser(os.fspath(local_path))))
        elif uri is not None:
            self._set_uri(uri)

    def _set_path(self, path: str) -> None:
        if not os.path.isdir(path):
            what = "a file, not a directory" if os.path.exists(path) else "not there"
            raise CheckpointNotFoundError(f"a checkpoint cannot be made from {path}: it is {what}")
        self._local_path = path

    def _set_uri(self, uri: str) -> None:
        if not isinstance(uri, str) or not is_uri(uri):
            raise ValueError(f"{uri!r} is no URI, such as 's3://bucket/path': use Checkpoint.from_directory for paths")
        path = local_path(uri)
        if path is not None:
            self._set_path(path)
        else:
            self._uri = uri

    # -- from --------------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls: type[C], data: dict[str, Any]) -> C:
        """A checkpoint of what is in a dict (not copied, but for the dict itself).

        Raises:
            TypeError: ``data`` is no dict.
            ValueError: it is empty.
        """
        if not isinstance(data, dict):
            raise TypeError(f"Checkpoint.from_dict needs a dict, not {type(data).__name__}")
        kept = data if isinstance(data, CheckpointDict) else None
        checkpoint = _class_for(cls, kept.checkpoint_type if kept is not None else None)(data_dict=data)
        if kept is not None:
            vars(checkpoint).update(kept.state)
            checkpoint._metadata = dict(kept.metadata) or None
        return checkpoint

    @classmethod
    def from_bytes(cls: type[C], data: bytes) -> C:
        """A checkpoint from what :meth:`to_bytes` gave. Bytes that Ray made are read, too; those are pickled.

        Raises:
            ValueError: ``data`` is empty, or these are not the bytes of a checkpoint.
        """
        from aktis.air._checkpoint.content import from_bytes

        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"Checkpoint.from_bytes needs bytes, not {type(data).__name__}")
        if not data:
            raise ValueError("a checkpoint cannot be made from no bytes at all")
        return cls.from_dict(from_bytes(bytes(data), cls))

    @classmethod
    def from_directory(cls: type[C], path: str | os.PathLike[str]) -> C:
        """A checkpoint of what is in a directory. Nothing is copied: keep the directory as long as the checkpoint.

        Raises:
            CheckpointNotFoundError: there is no such directory.
            TornCheckpointError: a checkpoint was being written there, and never got complete.
        """
        path = os.fspath(path)
        if not path:
            raise ValueError("a checkpoint cannot be made from an empty path")
        if is_uri(path):
            return cls.from_uri(path)
        checkpoint = cls(local_path=path)
        assert checkpoint._local_path is not None
        return _with_class(checkpoint, cls, checkpoint._local_path)

    @classmethod
    def from_uri(cls: type[C], uri: str) -> C:
        """A checkpoint of what is at a URI (what fsspec knows; ``file://`` is local). Downloaded when it is needed.

        Raises:
            ValueError: it is no URI, or one with an unknown scheme.
            CheckpointNotFoundError: there is nothing.
            TornCheckpointError: it was being uploaded, and never got complete.
        """
        if not uri:
            raise ValueError("a checkpoint cannot be made from an empty URI")
        checkpoint = cls(uri=uri)
        if checkpoint._local_path is not None:
            return _with_class(checkpoint, cls, checkpoint._local_path)
        from aktis.air._checkpoint import remote

        with remote.peek(uri) as directory:
            return _with_class(checkpoint, cls, directory, check=False)

    @classmethod
    def from_checkpoint(cls: type[C], other: Checkpoint) -> C:
        """The same contents, as a checkpoint of this class."""
        checkpoint = cls(local_path=other._local_path, data_dict=other._data, uri=other._uri)
        checkpoint._key = other._key if cls is type(other) else checkpoint._key
        checkpoint._preprocessor = other._preprocessor
        checkpoint._metadata = other._metadata
        for name in cls._SERIALIZED_ATTRS:
            if name in vars(other):
                setattr(checkpoint, name, vars(other)[name])
        return checkpoint

    # -- to ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The contents as a dict. One made from a directory has its files in ``"fs_checkpoint"``, as a tar archive."""
        if self._data is not None:
            values = dict(self._data)
        else:
            with self.as_directory() as path:
                values = self._content(path).to_values()
        state, metadata = self._state(), self.get_metadata()
        if type(self) is Checkpoint and not state and not metadata:
            return values
        return CheckpointDict(values, type(self), state, metadata)

    def to_bytes(self) -> bytes:
        """The contents as bytes, for :meth:`from_bytes`: a tar archive of the directory form."""
        import tempfile

        from aktis.air._checkpoint.files import pack

        if self._local_path is not None and not self._differs(self._local_path):
            return pack(self._local_path) or pack_nothing()
        with tempfile.TemporaryDirectory(prefix="aktis-checkpoint-") as path:
            self._write(path)
            return pack(path) or pack_nothing()

    def to_directory(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write the contents into a directory, and return its path.

        Args:
            path: The directory; files that are there already stay. None: a new temporary one, which is yours to remove.
        """
        import tempfile

        from aktis.util.files import folder_made_whole

        if path is None:
            path = tempfile.mkdtemp(prefix="checkpoint_tmp_")
        path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        is_there = self._local_path is not None and os.path.realpath(self._local_path) == os.path.realpath(path)
        if is_there and not self._differs(path):
            return path
        with folder_made_whole(path, layout.merge) as target:
            self._write(target)
        return path

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """A directory with the contents, to be read, for as long as the block lasts.

        It is the directory itself if the checkpoint is in a local one. Else it is a temporary one, which all copies of this
        checkpoint on this machine share, and the last to leave removes.
        """
        if self._local_path is not None:
            yield self._local_path
            return
        from aktis.air._checkpoint.shared_dirs import shared

        with shared(self._key, self._write) as path:
            yield path

    def to_uri(self, uri: str) -> str:
        """Copy the contents to a URI, and return it. What is there of an older checkpoint goes.

        Raises:
            ValueError: it is no URI, or one with an unknown scheme.
            StorageError: copying failed; names the file.
        """
        from aktis.air._checkpoint import remote

        if not isinstance(uri, str) or not is_uri(uri):
            raise ValueError(f"{uri!r} is no URI, such as 's3://bucket/path': use Checkpoint.to_directory for paths")
        path = local_path(uri)
        if path is not None:
            self.to_directory(path)
            return uri
        if self._local_path is not None and self._differs(self._local_path):
            import tempfile

            with tempfile.TemporaryDirectory(prefix="aktis-checkpoint-") as temporary:
                self._write(temporary)
                remote.upload(temporary, uri)
        else:
            with self.as_directory() as directory:
                remote.upload(directory, uri)
        return uri

    def get_internal_representation(self) -> tuple[str, Any]:
        """The form that the checkpoint has: ("data_dict", dict), ("local_path", path) or ("uri", URI)."""
        for kind, value in (("data_dict", self._data), ("local_path", self._local_path), ("uri", self._uri)):
            if value is not None:
                return kind, value
        raise CheckpointError("this checkpoint has no contents")

    @property
    def uri(self) -> str | None:
        """The URI; ``file://`` for a local directory, None for what is only in memory."""
        return file_uri(self._local_path) if self._local_path is not None else self._uri

    @property
    def path(self) -> str | None:
        """The directory, or the URI when it is not local; None for what is only in memory."""
        return self._local_path or self._uri

    # -- what Ray's Trial.checkpoint has besides: programs read ``best_trial.checkpoint.dir_or_data`` -------

    @property
    def dir_or_data(self) -> Any:
        """The directory (or URI) if there is one, else the dict."""
        return self.path or self.to_dict()

    value = dir_or_data

    def to_air_checkpoint(self) -> Checkpoint:
        """This."""
        return self

    # -- what goes along ---------------------------------------------------------------------------

    def get_preprocessor(self) -> Any:
        """The preprocessor that was stored with the checkpoint; None when there is none."""
        if self._data is not None:
            return self._data.get(PREPROCESSOR_KEY)
        if self._preprocessor is not None:
            return self._preprocessor[0]
        with self.as_directory() as path:
            return self._content(path).preprocessor()

    def set_preprocessor(self, preprocessor: Any) -> None:
        """Store a preprocessor with the checkpoint. A directory it is in stays as it is; what is made from it has it."""
        self._key = _new_key()
        if self._data is not None:
            self._data = {**self._data, PREPROCESSOR_KEY: preprocessor}
        else:
            self._preprocessor = (preprocessor,)

    def get_metadata(self) -> dict[str, Any]:
        """The metadata that were set: a copy."""
        if self._metadata is not None or self._data is not None:
            return dict(self._metadata or {})
        if self._local_path is not None:
            return layout.read_metadata(self._local_path)
        with self.as_directory() as path:
            return layout.read_metadata(path)

    def set_metadata(self, metadata: dict[str, Any]) -> None:
        """Replace the metadata. Those of a directory, or at a URI, are written there at once.

        Raises:
            ValueError: they are not a dict that JSON can hold.
        """
        if not isinstance(metadata, dict):
            raise ValueError(f"the metadata of a checkpoint must be a dict, not {metadata!r}")
        try:
            json.dumps(metadata)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the metadata of a checkpoint must be what JSON can hold: {error}") from error
        self._key = _new_key()
        if self._local_path is not None:
            layout.write_metadata(self._local_path, metadata)
            return
        self._metadata = dict(metadata)
        if self._uri is not None:
            from aktis.air._checkpoint import remote

            remote.write_metadata(self._uri, metadata)

    def update_metadata(self, metadata: dict[str, Any]) -> None:
        """Add to the metadata."""
        self.set_metadata({**self.get_metadata(), **metadata})

    # -- how -----------------------------------------------------------------------------------------

    def _content(self, directory: str) -> Content:
        from aktis.air._checkpoint.content import Content

        content = Content(directory)
        if self._preprocessor is not None:
            content.values[PREPROCESSOR_KEY] = self._preprocessor[0]
        return content

    def _state(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in self._SERIALIZED_ATTRS if name in vars(self)}

    def _differs(self, directory: str) -> bool:
        """Whether the checkpoint is not quite what the directory says."""
        if self._preprocessor is not None or self._metadata is not None:
            return True
        stored = _stored_class(directory)
        return (stored or Checkpoint) is not type(self) or bool(self._state())

    def _write(self, target: str) -> None:
        """Put everything into an empty directory."""
        from aktis.air._checkpoint import content, remote

        if self._data is not None:
            content.write_values(target, self._data, type(self), self._state())
            layout.write_metadata(target, self._metadata or {})
            return
        if self._uri is not None:
            remote.download(self._uri, target)
            if not self._differs(target):
                return
            source = target
        else:
            assert self._local_path is not None
            source = self._local_path
            if not self._differs(source):
                content.copy_checkpoint(source, target)
                return
        metadata = self.get_metadata() if self._uri is None or self._metadata is not None else None
        self._content(source).write(target, type(self), self._state())
        if metadata is not None:
            layout.write_metadata(target, metadata)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self._local_path is not None:
            state["_data"] = self._content(self._local_path).to_values()
            state["_metadata"] = self.get_metadata() or None
            state["_key"] = _new_key()
            state.update(_local_path=None, _preprocessor=None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __fspath__(self) -> str:
        raise TypeError(
            "a Checkpoint is not a path: use checkpoint.to_directory(), or `with checkpoint.as_directory() as path`"
        )

    def __repr__(self) -> str:
        if self._data is None:
            return f"{type(self).__name__}({self.path})"
        return f"{type(self).__name__}(a dict of {', '.join(map(str, self._data))})"


class CheckpointDict(dict):  # type: ignore[type-arg]
    """The dict of a checkpoint that is more than its values: equal to a plain one, but it knows class, attributes and metadata."""

    def __init__(
        self, values: dict[str, Any], cls: type[Checkpoint], state: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        super().__init__(values)
        self.checkpoint_type = cls
        self.state = state
        self.metadata = metadata

    def __reduce__(self) -> tuple[Any, ...]:
        return CheckpointDict, (dict(self), self.checkpoint_type, self.state, self.metadata)


def _new_key() -> str:
    return os.urandom(16).hex()


def pack_nothing() -> bytes:
    """The archive of an empty directory: not no bytes, which are no checkpoint."""
    return b"\0" * 1024


def _class_for(cls: type[C], stored: type | None) -> type[C]:
    return stored if stored is not None and issubclass(stored, cls) else cls


def _stored_class(directory: str, check: bool = True) -> type | None:
    from aktis.air._checkpoint import ray_format

    manifest = layout.read_manifest(directory, check)
    if manifest is not None:
        return layout.read_class(directory, manifest)
    return ray_format.read_class(directory)[0]


def _with_class(checkpoint: C, cls: type[C], directory: str, check: bool = True) -> C:
    """The checkpoint as one of the class, and with the attributes, that the directory says it has."""
    from aktis.air._checkpoint import ray_format

    manifest = layout.read_manifest(directory, check)
    if manifest is None:
        stored, state = ray_format.read_class(directory)
    else:
        stored = layout.read_class(directory, manifest)
        state = layout.read(directory, manifest, "state") if manifest.has("state") else {}
    wanted = _class_for(cls, stored)
    if wanted is not type(checkpoint):
        checkpoint = wanted(local_path=checkpoint._local_path, uri=checkpoint._uri)
    for name in wanted._SERIALIZED_ATTRS:
        if name in state:
            setattr(checkpoint, name, state[name])
    return checkpoint
