"""Virtual environments for ``runtime_env={"pip": [...]}``, cached between sessions.

``<cache>/<hash>`` is an environment, ``<hash>.log`` what pip said, ``<hash>.lock`` its lock. Guarantees:

- An environment with the marker file is whole. The marker is written last, under the exclusive lock; who
  finds no marker under that lock removes the rest of a broken build and builds anew.
- Who uses an environment holds its lock shared for as long as it lives, so that the cache never evicts it.
  Locks are the kernel's (``flock``): a killed process lets go by itself.
- pip and everything it starts die with the process that wanted it (see guard.py).

The environment sees the packages of the interpreter that asked for it, behind its own: a ``.pth`` file adds
that interpreter's site directories, so that a driver inside a virtual environment finds its packages again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import site
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aktis import _config
from aktis._files import write_whole

MARKER = ".aktis-complete"

_FORMAT = 1  # part of the hash: grows when environments are built differently
_TAIL_LINES = 15
_LOCK_POLL = 0.05  # seconds; flock has no timeout of its own


class BuildError(Exception):
    """Why an environment could not be built."""


def default_cache() -> Path:
    """Where environments are kept between sessions."""
    chosen = _config.read("ENV_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "aktis" / "envs"


@dataclass(slots=True)
class PipEnvironment:
    """A finished environment; in use, and safe from eviction, until closed."""

    path: Path
    _lock: int

    @property
    def python(self) -> str:
        return str(self.path / "bin" / "python")

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@dataclass(slots=True, eq=False)
class Builder:
    """Builds and finds environments. ``cancel`` may be called from another thread; everything else from one."""

    cache: Path = field(default_factory=default_cache)
    limit: int = field(default_factory=lambda: int(_config.read("ENV_CACHE_BYTES")))
    _running: subprocess.Popen[bytes] | None = None
    _cancelled: bool = False

    def get(self, pip: Mapping[str, Any], timeout: float | None) -> PipEnvironment:
        """The environment with these packages, built when it is not in the cache. Raises BuildError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        name = environment_name(pip)
        path = self.cache / name
        self.cache.mkdir(parents=True, exist_ok=True)
        while True:
            lock = os.open(self.cache / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if not (path / MARKER).exists():
                    self._acquire(lock, fcntl.LOCK_EX, deadline, name)
                    if not (path / MARKER).exists():
                        self._build(path, pip, deadline)
                self._acquire(lock, fcntl.LOCK_SH, deadline, name)
                if (path / MARKER).exists():  # not evicted between the two locks
                    os.utime(path / MARKER)
                    return PipEnvironment(path, lock)
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)

    def cancel(self) -> None:
        """End a build in progress: ``get`` raises BuildError."""
        self._cancelled = True
        running = self._running
        if running is not None:
            _kill(running)

    def _acquire(self, lock: int, kind: int, deadline: float | None, name: str) -> None:
        while True:
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if self._cancelled:
                    raise BuildError("the session ended before another process finished this environment") from None
                if deadline is not None and time.monotonic() > deadline:
                    raise BuildError(
                        "another process was still building this environment after setup_timeout_seconds; "
                        f"its log is {self.cache / (name + '.log')}"
                    ) from None
                time.sleep(_LOCK_POLL)

    # building, under the exclusive lock -------------------------------------------------------

    def _build(self, path: Path, pip: Mapping[str, Any], deadline: float | None) -> None:
        self._make_room()
        shutil.rmtree(path, ignore_errors=True)  # what a killed build left
        log_path = path.with_suffix(".log")
        try:
            with open(log_path, "wb") as log:
                self._create(path, log, deadline)
                self._install(path, pip, log, deadline)
            marker = {"packages": pip["packages"], "bytes": _disk_usage(path), "inherits": inherited_directories()}
            write_whole(path / MARKER, json.dumps(marker))
        except BuildError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise BuildError(f"{error}{_tail(log_path)}") from None
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise

    def _create(self, path: Path, log: Any, deadline: float | None) -> None:
        self._run([sys.executable, "-m", "venv", "--without-pip", str(path)], "creating the environment", log, deadline)
        packages = next((path / "lib").glob("python*/site-packages"))
        lines = [f"import site; site.addsitedir({directory!r})" for directory in inherited_directories()]
        # the name makes it the last .pth file, so that the environment's own packages come first
        (packages / "zz_aktis_inherited.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _install(self, path: Path, pip: Mapping[str, Any], log: Any, deadline: float | None) -> None:
        python = str(path / "bin" / "python")
        version = pip.get("pip_version")
        if not self._sees_pip(python):
            self._run([python, "-m", "ensurepip", "--default-pip"], "installing pip", log, deadline)
        base = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        if version:
            self._run([*base, "install", f"pip{version}"], f"installing pip{version}", log, deadline)
        requirements = path / "requirements.txt"
        requirements.write_text("\n".join(pip["packages"]) + "\n", encoding="utf-8")
        options = pip.get("pip_install_options", [])
        self._run([*base, "install", *options, "-r", str(requirements)], "pip install", log, deadline)
        if pip.get("pip_check"):
            self._run([*base, "check"], "pip check", log, deadline)

    @staticmethod
    def _sees_pip(python: str) -> bool:
        probe = [python, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is None)"]
        return subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0

    def _run(self, command: Sequence[str], what: str, log: Any, deadline: float | None) -> None:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        guarded = [sys.executable, "-S", "-E", str(Path(__file__).with_name("guard.py")), *command]
        environment = {**os.environ, "PYTHONNOUSERSITE": "1", "PIP_USER": "0"}
        process = subprocess.Popen(
            guarded, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        self._running = process
        try:
            if self._cancelled:
                raise BuildError("the session ended while the environment was being built")
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            code = process.wait(remaining)
        except subprocess.TimeoutExpired:
            raise BuildError(
                f"{what} did not finish within setup_timeout_seconds "
                "(runtime_env={'config': {'setup_timeout_seconds': ...}} raises the limit)"
            ) from None
        finally:
            _kill(process)
            self._running = None
        if self._cancelled:
            raise BuildError("the session ended while the environment was being built")
        if code != 0:
            raise BuildError(f"{what} failed with exit code {code}")

    def _make_room(self) -> None:
        """Evict the environments that were not used for longest until the rest fits the limit."""
        found: list[tuple[float, int, Path]] = []
        for marker in self.cache.glob(f"*/{MARKER}"):
            try:
                size = int(json.loads(marker.read_text(encoding="utf-8"))["bytes"])
                found.append((marker.stat().st_mtime, size, marker.parent))
            except (OSError, ValueError, KeyError):
                continue  # evicted by somebody else at this moment
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit:
                return
            if _evict(path):
                total -= size


def environment_name(pip: Mapping[str, Any]) -> str:
    """Names an environment: the same for the same requirements on the same interpreter."""
    identity = {
        "format": _FORMAT,
        "pip": {key: pip[key] for key in sorted(pip)},
        "python": [sys.version_info[:3], sys.implementation.name, sys.prefix, sys.base_prefix],
        "inherits": inherited_directories(),
    }
    text = json.dumps(identity, sort_keys=True)
    return f"pip-{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}"


def inherited_directories() -> list[str]:
    """The site directories of this interpreter, and the one that aktis was imported from."""
    directories = site.getsitepackages()
    if site.ENABLE_USER_SITE and site.getusersitepackages():
        directories.append(site.getusersitepackages())
    directories.append(str(Path(__file__).resolve().parents[2]))
    return [directory for directory in dict.fromkeys(directories) if os.path.isdir(directory)]


def _evict(path: Path) -> bool:
    with _try_exclusive(path.with_name(path.name + ".lock")) as free:
        if not free:
            return False
        (path / MARKER).unlink(missing_ok=True)  # first: from here on it counts as broken
        shutil.rmtree(path, ignore_errors=True)
        return True


@contextmanager
def _try_exclusive(lock_path: Path) -> Iterator[bool]:
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the guard and its whole process group, and collect it. Safe to call twice, and from two threads."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


def _disk_usage(path: Path) -> int:
    total = 0
    for directory, _, files in os.walk(path):
        for name in files:
            total += os.lstat(os.path.join(directory, name)).st_size
    return total


def _tail(log_path: Path) -> str:
    """The last lines of a log, as the end of a message."""
    try:
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    shown = [line for line in lines if line.strip()][-_TAIL_LINES:]
    return f". The last lines of its log ({log_path}):\n" + "\n".join(f"  {line}" for line in shown)
