"""Functions and classes to bytes, and back.

An importable function goes by reference, as cloudpickle has it; one of ``__main__``, a local one, or one whose name now
means something else (a decorator took its place) goes by value, with the globals that it uses.
"""

from __future__ import annotations

import types
import warnings
from typing import TYPE_CHECKING, Any

from aktis._serialization.diagnose import captured, explain_failure
from aktis._serialization.values import collecting_references, dump_by_value, unpack

if TYPE_CHECKING:
    from aktis.object_ref import ObjectRef

WARN_SIZE = 10_000_000
MAX_SIZE = 100_000_000


def pack_function(function: Any, refs: list[ObjectRef[Any]] | None = None) -> bytes:
    """Pickle a function or a class for a worker.

    References that it captures are appended to ``refs``; without that list they are refused.
    Above 10 MB a warning, above 100 MB a ValueError names the largest captured variables.
    """
    name = getattr(function, "__qualname__", None) or repr(function)
    try:
        with collecting_references(refs):
            data = dump_by_value(function, None)
    except MemoryError:
        raise
    except Exception as error:
        data = _by_reference(function)
        if not data:
            raise explain_failure(function, name, error) from error
    if len(data) > WARN_SIZE:
        data = _check_size(function, name, data)
    return data


def unpack_function(data: bytes) -> Any:
    """The function or class again."""
    return unpack(data)


def _check_size(function: Any, name: str, data: bytes) -> bytes:
    if len(data) > MAX_SIZE and (reference := _by_reference(function)):
        return reference
    text = (
        f"{name} is {len(data) / 1e6:.0f} MB when pickled, because of what it captures ({_largest(function)}). "
        "Pass large data as an argument, best after aktis.put(), or load it inside of the function"
    )
    if len(data) > MAX_SIZE:
        raise ValueError(f"{text}. The limit is {MAX_SIZE // 1_000_000} MB.")
    warnings.warn(text, UserWarning, stacklevel=4)
    return data


def _largest(function: Any) -> str:
    sizes: list[tuple[int, str]] = []
    for path, value in captured(function):
        try:
            with collecting_references([]):
                sizes.append((len(dump_by_value(value, None)), path))
        except Exception:  # it is only for the message
            continue
    sizes.sort(reverse=True)
    return ", ".join(f"{path}: {size / 1e6:.1f} MB" for size, path in sizes[:3]) or "nothing that could be named"


class _Wrapped:
    """Pickles as: import the module, look the name up, and take what the decorator wrapped."""

    def __init__(self, module: str, qualname: str) -> None:
        self._where = (module, qualname)

    def __reduce__(self) -> tuple[Any, ...]:
        return _import_wrapped, self._where


def _lookup(module: str, qualname: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _import_wrapped(module: str, qualname: str) -> Any:
    return _lookup(module, qualname).__wrapped__


def by_name(function: Any) -> Any:
    """Stands for a decorated function of an importable module, and pickles as its name; None when it has none."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", "<")
    if not isinstance(function, (types.FunctionType, type)) or module in (None, "__main__") or "<" in qualname:
        return None
    try:
        found = _import_wrapped(module, qualname)
    except Exception:
        return None
    return _Wrapped(module, qualname) if found is function else None


def _by_reference(function: Any) -> bytes:
    """The name of a decorated function of an importable module, for when its globals cannot be pickled; else b""."""
    wrapped = by_name(function)
    return b"" if wrapped is None else dump_by_value(wrapped, None)
