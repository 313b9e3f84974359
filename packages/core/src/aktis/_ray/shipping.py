"""What travels to the nodes of the cluster: Aktis itself and the user's modules, as two packages.

Nothing of ours has to be installed there. The packages that this process imports as ``aktis`` (several folders, when they
are installed as several distributions) are put together into one folder ``aktis``, which is kept until one of their files
changes. Ray names packages by their content, so that an unchanged one is uploaded and unpacked once per cluster. The other,
``aktis_shipped``, holds the user's modules:

- the Python sources below the folder of the script, unless ``runtime_env`` names a ``working_dir``;
- what this process has imported from elsewhere, but from neither the interpreter's folders nor an installed package.

Small files that lie in packages (up to 1 MB) travel along, data does not: that is what ``working_dir`` is for.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import site
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aktis
from aktis._files import folder_made_whole, keep_the_other, private_folder
from aktis._ray import environment
from aktis._ray.travel import FALLBACKS, SHIPPED

_logger = logging.getLogger("aktis.ray")

SMALL_FILE = 1 << 20
UNUSED_SECONDS = 7 * 86400
MAX_BYTES = 100 << 20  # Ray keeps packages in the memory of the head node
MAX_VISITED = 20_000  # entries of the script's folder: it is a home directory, or holds data
_LABEL = "README.txt"
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_NEVER = frozenset({"aktis", "ray", "__main__", "__mp_main__"})
_PASSED_ON = ("AKTIS_",)  # variables of this process that mean the same in its workers ...
_NOT_PASSED_ON = frozenset({"AKTIS_ADDRESS", "AKTIS_MODE", "AKTIS_NUM_CPUS", "AKTIS_NAMESPACE", "AKTIS_TEMP_DIR"})


@contextlib.contextmanager
def packaged(given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Ray's runtime environment for a driver whose own is ``given``; its folders are there until the end of the block."""
    env = environment.translate(given)
    with tempfile.TemporaryDirectory(prefix="aktis-ray-") as folder:
        shipped = Path(folder) / SHIPPED
        shipped.mkdir()
        (shipped / _LABEL).write_text(
            "Modules of a program that runs on this cluster with Aktis.\n"
        )  # Ray refuses empty ones
        modules = [item for item in env.get("py_modules", ()) if not _unpack(item, shipped)]
        _gather_user_modules(shipped, with_script="working_dir" not in env)
        variables = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_PASSED_ON) and name not in _NOT_PASSED_ON
        }
        yield {
            **env,
            "py_modules": [str(aktis_folder()), str(shipped), *modules],
            "env_vars": {**variables, **env.get("env_vars", {})},
        }


def aktis_folder() -> Path:
    """All of Aktis in one folder of that name: the one of the last time, when nothing has changed since."""
    home = private_folder(Path(tempfile.gettempdir()) / f"aktis-ray-{os.getuid()}")
    files = _files_of_aktis()
    stamp = hashlib.blake2b(digest_size=12)
    for name, path in files.items():
        status = os.stat(path)
        stamp.update(f"{name}\0{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    kept = home / stamp.hexdigest()
    if not kept.is_dir():
        with folder_made_whole(kept, keep_the_other) as building:  # another process may be faster
            _gather_aktis(files, Path(building) / "aktis")
        _forget_others(home, kept)
    os.utime(kept)
    return kept / "aktis"


def _files_of_aktis() -> dict[str, str]:
    """Name in the folder to path here."""
    found: dict[str, str] = {}
    for folder in filter(_is_portion, aktis.__path__):
        for where, names, files in os.walk(folder):
            names[:] = sorted(name for name in names if name not in (*_SKIPPED, FALLBACKS))
            below = os.path.relpath(where, folder)
            for name in sorted(files):
                if not name.endswith(".pyc"):
                    found.setdefault(os.path.normpath(os.path.join(below, name)), os.path.join(where, name))
    return found


def _gather_aktis(files: dict[str, str], top: Path) -> None:
    made: set[str] = set()
    for name, path in files.items():
        folder = os.path.dirname(name)
        if folder not in made:
            (top / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        shutil.copyfile(path, top / name)
    _gather_fallbacks(top / FALLBACKS)


def _forget_others(home: Path, kept: Path) -> None:
    """Remove what nobody has used for a week."""
    for other in home.iterdir():
        with contextlib.suppress(OSError):
            if other != kept and time.time() - other.stat().st_mtime > UNUSED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)


def _is_portion(folder: str) -> bool:
    """Whether it is a part of the package. Beside a script in /tmp, the folder of sessions has the name of one."""
    return any(Path(folder).glob("__init__.py")) or any(Path(folder).glob("*/__init__.py"))


def _take(path: str, to: Path) -> None:
    if to.exists() or not os.path.isfile(path):
        return
    try:
        os.link(os.path.realpath(path), to)  # the folder lives for a second: no need of a second copy
    except OSError:
        shutil.copy2(path, to)


def _unpack(item: str, shipped: Path) -> bool:
    """Whether it is an archive of modules, which Ray does not take: its content travels with the others."""
    if not item.endswith(".zip") or "://" in item:
        return False
    with zipfile.ZipFile(item) as archive:
        archive.extractall(shipped)
    return True


def _gather_fallbacks(to: Path) -> None:
    """What Aktis needs in a worker and Ray does not install: cloudpickle, for nodes that do not have it."""
    import cloudpickle

    to.mkdir()
    _copy_package(os.path.dirname(cloudpickle.__file__), to / "cloudpickle", _Budget())


# the user's modules ---------------------------------------------------------------------------


class _Budget:
    """How much has been gathered."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def add(self, path: str) -> None:
        self.sizes[path] = os.path.getsize(path)
        if sum(self.sizes.values()) > MAX_BYTES:
            largest = sorted(self.sizes.items(), key=lambda item: -item[1])[:5]
            listed = ", ".join(f"{path} ({size / 1e6:.1f} MB)" for path, size in largest)
            raise ValueError(
                f"the program's modules are more than {MAX_BYTES >> 20} MiB, too much to travel to the cluster by "
                f"themselves. The largest files: {listed}. Say what is needed with runtime_env={{'working_dir': ..., "
                "'excludes': [...]}, or install the modules on the nodes"
            )


def _gather_user_modules(shipped: Path, with_script: bool) -> None:
    budget = _Budget()
    script = script_folder() if with_script else None
    if script is not None:
        _gather_sources(script, shipped, budget)
    for name, path in sorted(_loaded_modules().items()):
        if script is not None and Path(path).is_relative_to(script):
            continue
        if os.path.isdir(path):
            _copy_package(path, shipped / name, budget)
        else:
            budget.add(path)
            _take(path, shipped / os.path.basename(path))


def script_folder() -> Path | None:
    """Where the program's own modules lie; None when it is a program of an installed package, such as pytest."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = Path(path).resolve().parent if path else Path.cwd()
    return None if _is_installed(str(folder)) or not sys.path or folder == Path(folder.anchor) else folder


def _gather_sources(folder: Path, to: Path, budget: _Budget) -> None:
    found: list[str] = []
    visited = 0
    for where, names, files in os.walk(folder):
        names[:] = [
            name
            for name in names
            if not name.startswith(".")
            and name not in _SKIPPED
            and not os.path.exists(os.path.join(where, name, "pyvenv.cfg"))
        ]
        visited += len(names) + len(files)
        if visited > MAX_VISITED:
            _logger.warning(
                "%s has more than %d files: of the modules in it, only those travel to the cluster that lie directly in "
                "it. Say what is needed with runtime_env={'working_dir': ..., 'excludes': [...]}.",
                folder,
                MAX_VISITED,
            )
            found = [str(path) for path in folder.glob("*.py")]
            break
        package = "__init__.py" in files
        found += [os.path.join(where, name) for name in files if _belongs(os.path.join(where, name), package)]
    for path in found:
        target = to / os.path.relpath(path, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        budget.add(path)
        _take(path, target)


def _belongs(path: str, in_package: bool) -> bool:
    if path.endswith(".py"):
        return True
    return in_package and not path.endswith(".pyc") and os.path.isfile(path) and os.path.getsize(path) <= SMALL_FILE


def _copy_package(folder: str, to: Path, budget: _Budget) -> None:
    for where, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in _SKIPPED and not name.startswith(".")]
        kept = [name for name in files if _belongs(os.path.join(where, name), True)]
        target = to / os.path.relpath(where, folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in kept:
            budget.add(os.path.join(where, name))
            _take(os.path.join(where, name), target / name)


def _loaded_modules() -> dict[str, str]:
    """Top-level modules that this process has imported from the user's folders: name to file or folder."""
    found: dict[str, str] = {}
    for name, module in tuple(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if "." in name or name in _NEVER or not isinstance(path, str) or not os.path.isabs(path):
            continue
        if not path.endswith(".py") or not os.path.exists(path) or _is_installed(path):
            continue
        found[name] = os.path.dirname(path) if os.path.basename(path) == "__init__.py" else path
    return found


def _is_installed(path: str) -> bool:
    parts = Path(path).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    real = os.path.realpath(path)
    homes = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), site.getuserbase()}
    return any(real == home or real.startswith(os.path.realpath(home) + os.sep) for home in homes if home != os.sep)
