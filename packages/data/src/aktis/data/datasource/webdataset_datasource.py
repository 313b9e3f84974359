"""WebDataset: tar files in which neighbouring files with one name, but other extensions, are a sample."""

from __future__ import annotations

import fnmatch
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

import numpy as np

from aktis.data._blocks import from_rows
from aktis.data._blocks.types import Block
from aktis.data.datasource.file_based_datasource import FileBasedDatasource, with_compressed

__all__ = ["WebDatasetDatasource"]

_PORTION = 16 << 20  # bytes of samples that become one table
_IMAGES = frozenset({"jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm", "bmp", "gif", "tif", "tiff", "webp"})

Decoder = Union[bool, str, Callable[[dict[str, Any]], dict[str, Any]], None]
Selection = Union[Sequence[str], Callable[[str], bool], str, None]
Renaming = Union[Sequence[tuple[str, str]], Callable[[str], str], None]


class WebDatasetDatasource(FileBasedDatasource):
    """One row per sample: ``__key__``, and a column for each extension.

    Extensions say how contents are decoded: ``txt``, ``json``, ``cls`` (an integer), ``npy``, pictures. Others stay bytes;
    so do pickles and torch files, which could run code.
    """

    _FILE_EXTENSION = with_compressed("tar", "tgz")
    _MEMORY_RATIO = 1.5
    _OWN_TABLES = True

    def _read_stream(
        self,
        f: Any,
        path: str,
        decoder: Decoder | Sequence[Decoder] = True,
        fileselect: Selection = None,
        filerename: Renaming = None,
        suffixes: Selection = None,
        verbose_open: bool = False,
        expand_json: bool = False,
        **_: Any,
    ) -> Iterator[Block]:
        decoders: list[Any] = list(decoder) if isinstance(decoder, (list, tuple)) else [decoder]
        rows: list[dict[str, Any]] = []
        size = 0
        for sample in _samples(f, path, fileselect, filerename, suffixes):
            size += sum(len(value) for value in sample.values() if isinstance(value, bytes))
            for one in decoders:
                sample = _decoded(sample, one)
            if expand_json and isinstance(sample.get("json"), dict):
                sample = {**{k: v for k, v in sample.items() if k != "json"}, **sample["json"]}
            rows.append(sample)
            if size >= _PORTION:
                yield _table(rows)
                rows, size = [], 0
        if rows:
            yield _table(rows)

    def _open_input_source(self, filesystem: Any, path: str, **open_args: Any) -> Any:
        if path.endswith(".tgz"):
            open_args = {"compression": "gzip", **open_args}
        return super()._open_input_source(filesystem, path, **open_args)


def _samples(f: Any, path: str, select: Selection, rename: Renaming, suffixes: Selection) -> Iterator[dict[str, Any]]:
    """The samples of a tar file, undecoded, as its members come by."""
    sample: dict[str, Any] = {}
    with tarfile.open(fileobj=f, mode="r|") as archive:
        for member in archive:
            name = _renamed(member.name, rename)
            if not member.isfile() or name.rsplit("/", 1)[-1].startswith((".", "_")) or not _selected(name, select):
                continue
            folder, _, file = name.rpartition("/")
            stem, _, extension = file.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            extension = extension.lower()
            if suffixes is not None and not _selected(extension, suffixes):
                continue
            if sample and sample["__key__"] != key:
                yield sample
                sample = {}
            sample.setdefault("__key__", key)
            if extension in sample:
                raise ValueError(f"the sample {key!r} has two files with the extension {extension!r}")
            content = archive.extractfile(member)
            assert content is not None  # it is a regular file
            sample[extension] = content.read()
    if sample:
        yield sample


def _renamed(name: str, rename: Renaming) -> str:
    if rename is None:
        return name
    if callable(rename):
        return rename(name)
    for old, new in rename:
        name = name.replace(old, new)
    return name


def _selected(name: str, select: Selection) -> bool:
    if select is None:
        return True
    if callable(select):
        return bool(select(name))
    patterns = [select] if isinstance(select, str) else select
    return any(fnmatch.fnmatch(name, pattern) or name.endswith("." + pattern) for pattern in patterns)


def _decoded(sample: dict[str, Any], decoder: Decoder) -> dict[str, Any]:
    """``True`` (or the name of an image format for arrays) decodes by extension, a function does what it wants."""
    if decoder is None or decoder is False:
        return sample
    if callable(decoder):
        return decoder(sample)
    return {name: decode(name, value, decoder) if isinstance(value, bytes) else value for name, value in sample.items()}


def decode(extension: str, content: bytes, images: bool | str = True) -> Any:
    """The value of one file of a sample. ``images``: a mode of Pillow's, or True for that of the file."""
    kind = extension.rsplit(".", 1)[-1]
    try:
        if kind in ("txt", "text", "transcript"):
            return content.decode()
        if kind in ("cls", "cls2", "index", "inx", "id", "count"):
            return int(content)
        if kind in ("json", "jsn"):
            return json.loads(content)
        if kind == "npy":
            return np.load(io.BytesIO(content), allow_pickle=False)
        if kind in _IMAGES:
            from aktis.data.datasource.image_datasource import decode_image

            return decode_image(content, mode=_MODES.get(images) if isinstance(images, str) else None)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(f"the file with extension {extension!r} cannot be decoded: {error}") from error
    return content


_MODES = {"rgb": "RGB", "rgb8": "RGB", "l": "L", "l8": "L", "rgba": "RGBA", "rgba8": "RGBA", "PIL": None}


def _table(rows: list[dict[str, Any]]) -> Block:
    """Samples may lack files that others have."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return from_rows([{name: row.get(name) for name in names} for row in rows])
