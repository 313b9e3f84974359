"""How objects of a class travel: ``register_serializer(cls, serializer=..., deserializer=...)``."""

from __future__ import annotations

from aktis._serialization import deregister_serializer, register_serializer

__all__ = ["deregister_serializer", "register_serializer"]
