"""What :func:`aktis.init` was given, checked and normalised, in the form that engines get it."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aktis import _config, _options
from aktis._lazy import DISTRIBUTIONS
from aktis.job_config import JobConfig

BEFORE_INIT: list[Callable[[], object]] = []
"""Called when a session is about to be started, before anything is read from the environment."""
WORKER_HOOKS: list[tuple[str, str]] = []
"""``(module, argument)``: every worker of a session started or joined from now on calls ``module.start_worker(argument)`` first."""


MODES = ("native", "inline", "ray")
MINIMUM_STORE = 75 << 20

# Accepted because programs written for Ray give them; nothing in a session depends on them.
_WITHOUT_EFFECT = frozenset(
    {
        "include_dashboard", "dashboard_host", "dashboard_port", "enable_resource_isolation", "cgroup_path",
        "system_reserved_cpu", "system_reserved_memory", "proxy_server_url", "storage",
        "_enable_object_reconstruction", "_redis_username", "_redis_password", "_redis_max_memory",
        "_metrics_export_port", "_system_config", "_tracing_startup_hook", "_node_name", "_node_ip_address",
        "_driver_object_store_memory", "_cluster_id", "_skip_env_hook",
    }
)  # fmt: skip
_MEANINGFUL = frozenset({"_memory", "_temp_dir", "_plasma_directory", "object_spilling_directory"})


@dataclass(frozen=True, slots=True, kw_only=True)
class InitSettings:
    """Everything that an engine needs to start, or to connect. None means: the engine decides."""

    address: str | None = None  # None: start a session of our own
    namespace: str = ""
    num_cpus: int | None = None  # in units of 1/10,000, as every resource here
    num_gpus: int | None = None
    memory: int | None = None  # the logical resource "memory", in units
    resources: dict[str, int] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    object_store_memory: int | None = None  # bytes
    runtime_env: dict[str, Any] = field(default_factory=dict)  # of the job, plain data
    preload: tuple[str, ...] = ()
    log_to_driver: bool = True
    logging_level: int = 20
    logging_config: Any = None
    job_config: JobConfig = field(default_factory=JobConfig)
    temp_dir: str | None = None
    store_dir: str | None = None
    spill_dir: str | None = None
    memory_limit: int | None = None  # bytes that the session's processes may use together
    worker_hooks: tuple[tuple[str, str], ...] = ()  # see WORKER_HOOKS
    left_aside: tuple[str, ...] = ()  # keywords that mean nothing where the session runs


def _amount(name: str, value: Any) -> int | None:
    return None if value is None else _options.units(name, value)


def _namespace(value: Any) -> str:
    if value is None:
        value = _config.read("NAMESPACE")
    if value is None:
        return str(uuid.uuid4())
    if not isinstance(value, str):
        raise TypeError(f"namespace must be a str, got {value!r} ({type(value).__name__})")
    if not value:
        raise ValueError("namespace must not be an empty string: leave it out for an anonymous namespace")
    return value


def _preload(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"preload must be a list of module names, got {value!r}")
    return tuple(value)


def _store_memory(value: Any) -> int | None:
    if value is None:
        value = _config.read("OBJECT_STORE_MEMORY")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"object_store_memory must be a number of bytes, got {value!r}")
    if value < MINIMUM_STORE:
        raise ValueError(f"object_store_memory must be at least {MINIMUM_STORE} bytes (75 MiB), got {value!r}")
    return int(value)


def _address(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"address must be a str, got {value!r} ({type(value).__name__})")
    if value in (None, "", "auto"):
        value = _config.read("ADDRESS") or value
    return None if value in (None, "", "local") else value


def _on_ray(mode: str, stated: Any, address: str | None) -> tuple[str, str | None]:
    """(mode, address): addresses of Ray clusters say by themselves which engine it is."""
    if address is not None and (address == "ray" or address.startswith(("ray://", "ray+"))):
        if stated not in (None, "ray"):
            raise ValueError(f"mode={stated!r} cannot connect to the Ray cluster at address={address!r}")
        return "ray", address
    if mode == "ray":
        if address is not None:
            raise ValueError(
                f"mode='ray' needs the address of a Ray cluster: 'ray', 'ray://host:10001' or 'ray+host:6379', got {address!r}"
            )
        return mode, "ray"
    return mode, address


def _labels(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise TypeError(f"labels must map str to str, got {value!r}")
    return dict(value)


def _job_config(value: Any) -> JobConfig:
    if value is None:
        return JobConfig()
    if isinstance(value, JobConfig):
        return value
    if isinstance(value, Mapping):
        return JobConfig(**dict(value))
    raise TypeError(f"job_config must be a JobConfig or a dict, got {value!r}")


def resolve(given: dict[str, Any], hidden: dict[str, Any]) -> tuple[str, InitSettings]:
    """(mode, settings) from the keywords of ``init``; ``hidden`` are those that its signature does not show."""
    for prepare in tuple(BEFORE_INIT):
        prepare()
    for name in hidden:
        if name not in _WITHOUT_EFFECT and name not in _MEANINGFUL:
            raise RuntimeError(f"unknown keyword argument(s) for init(): {name!r}")
    mode = given["mode"] or _config.read("MODE") or "native"
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    address = _address(given["address"])
    mode, address = _on_ray(mode, given["mode"], address)
    if mode == "inline" and address is not None:
        raise ValueError(f"mode='inline' runs everything in this process and cannot connect to address={address!r}")
    left_aside: tuple[str, ...] = ()
    if address is not None:
        capacity = ("num_cpus", "num_gpus", "resources", "labels", "object_store_memory")
        stated = [name for name in capacity if given[name] is not None]
        if stated and given["address"] in (None, "", "auto"):
            # The same program, elsewhere: it was written for one machine, and the environment has sent it to a cluster.
            left_aside, stated = tuple(stated), []
            given = {**given, **dict.fromkeys(left_aside)}
        if stated or hidden.get("_system_config"):
            what = ", ".join(stated) or "_system_config"
            raise ValueError(
                f"{what}: a session that runs already (address={address!r}) cannot be given new capacities"
            )
    job = _job_config(given["job_config"])
    environment = {**_plain_environment(job.runtime_env), **_plain_environment(given["runtime_env"])}
    cpus = given["num_cpus"] if given["num_cpus"] is not None else _config.read("NUM_CPUS")
    return mode, InitSettings(
        address=address,
        namespace=_namespace(given["namespace"] if given["namespace"] is not None else job.namespace),
        num_cpus=_amount("num_cpus", cpus if address is None else None),
        num_gpus=_amount("num_gpus", given["num_gpus"]),
        memory=_amount("_memory", hidden.get("_memory")),
        resources=_options.custom_resources(given["resources"] or {}),
        labels=_labels(given["labels"]),
        object_store_memory=_store_memory(given["object_store_memory"]),
        runtime_env=environment,
        preload=_preload(given["preload"])
        + _config.read("PRELOAD")
        + _preload(environment.get("preload"))
        + _library_modules()
        + tuple(module for module, _ in WORKER_HOOKS),
        log_to_driver=_config.read("LOG_TO_DRIVER") if given["log_to_driver"] is None else bool(given["log_to_driver"]),
        logging_level=_level(given["logging_level"]),
        logging_config=given["logging_config"],
        job_config=job,
        temp_dir=hidden.get("_temp_dir") or _config.read("TEMP_DIR"),
        store_dir=hidden.get("_plasma_directory") or _config.read("STORE_DIR"),
        spill_dir=hidden.get("object_spilling_directory") or _config.read("SPILL_DIR"),
        memory_limit=_config.read("MEMORY_LIMIT"),
        worker_hooks=tuple(WORKER_HOOKS),
        left_aside=left_aside,
    )


def _library_modules() -> tuple[str, ...]:
    """Modules that workers will need for those of our libraries, and parts of them, that this process has imported already.

    ``__worker_modules__`` of such a module has their names, or is a function that gives them.
    """
    order = list(DISTRIBUTIONS)
    found = []
    for name, module in tuple(sys.modules.items()):
        top, *parts = name.split(".")
        needed = vars(module).get("__worker_modules__") if top == "aktis" and module is not None else None
        if needed and parts and parts[0] in DISTRIBUTIONS:
            found.append((order.index(parts[0]), len(parts), needed() if callable(needed) else needed))
    found.sort(key=lambda each: each[:2])
    return tuple(name for *_, needed in found for name in needed)


def _plain_environment(value: Any) -> dict[str, Any]:
    import json

    canonical = _options._runtime_env(value)
    result: dict[str, Any] = json.loads(canonical) if canonical else {}
    return result


def _level(value: Any) -> int:
    if value is None:
        return logging.INFO
    number = logging.getLevelName(value.upper()) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError(f"logging_level must be a level of the logging module, got {value!r}")
    return number
