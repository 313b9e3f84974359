"""The class that is both AktisTaskError and what the user raised."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

from aktis.exceptions import AktisTaskError

if TYPE_CHECKING:
    from typing import TypeGuard

# The interpreter gives these a meaning of their own: a ``get`` that raised something that is a StopIteration would end
# the loop around it without a word.
_NEVER = (StopIteration, StopAsyncIteration)
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made by Python code


_FIELDS = tuple(vars(AktisTaskError()))


def make_dual(error: AktisTaskError) -> AktisTaskError:
    """An instance of AktisTaskError and of the class of ``error.cause``; ``error`` itself, when that cannot be."""
    cause = error.cause
    if isinstance(error, _Dual) or not isinstance(cause, Exception) or isinstance(cause, _NEVER):
        return error
    try:
        cls: Any = type(cause)
        dual = new_exception(_dual_class(cls), (cause.message, cause.exceptions) if is_group(cause) else ())
        dual.args = cause.args
    except Exception:  # final or odd classes: anything may happen in a metaclass, __init_subclass__ or __new__
        return error
    assert isinstance(dual, AktisTaskError)
    dual.__dict__.update(cause.__dict__)
    dual.__dict__.update(error.__dict__)
    return dual


def new_exception(cls: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    """A bare instance of an exception class; neither ``__init__`` nor a ``__new__`` written in Python is called.

    ``arguments`` are for the built-in ``__new__``. Only groups need them: their state can be given in no other way.
    """
    builtin: Any = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
    instance: BaseException = builtin.__new__(cls, *arguments)
    return instance


def is_group(error: Any) -> TypeGuard[Any]:
    """Whether it is an exception group (Python 3.11 and later)."""
    return any(
        base.__name__ == "BaseExceptionGroup" and not base.__flags__ & _HEAP_TYPE for base in type(error).__mro__
    )


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
        from aktis._serialization.errors import dump_exception

        state = {name: self.__dict__[name] for name in _FIELDS}
        return _restore_dual, (state, dump_exception(state.pop("cause")))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.cause!r})"

    __str__ = AktisTaskError.__str__
    __eq__ = object.__eq__
    __hash__ = object.__hash__


def _restore_dual(state: dict[str, Any], cause: bytes) -> AktisTaskError:
    return make_dual(restore_task_error(AktisTaskError, (), state, cause))


def restore_task_error(
    cls: type[AktisTaskError], args: tuple[Any, ...], state: dict[str, Any], cause: bytes
) -> AktisTaskError:
    """An AktisTaskError (not a dual) from its pickled form."""
    from aktis._serialization.errors import load_exception

    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    error.cause = load_exception(cause)
    return error


@functools.lru_cache(maxsize=256)
def _dual_class(cause_cls: type[Exception]) -> type[Exception]:
    namespace: dict[str, Any] = {"__module__": AktisTaskError.__module__, "__doc__": cause_cls.__doc__}
    for base in reversed(cause_cls.__mro__[:-1]):  # without object
        if base in (BaseException, Exception):
            continue
        for name, value in vars(base).items():
            # Fields that live in the object's memory, not in its __dict__, would be empty in the dual: ask the cause.
            if isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType)) and not name.startswith(
                "__"
            ):
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
