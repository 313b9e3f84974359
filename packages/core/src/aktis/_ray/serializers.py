"""What the user has said about pickling, told to Ray: it pickles with a cloudpickle of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import ray

from aktis._serialization import values

Reduce = Callable[[Any], tuple[Any, ...]]


def tell(cls: type, reduce: Reduce | None) -> None:
    """A serializer was registered, or (None) taken away."""
    with contextlib.suppress(AttributeError, KeyError):  # Ray's client has no place for them
        if reduce is None:
            ray.util.deregister_serializer(cls)
        else:
            ray.util.register_serializer(cls, serializer=reduce, deserializer=_rebuild)


def _rebuild(reduced: tuple[Any, ...]) -> Any:
    return reduced[0](*reduced[1])


def begin() -> None:
    """Tell Ray what there is, and what comes."""
    for cls, reduce in values.serializers().items():
        tell(cls, reduce)
    if tell not in values.WATCHERS:
        values.WATCHERS.append(tell)


def end() -> None:
    """The session is over."""
    if tell in values.WATCHERS:
        values.WATCHERS.remove(tell)


def modules_by_value() -> None:
    """Modules that the user has registered with cloudpickle to be sent by value are so with Ray's, too."""
    cloudpickle = sys.modules.get("cloudpickle")
    listed = getattr(cloudpickle, "list_registry_pickle_by_value", None)
    for name in listed() if listed is not None else ():
        if name not in ray.cloudpickle.list_registry_pickle_by_value() and name in sys.modules:
            ray.cloudpickle.register_pickle_by_value(sys.modules[name])
