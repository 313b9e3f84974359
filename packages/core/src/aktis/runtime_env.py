"""Runtime environments: what workers need around your code.

>>> env = RuntimeEnv(env_vars={"STAGE": "test"}, working_dir=".")
>>> env["env_vars"]
{'STAGE': 'test'}

A plain dict with the same keys does as well wherever a runtime environment is asked for; the class checks early.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from aktis._runtime_env import spec

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]


class RuntimeEnvConfig(dict[str, Any]):
    """How an environment is set up.

    ``setup_timeout_seconds``: limit for setting it up, -1 is none. ``eager_install``: set it up when the job
    starts, not when the first worker needs it. ``log_files``: accepted for compatibility.
    """

    known_fields = frozenset({"setup_timeout_seconds", "eager_install", "log_files"})

    def __init__(
        self,
        setup_timeout_seconds: int = spec.DEFAULT_SETUP_TIMEOUT,
        eager_install: bool = True,
        log_files: list[str] | None = None,
    ) -> None:
        super().__init__(setup_timeout_seconds=setup_timeout_seconds, eager_install=eager_install)
        self["log_files"] = list(log_files or [])
        spec.normalize({"config": self})

    @classmethod
    def default_config(cls) -> RuntimeEnvConfig:
        """The configuration of environments that have none."""
        return cls()

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> RuntimeEnvConfig:
        """A configuration of its fields."""
        spec.normalize({"config": config})
        return cls(**config)

    def to_dict(self) -> dict[str, Any]:
        """Its fields, as they are written."""
        return dict(self)


class RuntimeEnv(dict[str, Any]):
    """A runtime environment, checked when it is made.

    ``env_vars``: environment variables; ``${NAME}`` in a value stands for the worker's own.
    ``working_dir``: a directory or .zip, copied for the workers, who start there and can import from it.
    ``py_modules``: packages to import: directories, .py files, .whl and .zip archives, or imported modules.
    ``pip``, ``uv``: packages to install in a cached environment: a list, a requirements file, or a dict.
    ``preload``: modules imported once per environment; workers start with them loaded, and share their memory.
    ``excludes``: what ``working_dir`` and ``py_modules`` leave out, in .gitignore syntax.
    ``py_executable``: another interpreter for the workers. ``worker_process_setup_hook``: called when a worker starts.
    ``config``: a :class:`RuntimeEnvConfig` or dict.
    """

    def __init__(
        self,
        *,
        py_modules: Sequence[str | ModuleType] | None = None,
        py_executable: str | None = None,
        working_dir: str | None = None,
        pip: str | Sequence[str] | Mapping[str, Any] | None = None,
        uv: str | Sequence[str] | Mapping[str, Any] | None = None,
        env_vars: Mapping[str, str] | None = None,
        preload: Sequence[str] | None = None,
        excludes: Sequence[str] | None = None,
        worker_process_setup_hook: Callable[[], Any] | str | None = None,
        config: Mapping[str, Any] | RuntimeEnvConfig | None = None,
        _validate: bool = True,
        **kwargs: Any,
    ) -> None:
        given = {
            "py_modules": py_modules,
            "py_executable": py_executable,
            "working_dir": working_dir,
            "pip": pip,
            "uv": uv,
            "env_vars": env_vars,
            "preload": preload,
            "excludes": excludes,
            "worker_process_setup_hook": worker_process_setup_hook,
            "config": config,
            **kwargs,
        }
        super().__init__({name: value for name, value in given.items() if value is not None})
        if _validate:
            spec.normalize(self)

    def set(self, name: str, value: Any) -> None:
        """Set a field, checked."""
        spec.normalize({**self, name: value})
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        spec.normalize({**self, name: value})
        super().__setitem__(name, value)

    def to_dict(self) -> dict[str, Any]:
        """A plain dict with the same content."""
        return {name: value.to_dict() if isinstance(value, RuntimeEnvConfig) else value for name, value in self.items()}

    def serialize(self) -> str:
        """The environment as JSON. Fields that hold objects (modules, functions) cannot be written."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def deserialize(cls, text: str) -> RuntimeEnv:
        """An environment of what :meth:`serialize` has made."""
        return cls(**json.loads(text))

    def __reduce__(self) -> Any:
        return _rebuild, (self.to_dict(),)

    # the fields, as methods
    def working_dir(self) -> str:
        """The field; "" where there is none."""
        return str(self.get("working_dir", ""))

    def py_modules(self) -> list[Any]:
        """The field; [] where there is none."""
        return list(self.get("py_modules", ()))

    def py_executable(self) -> str | None:
        """The field; None where there is none."""
        return self.get("py_executable")

    def env_vars(self) -> dict[str, str]:
        """The field; {} where there is none."""
        return dict(self.get("env_vars", {}))

    def has_working_dir(self) -> bool:
        """Whether the field says something."""
        return bool(self.get("working_dir"))

    def has_py_modules(self) -> bool:
        """Whether the field says something."""
        return bool(self.get("py_modules"))

    def has_pip(self) -> bool:
        """Whether the field says something."""
        return bool(self.get("pip"))

    def has_uv(self) -> bool:
        """Whether the field says something."""
        return bool(self.get("uv"))

    def pip_config(self) -> dict[str, Any]:
        """What is to be installed, as ``{"packages": [...], ...}``; {} when nothing."""
        return dict(spec.normalize(self).get("pip", {}))


def _rebuild(fields: dict[str, Any]) -> RuntimeEnv:
    return RuntimeEnv(_validate=False, **fields)
