"""How objects of a class travel: ``register_serializer(cls, serializer=..., deserializer=...)``; and pickles of functions."""

from __future__ import annotations

from typing import Any

from aktis._serialization import deregister_serializer, register_serializer
from aktis._serialization.values import dump_by_value

__all__ = ["deregister_serializer", "dumps_by_value", "register_serializer"]


def dumps_by_value(value: Any) -> bytes:
    """Pickle a value as the function of a task is: what lives in ``__main__``, lambdas and local classes by value.

    It is what ``cloudpickle.dumps`` does, with registered serializers, and with the names of source files in functions, so that
    their tracebacks show lines. ``pickle.loads`` reads it.
    """
    return dump_by_value(value, None)
