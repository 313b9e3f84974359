"""What users registered by name, in the processes of workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.tune import registry

__all__ = ["EnvCreator"]


class EnvCreator:
    """Makes environments; and where it is unpickled, names are known that are known where it was pickled.

    It is the first thing that a worker gets. The environment's constructor may make others by name, and policies look
    up custom models.

    Args:
        make: ``f(env_context)``.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make

    def __call__(self, env_context: Any) -> Any:
        return self.make(env_context)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (registry.registered(), self.make)

    def __repr__(self) -> str:
        return repr(self.make)


def _arrived(names: dict[str, dict[str, bytes]], make: Callable[[Any], Any]) -> EnvCreator:
    registry.take_over(names)
    return EnvCreator(make)
