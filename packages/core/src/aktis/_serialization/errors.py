"""Exceptions to bytes, and back: something always arrives.

Exceptions are notorious for not surviving pickle: by default they are rebuilt by calling their class with ``args``,
which breaks every class whose constructor takes something else. Here they are rebuilt from their state, without calling
the constructor. What cannot be pickled in them (a lock, a socket) is replaced by its repr; where even that fails, the
text of the traceback goes alone.
"""

from __future__ import annotations

import io
import os
import pickle
import types
from typing import TYPE_CHECKING, Any

from aktis._serialization import values
from aktis._serialization.dual import is_group, new_exception
from aktis.exceptions import AktisError, AktisTaskError, UnserializableException

if TYPE_CHECKING:
    import traceback

MAX_TEXT = 100_000  # characters of a traceback
MAX_PICKLE = 10_000_000  # bytes of an exception; above, what is large in it is replaced by its repr
MAX_REPR = 10_000
MAX_CHAIN = 20  # of causes that travel as objects; the text has all

PACKAGES = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep]
"""Where core's own files lie; in code that came by value from another machine, their names are those of there."""


def pack_exception(
    error: BaseException,
    function_name: str | None = None,
    *,
    pid: int | None = None,
    ip: str | None = None,
    actor_repr: str | None = None,
    actor_id: str | None = None,
) -> bytes:
    """Pickle what a task raised. Without ``function_name``, ``error`` is an AktisError that readers get as it is."""
    if function_name is None:
        return dump_exception(error)
    cause = error.cause if isinstance(error, AktisTaskError) and error.cause is not None else error
    text = format_remote(error)
    fields = (function_name, text, pid, ip, actor_repr, actor_id)
    return pickle.dumps((fields, dump_exception(cause, text)), values.PROTOCOL)


def unpack_exception(data: bytes | memoryview) -> Exception:
    """An exception to be raised: a new one at each call, since raising writes into it."""
    fields, *rest = pickle.loads(data)
    if not isinstance(fields, tuple):
        error = load_exception(data)
        return error if isinstance(error, Exception) else AktisTaskError(cause=error)
    (function_name, text, *where), cause = fields, load_exception(rest[0])
    task_error = AktisTaskError(function_name, text, cause, None, *where)
    return task_error if isinstance(cause, UnserializableException) else task_error.as_instanceof_cause()


def dump_exception(error: BaseException | None, text: str = "") -> bytes:
    """Pickle an exception so that :func:`load_exception` always gives one. ``text``: its traceback, when known."""
    if error is None:
        return b""
    data, why = _dump(error)
    return pickle.dumps((data, why, text or format_remote(error)), values.PROTOCOL)


def load_exception(data: bytes | memoryview) -> BaseException | None:
    """The exception again, or an UnserializableException with its text."""
    if not data:
        return None
    pickled, why, text = pickle.loads(data)
    if not pickled:
        return UnserializableException(text, why)
    try:
        error = values.unpack(pickled)
    except Exception as failure:
        return UnserializableException(text, f"{type(failure).__name__}: {failure}")
    if not isinstance(error, BaseException):
        return UnserializableException(text, f"it turned into a {type(error).__name__} when it was unpickled")
    return error


# The text ------------------------------------------------------------------------------------------------------------


def format_remote(error: BaseException) -> str:
    """The traceback of ``error`` and what caused it, without frames of Aktis's own."""
    import traceback

    try:
        summary = traceback.TracebackException.from_exception(error, compact=True)
        _trim(summary, error, 0)
        text = "".join(summary.format())
    except Exception as failure:  # a __str__, __cause__ or __traceback__ that somebody was too clever with
        text = f"{type(error).__name__} (its traceback could not be formatted: {type(failure).__name__})"
    if len(text) > MAX_TEXT:
        half = MAX_TEXT // 2
        text = f"{text[:half]}\n... {len(text) - MAX_TEXT:,} characters left out ...\n{text[-half:]}"
    return text


def _trim(summary: traceback.TracebackException, error: BaseException | None, depth: int) -> None:
    """Take our own frames away, in the whole chain (``summary`` and ``error`` are walked side by side)."""
    frames = [frame for frame in summary.stack if not _internal(frame.filename)]
    if frames:  # an error that arose in our code entirely keeps its frames
        summary.stack[:] = frames
    if isinstance(error, AktisTaskError):
        summary.__cause__ = None  # its message shows the cause with its traceback already
        summary.__suppress_context__ = True
        return
    if depth > 100 or error is None:
        return
    if summary.__cause__ is not None:
        _trim(summary.__cause__, error.__cause__, depth + 1)
    if summary.__context__ is not None:
        _trim(summary.__context__, error.__context__, depth + 1)
    for inner, inner_error in zip(getattr(summary, "exceptions", None) or (), getattr(error, "exceptions", ())):
        _trim(inner, inner_error, depth + 1)


def _internal(filename: str) -> bool:
    """Whether it is a file of core's own machinery: libraries such as ``aktis.data`` live in the same folder."""
    for package in PACKAGES:
        if filename.startswith(package):
            first, _, rest = filename[len(package) :].partition(os.sep)
            return not rest or first.startswith("_")
    return False


# The object ----------------------------------------------------------------------------------------------------------


def _dump(error: BaseException) -> tuple[bytes, str]:
    """The pickled exception, or b"" and why not."""
    why = ""
    for salvage in (False, True):
        try:
            with values.collecting_references(None):
                data = _pickle(error, salvage)
                if len(data) > MAX_PICKLE:
                    why = f"it is {len(data) / 1e6:.0f} MB when pickled"
                    continue
            return data, ""
        except Exception as failure:
            why = f"{type(failure).__name__}: {failure}"
    return b"", why[:MAX_REPR]


def _pickle(error: BaseException, salvage: bool) -> bytes:
    class Pickler(values.pickler_class()):  # type: ignore[misc]
        depth = 0

        def reducer_override(self, obj: Any) -> Any:
            ours = isinstance(obj, BaseException) and not isinstance(obj, AktisError)
            if ours and (salvage or not _own_reduce(type(obj))):
                self.depth += 1
                return _reduce(obj, salvage, self.depth < MAX_CHAIN)
            return super().reducer_override(obj)

    file = io.BytesIO()
    Pickler(file, values.PROTOCOL).dump(error)
    return file.getvalue()


def _own_reduce(cls: type) -> bool:
    """Whether Python code says how to pickle the class."""
    names = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")
    return any(isinstance(getattr(cls, name, None), types.FunctionType) for name in names)


def _reduce(error: BaseException, salvage: bool, chain: bool) -> tuple[Any, ...]:
    clean = _clean if salvage else _keep
    fields: dict[str, Any] = {}
    for base in type(error).__mro__[:-1]:
        if base in (BaseException, Exception):
            continue
        for name, value in vars(base).items():
            if isinstance(value, types.MemberDescriptorType) and not name.startswith("__"):
                field = getattr(error, name, None)
                if field is not None:
                    fields[name] = clean(field)
    state: dict[str, Any] = {
        "args": None if is_group(error) else tuple(clean(value) for value in error.args),
        "dict": {name: clean(value) for name, value in error.__dict__.items()},
        "fields": fields,
        "suppress": error.__suppress_context__,
    }
    if chain:
        state["cause"] = error.__cause__
        state["context"] = None if error.__suppress_context__ else error.__context__
    arguments = (error.message, error.exceptions) if is_group(error) else ()
    return new_exception, (type(error), arguments), state, None, None, _set_state


def _keep(value: Any) -> Any:
    return value


def _clean(value: Any) -> Any:
    """The value, or its repr when it cannot be pickled or is large."""
    if isinstance(value, BaseException):
        return value  # reduced by the pickler, with its own salvage
    try:
        packed = values.pack(value)
        if packed.nbytes < MAX_PICKLE // 10 and not packed.refs:
            return value
    except Exception:
        pass
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__} object>"
    return text if len(text) <= MAX_REPR else text[:MAX_REPR] + "..."


def _set_state(error: BaseException, state: dict[str, Any]) -> None:
    if state["args"] is not None:  # a group has them from __new__
        error.args = state["args"]
    for name, value in state["fields"].items():
        try:
            setattr(error, name, value)
        except (AttributeError, TypeError):  # read-only (of a group: given to __new__ already)
            pass
    error.__dict__.update(state["dict"])
    error.__cause__ = state.get("cause")
    error.__context__ = state.get("context")
    error.__suppress_context__ = state["suppress"]
