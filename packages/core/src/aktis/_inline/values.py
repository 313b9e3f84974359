"""Values as the inline engine keeps them: frozen, so that nobody shares state by accident.

A value goes through the same pickling as between processes: a copy arrives, arrays arrive read-only, and what
another process could not get raises the same error here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis import _session
from aktis._serialization import note_reference, pack, pack_exception, unpack, unpack_exception
from aktis.exceptions import AktisSystemError
from aktis.object_ref import ObjectRef, call_all, resolve_stand_ins

if TYPE_CHECKING:
    from aktis._inline.calls import Call
    from aktis._inline.engine import InlineEngine

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})


class Value:
    """An immutable value: what was pickled, and the references (and holds of actors) that keep its insides alive."""

    __slots__ = ("atom", "buffers", "data", "refs", "size")

    def __init__(self, value: Any, name: str) -> None:
        self.data: bytes | None = None
        self.refs: list[Any] = []
        if type(value) in _ATOMS:
            self.atom = value
            self.size = len(value) if isinstance(value, (str, bytes)) else 8
            return
        packed = pack(value, name)
        self.data = bytes(packed.data)
        self.buffers = [bytes(buffer.raw()) for buffer in packed.buffers]
        self.refs = packed.refs
        self.size = packed.nbytes

    def thaw(self) -> Any:
        return self.atom if self.data is None else unpack(self.data, self.buffers)


class Failure:
    """An exception instead of a value."""

    __slots__ = ("data", "size", "text")

    def __init__(self, error: BaseException, function_name: str | None = None, **where: Any) -> None:
        self.data = pack_exception(error, function_name, **where)
        self.size = len(self.data)
        self.text = f"{type(error).__name__}: {error}"

    def thaw(self) -> Any:
        raise unpack_exception(self.data)

    def error(self) -> Exception:
        return unpack_exception(self.data)


class InlineRef(ObjectRef[Any]):
    """A reference whose value, once it is there, hangs on the reference itself."""

    __slots__ = ("_binary", "_call", "_callbacks", "_engine", "_payload")

    def __init__(self, engine: InlineEngine, binary: bytes, call: Call | None, payload: Value | Failure | None) -> None:
        self._engine = engine
        self._binary = binary
        self._call = call
        self._payload = payload
        self._callbacks: list[Callable[[], None]] = []
        engine.refs[binary] = self

    def binary(self) -> bytes:
        return self._binary

    @property
    def ready(self) -> bool:
        return self._payload is not None

    def settle(self, payload: Value | Failure) -> None:
        """The value is there. What others wait for it is told, in the order in which they asked."""
        with _settling:
            if self._payload is not None:
                return
            self._payload = payload
            callbacks, self._callbacks = self._callbacks, []
        call_all(callbacks)

    def when_ready(self, callback: Callable[[], None]) -> bool:
        """Have ``callback`` called when the value is there; False (and no call) when it is there already."""
        with _settling:
            if self._payload is not None:
                return False
            self._callbacks.append(callback)
            return True

    def __reduce__(self) -> Any:
        note_reference(self)
        return _find, (self._engine.session_name, self._binary)


_settling = threading.Lock()  # held for a few assignments only; nothing is called under it


def _find(session_name: str, binary: bytes) -> InlineRef:
    engine: Any = _session.current
    if engine is None or getattr(engine, "session_name", None) != session_name:
        raise AktisSystemError(f"object {binary.hex()} belongs to a session that was shut down")
    ref: InlineRef | None = engine.refs.get(binary)
    if ref is None:
        raise AktisSystemError(f"object {binary.hex()} is gone: every reference to it was dropped")
    return ref


class Arguments:
    """Arguments of one call: frozen at submit; references at the top level are replaced by values when it runs."""

    __slots__ = ("_keywords", "_positional", "refs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> None:
        self.refs: list[InlineRef] = []
        args, kwargs = resolve_stand_ins(args, kwargs)
        self._positional = [self._freeze(value, f"argument {index} of {name}") for index, value in enumerate(args)]
        self._keywords = {key: self._freeze(value, key) for key, value in kwargs.items()}

    def _freeze(self, value: Any, name: str) -> Value | InlineRef:
        if isinstance(value, InlineRef):
            self.refs.append(value)
            return value
        if isinstance(value, ObjectRef):
            raise AktisSystemError(f"{value!r} belongs to another session")
        return Value(value, name)

    def failed(self) -> Failure | None:
        """The failure of the first argument that has none but a failure."""
        for ref in self.refs:
            if isinstance(ref._payload, Failure):
                return ref._payload
        return None

    def thaw(self) -> tuple[list[Any], dict[str, Any]]:
        positional = [_thaw(item) for item in self._positional]
        return positional, {key: _thaw(item) for key, item in self._keywords.items()}


def _thaw(item: Value | InlineRef) -> Any:
    if isinstance(item, Value):
        return item.thaw()
    payload = item._payload
    assert payload is not None, "a call ran before its arguments were there"
    return payload.thaw()
