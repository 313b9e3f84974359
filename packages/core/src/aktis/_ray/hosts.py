"""Actors: the class that Ray gets for a class of the user, and what handles need to know about it.

Ray makes a :class:`Host` of our own, with one method per method of the user's class, under its name and of its kind (plain,
coroutine, generator); the user's object stays what it is. What handles must know of the methods (``aktis._descriptors``)
travels in the name of one more method: every handle of Ray's lists names, those that are found by an actor's name too.
"""

from __future__ import annotations

import base64
import functools
import inspect
import pickle
import zlib
from collections.abc import Callable
from typing import Any

import ray

from aktis._descriptors import describe, restore_methods
from aktis._engine import ClassDescriptor, MethodDescriptor
from aktis._ray import errors, travel
from aktis.actor import CALL, HIDDEN_METHODS, READY

_CARD = "_aktis_card_"
HIDDEN = {READY: "_aktis_ready", CALL: "_aktis_call"}


class Host:
    """Holds the user's object in a Ray actor."""

    _aktis_class: travel.Shipped

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        shipped = self._aktis_class
        try:
            self._aktis_object = shipped.function(*args, **kwargs)
        except Exception as error:
            raise errors.marked(travel.failure(error, f"{shipped.name}.__init__", **_where())) from None

    def _aktis_failure(self, name: str, error: BaseException) -> travel.Failed:
        instance = self._aktis_object
        try:
            text = repr(instance) if _has_repr(type(instance)) else None
        except Exception:
            text = None
        return travel.failure(error, f"{self._aktis_class.name}.{name}", actor_repr=text, **_where())

    def _aktis_ready(self) -> bool:
        return True

    def _aktis_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(self._aktis_object, *args, **kwargs)
        except errors.EXITS:
            raise
        except Exception as error:
            raise self._aktis_failure("__aktis_call__", error) from None


class AsyncHost(Host):
    """The same for a class with coroutine methods."""

    async def _aktis_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        value = super()._aktis_call(function, *args, **kwargs)
        if not inspect.isawaitable(value):
            return value
        try:
            return await value
        except errors.EXITS:
            raise
        except Exception as error:
            raise self._aktis_failure("__aktis_call__", error) from None


def _has_repr(cls: Any) -> bool:
    return cls.__repr__ is not object.__repr__


def _repr(self: Host) -> str:
    """Ray asks for it, to say whose output it is; of a host without one it uses the name of the class."""
    instance = self.__dict__.get("_aktis_object")
    return object.__repr__(self) if instance is None else repr(instance)


def _where() -> dict[str, Any]:
    return {"actor_id": ray.get_runtime_context().get_actor_id()}


def _plain(name: str) -> Callable[..., Any]:
    def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self._aktis_object, name)(*args, **kwargs)
        except errors.EXITS:
            raise
        except Exception as error:
            raise self._aktis_failure(name, error) from None

    return method


def _coroutine(name: str) -> Callable[..., Any]:
    async def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        try:
            return await getattr(self._aktis_object, name)(*args, **kwargs)
        except errors.EXITS:
            raise
        except Exception as error:
            raise self._aktis_failure(name, error) from None

    return method


def _either(name: str) -> Callable[..., Any]:
    """A plain method of an async actor: it runs on the loop, and what it returns may have to be awaited."""

    async def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        try:
            value = getattr(self._aktis_object, name)(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value
        except errors.EXITS:
            raise
        except Exception as error:
            raise self._aktis_failure(name, error) from None

    return method


def _generator(name: str) -> Callable[..., Any]:
    def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        try:
            for item in getattr(self._aktis_object, name)(*args, **kwargs):
                yield item
                if _is_cancelled():
                    return
        except errors.EXITS:
            raise
        except Exception as error:
            raise self._aktis_failure(name, error) from None

    return method


def _async_generator(name: str) -> Callable[..., Any]:
    async def method(self: Host, *args: Any, **kwargs: Any) -> Any:
        try:
            async for item in getattr(self._aktis_object, name)(*args, **kwargs):
                yield item
        except errors.EXITS:
            raise
        except Exception as error:
            raise self._aktis_failure(name, error) from None

    return method


def _is_cancelled() -> bool:
    try:
        return bool(ray.get_runtime_context().is_canceled())
    except RuntimeError:  # an async actor: its calls get CancelledError
        return False


_KINDS = {
    (False, False): _plain, (False, True): _coroutine, (True, False): _generator, (True, True): _async_generator,
}  # fmt: skip


def host_of(descriptor: ClassDescriptor, shipped: travel.Shipped, card: str) -> type[Host]:
    """The class that Ray gets."""
    namespace: dict[str, Any] = {"_aktis_class": shipped, "__module__": descriptor.cls.__module__,
                                 "__qualname__": descriptor.cls.__qualname__, _CARD + card: _plain("")}  # fmt: skip
    if _has_repr(descriptor.cls):
        namespace["__repr__"] = _repr
    for method in descriptor.methods.values():
        kind = _KINDS[method.is_generator, method.is_coroutine]
        made = (_either if descriptor.is_async and kind is _plain else kind)(method.name)
        made.__name__ = method.name
        made.__qualname__ = f"{descriptor.cls.__qualname__}.{method.name}"
        group = method.defaults.get("concurrency_group")
        namespace[method.name] = ray.method(concurrency_group=group)(made) if group else made
    return type(descriptor.cls.__name__, (AsyncHost if descriptor.is_async else Host,), namespace)


def card(descriptor: ClassDescriptor) -> str:
    """What handles must know of the class, as the end of a name."""
    rows = describe(descriptor.methods)
    data = ray.cloudpickle.dumps((descriptor.name, rows))
    return base64.urlsafe_b64encode(zlib.compress(data, 9)).decode()


@functools.lru_cache(maxsize=1024)
def read_card(text: str) -> tuple[str, dict[str, MethodDescriptor]]:
    """(name of the class, its methods)."""
    name, rows = pickle.loads(zlib.decompress(base64.urlsafe_b64decode(text)))
    return name, restore_methods(rows)


def card_of(actor: Any) -> str:
    """The card of the actor that a handle of Ray's stands for. Raises ValueError when the actor is none of ours."""
    for name in dir(actor):
        if name.startswith(_CARD):
            return name.removeprefix(_CARD)
    raise ValueError(f"{actor!r} was not made by Aktis: use Ray itself to call it")


def name_for_ray(method: MethodDescriptor) -> str:
    return HIDDEN.get(method.name, method.name) if method.name in HIDDEN_METHODS else method.name
