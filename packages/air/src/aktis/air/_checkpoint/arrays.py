"""Arrays of numpy and torch in safetensors files.

The file is written here, tensor after tensor, since the library's writers want a copy of everything in memory first; it is
read with the library.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_NUMPY_DTYPES = {
    "bool": "BOOL", "int8": "I8", "uint8": "U8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "uint64": "U64", "float16": "F16", "float32": "F32", "float64": "F64",
}  # fmt: skip
_TORCH_DTYPES = {
    **_NUMPY_DTYPES, "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "complex64": "F32", "complex128": "F64",
}  # fmt: skip


@dataclass
class Array:
    """An array to be written.

    Attributes:
        dtype: Its name in safetensors.
        shape: Its shape in the file.
        nbytes: How long it is.
        data: Makes the bytes, when they are written.
        tag: What has to be known to restore it, besides its name.
        storage: Equal for arrays that are the same memory; None when that does not matter.
    """

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    data: Callable[[], Any]
    tag: dict[str, Any] = field(default_factory=dict)
    storage: Any = None


def of_bytes(value: bytes | bytearray) -> Array:
    """Bytes as an array of them."""
    return Array("U8", (len(value),), len(value), lambda: value)


def has_plain_dtype(dtype: Any) -> bool:
    """Whether a numpy dtype's text says all about it, and its elements hold no objects."""
    import numpy

    try:
        return not dtype.hasobject and dtype.names is None and numpy.dtype(dtype.str) == dtype
    except TypeError:
        return False


def describe(value: Any) -> Array | None:
    """How ``value`` is to be written; None when it is no array of a kind that can be."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(value) is numpy.ndarray:
        return _describe_ndarray(value)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "Tensor") and isinstance(value, torch.Tensor):
        return _describe_tensor(torch, value)
    return None


def _describe_ndarray(array: Any) -> Array | None:
    import numpy

    if not has_plain_dtype(array.dtype):
        return None
    name = _NUMPY_DTYPES.get(array.dtype.name) if array.dtype.isnative else None
    if name is not None:
        data = lambda: numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).data  # noqa: E731
        return Array(name, array.shape, array.nbytes, data, {"$": "ndarray"})
    tag = {"$": "ndarray", "d": array.dtype.str, "s": list(array.shape)}
    return Array("U8", (array.nbytes,), array.nbytes, array.tobytes, tag)


def _describe_tensor(torch: Any, tensor: Any) -> Array | None:
    is_parameter = type(tensor) is torch.nn.Parameter
    name = _TORCH_DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    if not (is_parameter or type(tensor) is torch.Tensor) or name is None or getattr(tensor, "__dict__", None):
        return None
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return None
    tag: dict[str, Any] = {"$": "tensor"}
    if is_parameter:
        tag["p"] = 1
    if tensor.requires_grad:
        tag["g"] = 1
    if tensor.device.type != "cpu":
        tag["dev"] = str(tensor.device)
    shape = tuple(tensor.shape)
    if tensor.is_complex():
        tag["c"] = 1
        shape = (*shape, 2)

    def data() -> Any:
        plain = tensor.detach().resolve_conj().resolve_neg()
        if plain.is_complex():
            plain = torch.view_as_real(plain)
        flat = plain.cpu().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().data if flat.numel() else b""

    nbytes = tensor.numel() * tensor.element_size()
    same_memory = None
    if nbytes and not tensor.is_conj() and not tensor.is_neg():
        same_memory = (tensor.data_ptr(), shape, tensor.stride(), name, str(tensor.device))
    return Array(name, shape, nbytes, data, tag, same_memory)


def restore_ndarray(tag: Mapping[str, Any], stored: Any) -> Any:
    """The numpy array of a tag, from what is in the file."""
    if "d" not in tag:
        return stored
    import numpy

    return numpy.frombuffer(bytearray(stored.tobytes()), dtype=tag["d"]).reshape(tag["s"])


def restore_tensor(tag: Mapping[str, Any], stored: Any) -> Any:
    """The torch tensor of a tag, from what is in the file; on the device that it was on, if there is one here."""
    import torch

    tensor = torch.view_as_complex(stored) if "c" in tag else stored
    device = tag.get("dev", "cpu")
    if device != "cpu" and _has_device(torch, device):
        tensor = tensor.to(device)
    if "p" in tag:
        return torch.nn.Parameter(tensor, requires_grad="g" in tag)
    if "g" in tag:
        return tensor.detach().requires_grad_()
    return tensor


def _has_device(torch: Any, device: str) -> bool:
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return bool(torch.cuda.is_available()) and int(index or 0) < torch.cuda.device_count()
    return bool(kind == "mps" and torch.backends.mps.is_available())


_SIZES = {
    "BOOL": 1,
    "I8": 1,
    "U8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
}


def write(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write a safetensors file. The widest elements come first, so that all are aligned without gaps."""
    order = sorted(arrays, key=lambda name: (-_SIZES.get(arrays[name].dtype, 8), int(name[1:])))
    header: dict[str, Any] = {}
    offset = 0
    for name in order:
        array = arrays[name]
        end = offset + array.nbytes
        header[name] = {"dtype": array.dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)))
    file.write(text)
    for name in order:
        data = arrays[name].data()
        if memoryview(data).nbytes != arrays[name].nbytes:
            raise RuntimeError(f"array {name} changed its size while it was written")
        file.write(data)


def reader(path: str) -> Callable[[str, str], Any]:
    """What gives the arrays of a file, as ``(framework, name)`` asks: "np" or "pt"."""
    from safetensors import safe_open

    handles: dict[str, Any] = {}

    def load(framework: str, name: str) -> Any:
        if framework == "pt":
            _need_torch(path)
        if framework not in handles:
            handles[framework] = safe_open(path, framework=framework)
        return handles[framework].get_tensor(name)

    return load


def _need_torch(path: str) -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{path} holds torch tensors, but torch is not installed: pip install torch"
        ) from error


def names(arrays: Iterable[str]) -> list[str]:
    """Names in the order in which they were given out."""
    return sorted(arrays, key=lambda name: int(name[1:]))
