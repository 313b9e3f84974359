"""Writing images: a file per row."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from aktis.data.datasource._file_sink import FileOptions, RowFileSink
from aktis.data.exceptions import SchemaError

__all__ = ["ImagesSink"]


class ImagesSink(RowFileSink):
    """One column of arrays (height, width[, channels]) as image files.

    Args:
        options: where to.
        column: which one.
        file_format: what Pillow calls the format: "png", "jpeg" ...
    """

    name = "WriteImages"

    def __init__(self, options: FileOptions, column: str, file_format: str) -> None:
        super().__init__(options)
        self._column = column
        self.extension = file_format.lower()

    def write_row(self, row: Any, stream: Any) -> None:
        if isinstance(row, dict) and self._column not in row:
            raise SchemaError(f"{self.name}: there is no column {self._column!r}; the columns are {list(row)}")
        value = row[self._column] if isinstance(row, dict) else row
        if value is None:
            raise SchemaError(f"{self.name}: column {self._column!r} has a null; drop such rows first (with filter)")
        stream.write(encode_image(value, self.extension, f"{self.name}: column {self._column!r}"))


def encode_image(value: Any, file_format: str, what: str) -> bytes:
    """The bytes of an image file.

    Args:
        value: an array, (height, width) or (height, width, channels), of ``uint8`` (or what Pillow takes).
        file_format: "png", "jpg" ...
        what: for messages.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("images need Pillow: pip install 'aktis-data[images]'") from error
    array = np.asarray(value)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    buffer = io.BytesIO()
    try:
        Image.fromarray(array).save(buffer, format={"jpg": "jpeg"}.get(file_format, file_format))
    except (TypeError, KeyError, ValueError, OSError) as error:
        raise SchemaError(
            f"{what}: an array of dtype {array.dtype} and shape {array.shape} cannot be written as {file_format!r} ({error}); "
            "images are uint8 arrays of shape (height, width) or (height, width, 3 or 4)"
        ) from error
    return buffer.getvalue()
