"""The class that is both AktisTaskError and what the user raised."""

from __future__ import annotations

import functools
import types
from typing import Any

from aktis.exceptions import AktisTaskError

# The interpreter gives these a meaning of their own: a ``get`` that raised something that is a StopIteration would end
# the loop around it without a word.
_NEVER = (StopIteration, StopAsyncIteration)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made by Python code


_FIELDS = tuple(vars(AktisTaskError()))


def make_dual(error: AktisTaskError) -> AktisTaskError:
    """An instance of AktisTaskError and of the class of ``error.cause``; ``error`` itself, when that is not possible."""
    cause = error.cause
    if isinstance(error, _Dual) or not isinstance(cause, Exception) or isinstance(cause, _NEVER):
        return error
    try:
        dual = new_exception(_dual_class(type(cause)), cause)
        dual.args = cause.args
    except Exception:  # final or odd classes: anything may happen in a metaclass, __init_subclass__ or __new__
        return error
    assert isinstance(dual, AktisTaskError)
    dual.__dict__.update(cause.__dict__)
    dual.__dict__.update(error.__dict__)
    return dual


def new_exception(cls: type[BaseException], like: BaseException | None = None) -> BaseException:
    """A bare instance of an exception class; neither ``__init__`` nor a ``__new__`` written in Python is called."""
    builtin = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
    # A group is the one built-in exception whose state can only be given to __new__.
    group = hasattr(like, "exceptions") and hasattr(builtin, "derive")
    arguments = (like.message, like.exceptions) if group else ()  # type: ignore[union-attr]
    instance: BaseException = builtin.__new__(cls, *arguments)
    return instance


class _Dual(AktisTaskError):
    """What all dual classes share. Attributes that it does not have are the cause's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Duals are made by make_dual; this keeps ``__init__`` of the user's class from being called."""

    def __getattr__(self, name: str) -> Any:
        cause = self.__dict__.get("cause")
        if cause is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(cause, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_dual, ({name: self.__dict__[name] for name in _FIELDS},)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cause!r})"

    __str__ = AktisTaskError.__str__
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _restore_dual(state: dict[str, Any]) -> AktisTaskError:
    error = AktisTaskError.__new__(AktisTaskError)
    error.__dict__.update(state)
    return make_dual(error)


@functools.lru_cache(maxsize=256)
def _dual_class(cause_cls: type[Exception]) -> type[Exception]:
    namespace: dict[str, Any] = {"__module__": AktisTaskError.__module__, "__doc__": cause_cls.__doc__}
    for base in reversed(cause_cls.__mro__[:-1]):  # without object
        if base in (BaseException, Exception):
            continue
        for name, value in vars(base).items():
            # Fields that live in the object's memory, not in its __dict__, would be empty in the dual: ask the cause.
            if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)) and not name.startswith("__"):
                namespace[name] = _proxy(name)
    name = f"{AktisTaskError.__name__}({cause_cls.__name__})"
    bases: tuple[type, ...] = (_Dual,) if issubclass(_Dual, cause_cls) else (_Dual, cause_cls)
    return types.new_class(name, bases, {}, lambda ns: ns.update(namespace))


def _proxy(name: str) -> property:
    def read(self: Any) -> Any:
        return getattr(self.cause, name)

    def write(self: Any, value: Any) -> None:
        setattr(self.cause, name, value)

    return property(read, write)
