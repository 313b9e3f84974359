"""How the node has runtime environments prepared, without waiting for it.

``aktis._runtime_env.EnvManager`` does it in general. What needs no files and no installation (environment variables, modules to
preload) is answered here, so that the node imports that machinery only when somebody uses it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

SIMPLE = frozenset({"env_vars", "preload", "config"})
"""Fields of a runtime environment that are ready at once."""


class Prepared(Protocol):
    """What a zygote or worker of an environment is started with (``aktis._runtime_env.PreparedEnv``)."""

    @property
    def python_executable(self) -> str | None: ...
    @property
    def env_vars(self) -> dict[str, str]: ...
    @property
    def preload(self) -> tuple[str, ...]: ...


class Environments(Protocol):
    """Prepares environments in the background; ``fileno`` becomes readable when ``poll`` has something to tell.

    ``acquire`` and ``release`` say that a worker of an environment lives: files in use are not removed.
    """

    def start(self, env_json: str) -> None: ...
    def poll(self) -> list[tuple[str, Any]]: ...
    def fileno(self) -> int: ...
    def acquire(self, env_json: str) -> None: ...
    def release(self, env_json: str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SimpleEnv:
    """An environment that consists of variables and modules to preload."""

    env_vars: dict[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    python_executable: str | None = None


def simple(env_json: str) -> SimpleEnv | None:
    """The environment if it needs no preparation, else None."""
    if not env_json:
        return SimpleEnv()
    fields = json.loads(env_json)
    if not isinstance(fields, dict) or fields.keys() - SIMPLE:
        return None
    env_vars = {str(name): str(value) for name, value in (fields.get("env_vars") or {}).items()}
    if any("${" in value for value in env_vars.values()):
        return None
    return SimpleEnv(env_vars, tuple(fields.get("preload") or ()))
