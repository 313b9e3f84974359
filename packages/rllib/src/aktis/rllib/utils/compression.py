"""Compressed values in sample batches and files: lz4 where it is installed, zlib otherwise. Nothing is pickled."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from aktis.rllib.utils._codec import CodecError, decode, encode

_LZ4 = b"AKL1"
_ZLIB = b"AKZ1"

__all__ = ["compression_supported", "is_compressed", "pack", "pack_if_needed", "unpack", "unpack_if_needed"]


def compression_supported() -> bool:
    """True: without lz4 there is zlib."""
    return True


def pack(data: Any) -> bytes:
    """The compressed bytes of a value (arrays, or structures of arrays and plain Python values).

    Raises:
        CodecError: There are objects in it that can only be pickled.
    """
    raw = encode(data)
    try:
        import lz4.frame
    except ImportError:
        return _ZLIB + zlib.compress(raw, 1)
    return _LZ4 + bytes(lz4.frame.compress(raw))


def unpack(data: bytes | str) -> Any:
    """The value that `pack` made bytes of (or of their base64 text).

    Raises:
        CodecError: These are not such bytes.
        ImportError: They were made with lz4, which is not installed here.
    """
    raw = base64.b64decode(data) if isinstance(data, str) else bytes(data)
    if raw[:4] == _ZLIB:
        return decode(zlib.decompress(raw[4:]))
    if raw[:4] == _LZ4:
        try:
            import lz4.frame
        except ImportError:
            raise ImportError(
                "these samples are compressed with lz4, which is not installed: pip install lz4"
            ) from None
        return decode(lz4.frame.decompress(raw[4:]))
    raise CodecError("these bytes are not compressed by pack()")


def pack_if_needed(data: Any) -> bytes:
    """`pack`, unless it is done."""
    return data if is_compressed(data) else pack(data)


def unpack_if_needed(data: Any) -> Any:
    """`unpack` what is compressed (of a column of compressed rows each of them); everything else as it is."""
    if not is_compressed(data):
        return data
    if isinstance(data, np.ndarray):
        return np.array([unpack(row) for row in data])
    return unpack(data)


def is_compressed(data: Any) -> bool:
    """Whether this is what `pack` makes, or an array whose first element is."""
    if isinstance(data, np.ndarray):
        return data.dtype == object and data.size > 0 and is_compressed(data.flat[0])
    return isinstance(data, bytes) and data[:4] in (_LZ4, _ZLIB)
