"""Pictures, with Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from aktis.data.datasource.file_based_datasource import FileBasedDatasource

__all__ = ["ImageDatasource"]

_EXTRA = "Reading images needs Pillow: pip install 'aktis-data[images]'"


class ImageDatasource(FileBasedDatasource):
    """Rows are ``{"image": array}``, and ``path`` with ``include_paths=True``. Sizes may differ.

    ``size`` is (height, width) in pixels, ``mode`` one of Pillow's, such as ``"RGB"`` or ``"L"``.
    """

    _FILE_EXTENSION = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp")
    _NUM_THREADS_PER_TASK = 4
    _ONE_ROW_PER_FILE = True
    _MEMORY_RATIO = 8.0

    def create_reader(self, paths: Any = None, filesystem: Any = None, **read_args: Any) -> Any:
        size, mode = read_args.get("size"), read_args.get("mode")
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(_EXTRA) from error
        if size is not None and (len(size) != 2 or any(int(side) != side or side < 1 for side in size)):
            raise ValueError(f"size is (height, width) in pixels, got {size!r}")
        if mode is not None:
            try:
                Image.new(mode, (1, 1))
            except (ValueError, KeyError) as error:
                raise ValueError(f"mode is one of Pillow's modes ('RGB', 'L', ...), got {mode!r}") from error
        include_paths = read_args.pop("include_paths", False)
        return super().create_reader(paths, filesystem, include_paths=False, with_path=include_paths, **read_args)

    def _open_input_source(self, filesystem: Any, path: str, **open_args: Any) -> Any:
        return filesystem.open_input_stream(path, **{"compression": None, **open_args})

    def _read_row(
        self,
        f: Any,
        path: str,
        size: tuple[int, int] | None = None,
        mode: str | None = None,
        with_path: bool = False,
        **_: Any,
    ) -> dict[str, Any]:
        data = f.readall()
        if not data:
            raise ValueError("the file is empty (0 bytes)")
        row: dict[str, Any] = {"image": decode_image(data, size, mode)}
        if with_path:
            row["path"] = path
        return row


def decode_image(data: bytes, size: tuple[int, int] | None = None, mode: str | None = None) -> np.ndarray[Any, Any]:
    """The pixels: height x width, or height x width x channels."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            if size is not None:
                height, width = size
                image.draft(mode, (width, height))  # lets JPEG decode at a smaller scale
                image = image.resize((width, height), resample=Image.Resampling.BILINEAR)
            if mode is not None and image.mode != mode:
                image = image.convert(mode)
            pixels: np.ndarray[Any, Any] = np.array(image)
            return pixels
    except UnidentifiedImageError:
        raise ValueError("this is no image of a format that Pillow knows, or it is damaged") from None
