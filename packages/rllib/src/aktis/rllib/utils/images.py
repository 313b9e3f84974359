"""Pictures of environments: smaller, and gray."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["imread", "resize", "rgb2gray"]


def resize(img: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """A picture [H, W] or [H, W, C] in another size, each pixel the mean of those that it covers.

    Args:
        img: The picture.
        height: Of the result.
        width: Of the result.

    Returns:
        [height, width] or [height, width, C], of the same type.
    """
    img = np.asarray(img)
    rows = _weights(img.shape[0], height)
    columns = _weights(img.shape[1], width)
    mixed = np.tensordot(rows, img.astype(np.float64), axes=(1, 0))  # [height, W, ...]
    mixed = np.moveaxis(np.tensordot(columns, mixed, axes=(1, 1)), 0, 1)  # [height, width, ...]
    return (mixed.round() if np.issubdtype(img.dtype, np.integer) else mixed).astype(img.dtype)


def _weights(size: int, wanted: int) -> NDArray[np.float64]:
    """[wanted, size]: how much of each old pixel is in each new one."""
    edges = np.linspace(0.0, size, wanted + 1)
    low, high = edges[:-1, None], edges[1:, None]
    old = np.arange(size)[None]
    overlap = np.clip(np.minimum(high, old + 1) - np.maximum(low, old), 0.0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


def rgb2gray(img: NDArray[Any]) -> NDArray[Any]:
    """The brightness [H, W] of a picture [H, W, 3], of the same type (ITU-R BT.601)."""
    img = np.asarray(img)
    gray = img[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return (gray.round() if np.issubdtype(img.dtype, np.integer) else gray).astype(img.dtype)


def imread(img_file: str) -> NDArray[Any]:
    """A picture of a file, [H, W, C]."""
    try:
        import imageio.v3 as imageio
    except ImportError as error:
        raise ImportError("reading pictures needs imageio: pip install imageio") from error
    return np.asarray(imageio.imread(img_file))
