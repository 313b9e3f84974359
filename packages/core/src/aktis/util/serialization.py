"""How objects of a class travel: ``register_serializer(cls, serializer=..., deserializer=...)``; and pickles of functions."""

from __future__ import annotations

from typing import Any

from aktis._serialization import deregister_serializer, register_serializer
from aktis._serialization.values import dump_by_value, pickler_class

__all__ = ["deregister_serializer", "dumps_by_value", "pickler_class", "register_serializer"]


def dumps_by_value(value: Any, name: str | None = None) -> bytes:
    """Pickle a value as the function of a task is: what lives in ``__main__``, lambdas and local classes by value.

    It is what ``cloudpickle.dumps`` does, with registered serializers, and with the names of source files in functions, so that
    their tracebacks show lines. ``pickle.loads`` reads it.

    Args:
        value: The value.
        name: What to call it in an error. None: errors are those of the pickler.

    Raises:
        SerializationError: it cannot be pickled, and has a name: with the path to what stands in the way.
    """
    try:
        return dump_by_value(value, None)
    except MemoryError:
        raise
    except Exception as error:
        if name is None:
            raise
        from aktis._serialization.diagnose import explain_failure

        raise explain_failure(value, name, error) from error
