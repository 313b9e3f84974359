"""What a runtime environment may say: checked, brought into one form, merged, and written canonically.

Pure: no file is read here. Local paths stay paths until :mod:`aktis._runtime_env.upload` resolves them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

FIELDS = (
    "config",
    "env_vars",
    "excludes",
    "pip",
    "preload",
    "py_executable",
    "py_modules",
    "uv",
    "worker_process_setup_hook",
    "working_dir",
)

DEFAULT_SETUP_TIMEOUT = 600

_ELSEWHERE = {
    "conda": "use pip=[...], or start the driver inside the conda environment: workers inherit it",
    "container": "start the whole session inside the container: workers inherit it",
    "image_uri": "start the whole session inside the image: workers inherit it",
    "java_jars": "Aktis runs Python only",
    "nsight": "run the profiler on the driver, or use aktis.timeline() and `aktis stack`",
    "_nsight": "run the profiler on the driver, or use aktis.timeline() and `aktis stack`",
    "rocprof_sys": "run the profiler on the driver, or use aktis.timeline() and `aktis stack`",
}

_MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_VERSION = re.compile(r"[0-9A-Za-z.!+*]+")


def normalize(env: Mapping[str, Any]) -> dict[str, Any]:
    """Check ``env`` and return its normal form: only the fields that say something, each in one shape.

    Raises ValueError or TypeError that names the field, the value and what would be right.
    """
    if not isinstance(env, Mapping):
        raise TypeError(f"runtime_env must be a dict, got {env!r} of type {type(env).__name__}")
    for name in env:
        _check_field(name, env[name])
    given = {name: value for name, value in env.items() if value is not None and value != "" and name in FIELDS}
    if "pip" in given and "uv" in given:
        raise ValueError("runtime_env has both 'pip' and 'uv'; give one of them (either builds the same environment)")
    if "py_executable" in given and ("pip" in given or "uv" in given):
        raise ValueError(
            "runtime_env has both 'py_executable' and packages to install; install them for that interpreter yourself, "
            "or leave py_executable out"
        )
    if "uv" in given:
        given["pip"] = _uv_as_pip(given.pop("uv"))
    result: dict[str, Any] = {}
    for name, value in given.items():
        checked = _CHECKS[name](value)
        if checked not in ({}, []):
            result[name] = checked
    return result


def dumps(env: Mapping[str, Any]) -> str:
    """The canonical text of a resolved normal form; "" when it asks for nothing."""
    essential = {name: value for name, value in env.items() if value not in ({}, [], None)}
    if not essential.keys() - {"config", "excludes"}:
        return ""
    return json.dumps(essential, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def loads(text: str) -> dict[str, Any]:
    """The normal form that a canonical text stands for."""
    if not text:
        return {}
    env = json.loads(text)
    if not isinstance(env, dict):
        raise ValueError(f"a runtime environment's text must be a JSON object, got {text[:200]!r}")
    return env


def merge(parent: str, child: str) -> str:
    """The environment of a call made inside ``parent`` that asks for ``child``, all three as canonical texts.

    ``env_vars`` merge key by key, every other field of the child replaces the parent's.
    """
    if not parent or not child:
        return child or parent
    outer, inner = loads(parent), loads(child)
    merged = {**outer, **inner}
    if "env_vars" in outer and "env_vars" in inner:
        merged["env_vars"] = {**outer["env_vars"], **inner["env_vars"]}
    if "pip" in inner and "py_executable" in outer:
        merged.pop("py_executable")
    elif "py_executable" in inner and "pip" in outer:
        merged.pop("pip")
    return dumps(merged)


def env_hash(text: str) -> str:
    """A short name for an environment: equal texts, equal names. "" for the empty environment."""
    if not text:
        return ""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def setup_timeout(env: Mapping[str, Any]) -> float | None:
    """Seconds that setting the environment up may take; None is without limit."""
    seconds = env.get("config", {}).get("setup_timeout_seconds", DEFAULT_SETUP_TIMEOUT)
    return None if seconds == -1 else float(seconds)


# the fields, one by one -----------------------------------------------------------------------


def _check_field(name: Any, value: Any) -> None:
    if name in FIELDS:
        return
    if name in _ELSEWHERE:
        if value is None:
            return
        raise ValueError(f"runtime_env field {name!r} is not supported; {_ELSEWHERE[name]}")
    close = difflib.get_close_matches(str(name), FIELDS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown runtime_env field {name!r}; valid fields are {', '.join(FIELDS)}{hint}")


def _env_vars(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError(f"runtime_env['env_vars'] must be a dict of str to str, got {value!r}")
    for name, content in value.items():
        if not isinstance(name, str) or not isinstance(content, str):
            raise TypeError(
                f"runtime_env['env_vars'] must map str to str, got {name!r}: {content!r} "
                f"({type(name).__name__} to {type(content).__name__})"
            )
        if not name or "=" in name or "\0" in name or "\0" in content:
            raise ValueError(f"runtime_env['env_vars'] has {name!r}: {content!r}, which no environment can hold")
    return dict(value)


def _path(field: str, value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"runtime_env[{field!r}] must be a path, got {value!r} of type {type(value).__name__}")
    return os.fspath(value)


def _working_dir(value: Any) -> str:
    return _path("working_dir", value)


def _py_modules(value: Any) -> list[Any]:
    if isinstance(value, (str, os.PathLike)) or not isinstance(value, (list, tuple)):
        raise TypeError(f"runtime_env['py_modules'] must be a list of paths or modules, got {value!r}")
    return [item if isinstance(item, ModuleType) else _path("py_modules", item) for item in value]


def _strings(field: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise TypeError(f"runtime_env[{field!r}] must be a list of str, got {value!r}")
    for item in value:
        if not isinstance(item, str):
            raise TypeError(f"runtime_env[{field!r}] must be a list of str, got the item {item!r}")
    return list(value)


def _excludes(value: Any) -> list[str]:
    return _strings("excludes", value)


def _preload(value: Any) -> list[str]:
    names = _strings("preload", value)
    for name in names:
        if not _MODULE_NAME.fullmatch(name):
            raise ValueError(f"runtime_env['preload'] must list importable modules such as 'torch', got {name!r}")
    return list(dict.fromkeys(names))


def _py_executable(value: Any) -> str:
    return _path("py_executable", value)


_PIP_KEYS = ("packages", "pip_check", "pip_install_options", "pip_version")


def _pip(value: Any) -> dict[str, Any]:
    """A list of requirements, a requirements file, or a dict: always the dict; a file stays its path until upload."""
    if isinstance(value, (str, os.PathLike)):
        return {"packages": _path("pip", value)}
    if isinstance(value, (list, tuple)):
        packages = _strings("pip", value)
        return {"packages": packages} if packages else {}
    if not isinstance(value, Mapping):
        raise TypeError(
            "runtime_env['pip'] must be a list of requirements, the path of a requirements file, or a dict with "
            f"'packages', got {value!r}"
        )
    for key in value:
        if key not in _PIP_KEYS and key != "digests":
            raise ValueError(f"unknown key {key!r} in runtime_env['pip']; valid keys are {', '.join(_PIP_KEYS)}")
    if value.get("packages") is None:
        raise ValueError(f"runtime_env['pip'] as a dict must have 'packages', got {dict(value)!r}")
    result = _pip(value["packages"])
    if not result:
        return {}
    if value.get("pip_check"):
        result["pip_check"] = True
    if value.get("pip_install_options"):
        result["pip_install_options"] = _strings("pip", value["pip_install_options"])
    version = value.get("pip_version")
    if version is not None:
        result["pip_version"] = _pip_version(version)
    if "digests" in value:
        result["digests"] = dict(value["digests"])
    return result


def _pip_version(version: Any) -> str:
    """A version ("24.0") or a specifier ("==24.0", ">=23"), as the specifier."""
    match = re.fullmatch(r"\s*(==|>=|<=|~=|!=|<|>)?\s*(\S+)\s*", version) if isinstance(version, str) else None
    if match is None or not _VERSION.fullmatch(match.group(2)):
        raise ValueError(f"runtime_env['pip']['pip_version'] must be like '24.0' or '>=23.1', got {version!r}")
    return f"{match.group(1) or '=='}{match.group(2)}"


_UV_KEYS = ("packages", "uv_check", "uv_pip_install_options", "uv_version")


def _uv_as_pip(value: Any) -> Any:
    """The same packages for pip. The version of uv itself means nothing to us."""
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if key not in _UV_KEYS:
            raise ValueError(f"unknown key {key!r} in runtime_env['uv']; valid keys are {', '.join(_UV_KEYS)}")
    translated = {"packages": value.get("packages"), "pip_check": value.get("uv_check", False)}
    options = [option for option in value.get("uv_pip_install_options") or () if option != "--no-cache"]
    if options:
        translated["pip_install_options"] = options
    return translated


def _setup_hook(value: Any) -> Any:
    """A dotted name, or a callable (shipped by value, see upload)."""
    if isinstance(value, dict) and set(value) == {"pickle"}:  # has been uploaded already
        return value
    if isinstance(value, str):
        if not _MODULE_NAME.fullmatch(value) or "." not in value:
            raise ValueError(
                f"runtime_env['worker_process_setup_hook'] must be a function or 'module.function', got {value!r}"
            )
        return value
    if not callable(value):
        raise TypeError(
            f"runtime_env['worker_process_setup_hook'] must be a function or 'module.function', got {value!r}"
        )
    return value


_CONFIG_KEYS = ("eager_install", "log_files", "setup_timeout_seconds")


def _config(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"runtime_env['config'] must be a dict or RuntimeEnvConfig, got {value!r}")
    for key in value:
        if key not in _CONFIG_KEYS:
            raise ValueError(f"unknown key {key!r} in runtime_env['config']; valid keys are {', '.join(_CONFIG_KEYS)}")
    result: dict[str, Any] = {}
    seconds = value.get("setup_timeout_seconds")
    if seconds is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, int):
            raise TypeError(f"runtime_env['config']['setup_timeout_seconds'] must be an int, got {seconds!r}")
        if seconds <= 0 and seconds != -1:
            raise ValueError(
                f"runtime_env['config']['setup_timeout_seconds'] must be positive, or -1 for no limit, got {seconds}"
            )
        if seconds != DEFAULT_SETUP_TIMEOUT:
            result["setup_timeout_seconds"] = seconds
    eager = value.get("eager_install")
    if eager is not None:
        if not isinstance(eager, bool):
            raise TypeError(f"runtime_env['config']['eager_install'] must be a bool, got {eager!r}")
        if not eager:
            result["eager_install"] = False
    if value.get("log_files"):
        result["log_files"] = _strings("config", value["log_files"])
    return result


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "config": _config,
    "env_vars": _env_vars,
    "excludes": _excludes,
    "pip": _pip,
    "preload": _preload,
    "py_executable": _py_executable,
    "py_modules": _py_modules,
    "worker_process_setup_hook": _setup_hook,
    "working_dir": _working_dir,
}
