"""Writing WebDataset shards: tar files, each row some files with the same stem."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aktis.data._blocks import to_rows
from aktis.data._blocks.types import Block
from aktis.data.datasource._file_sink import BlockFileSink, FileOptions
from aktis.data.datasource.images_sink import encode_image
from aktis.data.exceptions import SchemaError

__all__ = ["WebDatasetSink"]

_ROWS = 256  # rows whose Python values are in memory at a time
_IMAGES = ("png", "jpg", "jpeg", "bmp", "webp", "ppm")
_PICKLES = ("pickle", "pkl", "pyd", "pth", "pt")

Encoder = Callable[[dict[str, Any]], dict[str, Any]]


class WebDatasetSink(BlockFileSink):
    """A tar file per block. ``__key__`` is the stem of a row's files, the names of the other columns are their extensions.

    The extension says how a value is written: ``json``, ``npy``, ``png``, ``jpg`` ...; ``cls``, ``id``, ``index`` and ``txt`` are
    text. With any other extension strings are UTF-8, bytes as they are, numbers text, everything else JSON.

    Args:
        options: where to, and how rows are spread over files.
        encoder: True: as said above. A function (or several, one after the other) gets a row and returns it with other
            values. False or None: all values are bytes or strings already.
    """

    name = "WriteWebDataset"
    extension = "tar"
    tensors = True

    def __init__(self, options: FileOptions, encoder: bool | Encoder | list[bool | Encoder] | None = True) -> None:
        super().__init__(options)
        encoders = encoder if isinstance(encoder, (list, tuple)) else [encoder]
        for item in encoders:
            if item is not None and not isinstance(item, bool) and not callable(item):
                raise TypeError(f"encoder is True, False, a function, or a list of them, got {item!r}")
        self._encoders = [item for item in encoders if item]

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        # "w|" never seeks: object stores take a stream from the beginning to the end.
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            count = 0
            for block in blocks:
                for start in range(0, block.num_rows, _ROWS):
                    for row in to_rows(block.slice(start, _ROWS)):
                        self._add(tar, row, count)
                        count += 1

    def _add(self, tar: tarfile.TarFile, row: Any, count: int) -> None:
        if not isinstance(row, dict):
            raise SchemaError(
                f"{self.name}: rows must have columns, whose names are file extensions; got {type(row).__name__}"
            )
        for encoder in self._encoders:
            row = encode_row(row) if encoder is True else encoder(dict(row))
        key = row.get("__key__")
        stem = f"{count:09}" if key is None else key.decode() if isinstance(key, bytes) else str(key)
        for name, value in row.items():
            if name.startswith("__") or value is None:
                continue
            data = value.encode() if isinstance(value, str) else value
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise SchemaError(
                    f"{self.name}: the value of column {name!r} is a {type(value).__name__} after encoding; it must be bytes or "
                    "a string. Use encoder=True, or a function that turns it into bytes"
                )
            info = tarfile.TarInfo(f"{stem}.{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def encode_row(row: dict[str, Any]) -> dict[str, Any]:
    """Each value as the bytes that its column's name asks for."""
    return {name: value if name.startswith("__") else _encode(name, value) for name, value in row.items()}


def _encode(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bytes, bytearray, memoryview)):
        return value
    extension = name.rpartition(".")[2].lower()
    if extension in _PICKLES:
        raise SchemaError(
            f"WriteWebDataset: column {name!r} asks for a pickle, and data files with pickles are a danger to whoever reads them. "
            "Name the column .json or .npy, or encode it to bytes by yourself (encoder=)"
        )
    if extension in _IMAGES:
        return encode_image(value, extension, f"WriteWebDataset: column {name!r}")
    if extension == "npy":
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(value), allow_pickle=False)
        return buffer.getvalue()
    if extension != "json":
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, (bool, int, float)):
            return str(value).encode()
    try:
        return json.dumps(value.tolist() if isinstance(value, np.ndarray) else value).encode()
    except TypeError as error:
        raise SchemaError(
            f"WriteWebDataset: column {name!r} has a {type(value).__name__}, which cannot be written as JSON ({error}); name the "
            "column by a format (.npy, .png), or give an encoder"
        ) from error
