"""Columns in files of RLlib 2: compressed with lz4, and pickled NumPy arrays inside.

A file of somebody else must not be able to run code here. So nothing is looked up but the few functions that pickled arrays of
numbers and plain containers are made of; any other name is an error.
"""

from __future__ import annotations

import collections
import io
import pickle
from typing import Any

import numpy as np

__all__ = ["is_lz4", "unpack_foreign"]

_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")


def is_lz4(data: bytes) -> bool:
    """Whether bytes are an lz4 frame."""
    return data[:4] == _LZ4_MAGIC


def unpack_foreign(data: bytes) -> Any:
    """The value in a compressed column.

    Raises:
        ImportError: lz4 is not installed.
        pickle.UnpicklingError: there is something else in it than arrays and plain values.
    """
    try:
        import lz4.frame
    except ImportError:
        raise ImportError("these samples are compressed with lz4, which is not installed: pip install lz4") from None
    value = _ArraysOnly(io.BytesIO(lz4.frame.decompress(data))).load()
    return _own(value)


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMERIC and name == "_frombuffer":
            return _from_buffer
        if module in _MULTIARRAY and name == "_reconstruct":
            return _reconstruct
        if module in _MULTIARRAY and name == "scalar":
            return _scalar
        if module == "numpy" and name == "dtype":
            return np.dtype
        if module == "numpy" and name == "ndarray":
            return np.ndarray
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise pickle.UnpicklingError(
            f"the column has an object of {module}.{name} in it; only arrays of numbers and plain values are read from files"
        )


def _from_buffer(buffer: Any, dtype: Any, shape: Any, order: str) -> Any:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(cls: Any, shape: Any, kind: Any) -> Any:
    return np.ndarray.__new__(np.ndarray, shape, dtype=kind)


def _scalar(dtype: Any, data: Any = None) -> Any:
    return np.frombuffer(data if isinstance(data, bytes) else str(data).encode("latin1"), dtype=dtype)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1" if encoding not in ("ascii", "utf-8") else encoding)


def _own(value: Any) -> Any:
    """Arrays that can be written to."""
    if isinstance(value, np.ndarray):
        return value if value.flags.writeable else value.copy()
    if isinstance(value, dict):
        return {key: _own(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_own(item) for item in value)
    return value
