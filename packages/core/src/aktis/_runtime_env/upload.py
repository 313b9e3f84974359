"""The driver's half: local paths become packages, so that the environment's text means the same everywhere."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from aktis._runtime_env import packaging, spec

STORAGE = "runtime_env"  # folder of packages in the session directory

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOCAL_REQUIREMENT = re.compile(r"(\.{0,2}/|~/)|.*\.(whl|zip|tar\.gz|tgz|tar\.bz2)$")


def canonical_json(env: Mapping[str, Any] | None, session_dir: str | os.PathLike[str] | None = None) -> str:
    """Check a runtime environment and return its canonical text, "" when it asks for nothing.

    With ``session_dir``, local directories are packaged there. Without, they stay as absolute paths, and the node
    packages them when it prepares the environment (which works on the driver's own machine only).
    """
    if env is None:
        return ""
    normal = spec.normalize(env)
    storage = Path(session_dir) / STORAGE if session_dir is not None else None
    return spec.dumps(resolve(normal, storage))


def resolve(env: Mapping[str, Any], storage: Path | None) -> dict[str, Any]:
    """A normal form in which nothing depends on this process: its directory, its modules, its functions."""
    result = dict(env)
    excludes = result.pop("excludes", [])
    if storage is None and excludes and ("working_dir" in result or "py_modules" in result):
        result["excludes"] = excludes
    if "working_dir" in result:
        result["working_dir"] = _package("working_dir", result["working_dir"], storage, excludes, as_module=False)
    if "py_modules" in result:
        result["py_modules"] = [
            _package("py_modules", item, storage, excludes, as_module=True) for item in result["py_modules"]
        ]
    if "pip" in result:
        result["pip"] = _resolve_pip(result["pip"])
    hook = result.get("worker_process_setup_hook")
    if callable(hook):
        result["worker_process_setup_hook"] = {"pickle": _pickled_hook(hook)}
    return result


def _package(field: str, item: str | ModuleType, storage: Path | None, excludes: list[str], *, as_module: bool) -> str:
    if isinstance(item, ModuleType):
        path = packaging.module_directory(item)
    elif item.startswith(packaging.SCHEME):
        return item
    elif _REMOTE.match(item):
        raise ValueError(
            f"runtime_env[{field!r}] must be a local path, got {item!r}; download it and give the path of the "
            "directory or archive"
        )
    else:
        path = Path(item).expanduser()
    path = path.absolute()
    if not path.exists():
        raise ValueError(f"runtime_env[{field!r}] names {str(item)!r}, which does not exist (looked for {path})")
    if storage is None:
        return str(path)
    if path.is_dir():
        path = path.resolve() if not as_module else path
        return packaging.store_directory(path, storage, excludes=excludes, prefix=path.name if as_module else "")
    if path.suffix in packaging.ARCHIVES:
        return packaging.store_archive(path, storage)
    if as_module and path.suffix in (".py", ".so"):
        return packaging.store_file(path, storage)
    allowed = "a directory, a .py file, or a .zip or .whl archive" if as_module else "a directory or a .zip archive"
    raise ValueError(f"runtime_env[{field!r}] names {str(path)!r}, which must be {allowed}")


# pip ------------------------------------------------------------------------------------------


def _resolve_pip(pip: Mapping[str, Any]) -> dict[str, Any]:
    """Requirements as absolute lines; what local files they name hold counts for the environment's identity."""
    packages = pip["packages"]
    digests: dict[str, str] = {}
    if isinstance(packages, str):
        lines = _read_requirements(Path(packages).expanduser(), digests, frozenset())
    else:
        lines = [_absolute(line, Path.cwd(), digests) for line in packages]
    result = {**pip, "packages": lines}
    if digests:
        result["digests"] = digests
    return result


def _read_requirements(path: Path, digests: dict[str, str], seen: frozenset[Path]) -> list[str]:
    path = path.absolute()
    if path in seen:
        raise ValueError(f"the requirements file {str(path)!r} includes itself")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"runtime_env['pip'] names the requirements file {str(path)!r}, which cannot be read ({error.strerror}); "
            "give a list, such as ['requests==2.32'], to name packages"
        ) from error
    lines: list[str] = []
    for raw in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        included = re.fullmatch(r"(?:-r|--requirement)(?:\s+|=)(.+)", line)
        if included:
            lines += _read_requirements(path.parent / included.group(1).strip(), digests, seen | {path})
        elif line:
            lines.append(_absolute(line, path.parent, digests))
    return lines


def _absolute(line: str, base: Path, digests: dict[str, str]) -> str:
    """A requirement whose local path, if it has one, no longer depends on the current directory."""
    option = re.fullmatch(r"(-c|--constraint|-e|--editable|-f|--find-links)(?:\s+|=)(.+)", line)
    flag, target = (f"{option.group(1)} ", option.group(2).strip()) if option else ("", line)
    if _REMOTE.match(target) or not (flag or _LOCAL_REQUIREMENT.match(target)):
        return line
    name, bracket, extras = target.partition("[")
    path = (base / Path(name).expanduser()).resolve()
    if not path.exists():
        if flag or name.startswith((".", "/", "~")):
            raise ValueError(f"runtime_env['pip'] has {line!r}, but {path} does not exist")
        return line
    if path.is_file():
        digests[str(path)] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    elif not flag:  # an editable directory is meant to change, and --find-links only says where to look
        digests[str(path)] = packaging.tree_hash(packaging.scan(path))
    return f"{flag}{path}{bracket}{extras}"


def _pickled_hook(hook: Callable[[], Any]) -> str:
    import cloudpickle

    try:
        return base64.b64encode(cloudpickle.dumps(hook)).decode()
    except Exception as error:
        name = getattr(hook, "__qualname__", repr(hook))
        raise ValueError(f"runtime_env['worker_process_setup_hook'] {name} cannot be pickled: {error}") from error
