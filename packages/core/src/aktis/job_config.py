"""Settings of one driver's job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class JobConfig:
    """What :func:`aktis.init` may be told about the job as ``job_config=``: an object, or the same as a dict."""

    def __init__(
        self,
        jvm_options: list[str] | None = None,
        code_search_path: list[str] | None = None,
        runtime_env: dict[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        ray_namespace: str | None = None,
        default_actor_lifetime: str = "non_detached",
        namespace: str | None = None,
        **ignored: Any,
    ) -> None:
        if default_actor_lifetime not in ("non_detached", "detached"):
            raise ValueError(
                f"default_actor_lifetime must be 'non_detached' or 'detached', got {default_actor_lifetime!r}"
            )
        self.code_search_path = list(code_search_path or [])
        self.runtime_env = dict(runtime_env or {})
        self.namespace = namespace if namespace is not None else ray_namespace
        self.default_actor_lifetime = default_actor_lifetime
        self.metadata: dict[str, str] = {}
        for key, value in dict(metadata or {}).items():
            self.set_metadata(key, value)

    def set_metadata(self, key: str, value: str) -> None:
        """Note something about the job, for people who list jobs."""
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"job metadata must map str to str, got {key!r}: {value!r}")
        self.metadata[key] = value

    def set_runtime_env(self, runtime_env: Mapping[str, Any] | None, validate: bool = False) -> None:
        """Set the runtime environment of calls that have none of their own."""
        self.runtime_env = dict(runtime_env or {})

    def set_ray_namespace(self, namespace: str) -> None:
        """Set the namespace in which names of actors are looked up."""
        self.namespace = namespace

    def set_default_actor_lifetime(self, lifetime: str) -> None:
        """Set what actors live for that do not say: "non_detached" or "detached"."""
        if lifetime not in ("non_detached", "detached"):
            raise ValueError(f"lifetime must be 'non_detached' or 'detached', got {lifetime!r}")
        self.default_actor_lifetime = lifetime

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JobConfig:
        """A configuration of its fields, as a mapping."""
        return cls(**dict(value))
