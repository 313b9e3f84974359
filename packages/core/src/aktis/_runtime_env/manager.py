"""The node's half: prepares environments, and knows which of them are in use.

The node daemon has one thread and must not wait for pip. It calls ``start`` and finds the outcome with ``poll``
when ``fileno`` becomes readable. What needs no build is ready as soon as ``start`` returns; each other
environment is built by a daemon thread of its own, at most two at a time. The threads share nothing but the list of
outcomes, guarded by one lock, and a pipe that wakes the daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis import _config
from aktis._runtime_env import packaging, pip, spec, upload
from aktis._runtime_env.prepared import PreparedEnv

if TYPE_CHECKING:
    from aktis.exceptions import RuntimeEnvSetupError

_BUILDS_AT_ONCE = 2


Outcome = tuple[str, "PreparedEnv | RuntimeEnvSetupError"]


class EnvManager:
    """Environments of one session. Methods belong to one thread, except that ``prepare`` may be called from any."""

    def __init__(self, session_dir: str | os.PathLike[str]) -> None:
        self.storage = Path(session_dir) / upload.STORAGE
        self._ready: dict[str, PreparedEnv] = {}
        self._held: dict[str, list[pip.PipEnvironment]] = {}
        self._uses: dict[str, int] = {}
        self._building: set[str] = set()
        self._builders: set[pip.Builder] = set()
        self._outcomes: list[Outcome] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_BUILDS_AT_ONCE)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._closed = False

    # waiting ----------------------------------------------------------------------------------

    def prepare(self, env_json: str) -> PreparedEnv:
        """Set the environment up now. Raises RuntimeEnvSetupError with the reason."""
        with self._lock:
            ready = self._ready.get(env_json)
        if ready is None:
            ready = self._prepare(env_json)
        return ready

    # not waiting ------------------------------------------------------------------------------

    def start(self, env_json: str) -> None:
        """Begin to set the environment up; ``poll`` will report it. A second call meanwhile changes nothing."""
        if env_json in self._building:
            return
        self._building.add(env_json)
        if env_json in self._ready or not _needs_build(env_json):
            self._finish(env_json)
        else:
            thread = threading.Thread(target=self._build, args=(env_json,), name="aktis-runtime-env", daemon=True)
            thread.start()

    def poll(self) -> list[Outcome]:
        """What finished since the last call."""
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
        self._building.difference_update(env_json for env_json, _ in outcomes)
        return outcomes

    def fileno(self) -> int:
        """Readable when ``poll`` has something to report."""
        return self._wake_read

    def _build(self, env_json: str) -> None:
        with self._slots:
            self._finish(env_json)

    def _finish(self, env_json: str) -> None:
        from aktis.exceptions import RuntimeEnvSetupError

        outcome: PreparedEnv | RuntimeEnvSetupError
        try:
            outcome = self.prepare(env_json)
        except RuntimeEnvSetupError as error:
            outcome = error
        except Exception as error:  # a defect of ours must not leave the caller waiting
            outcome = RuntimeEnvSetupError(
                f"setting up the runtime environment failed: {type(error).__name__}: {error}"
            )
        with self._lock:
            self._outcomes.append((env_json, outcome))
            if not self._closed:
                try:
                    os.write(self._wake_write, b"x")
                except BlockingIOError:
                    pass  # the pipe is full of wake-ups

    # use --------------------------------------------------------------------------------------

    def acquire(self, env_json: str) -> None:
        """Somebody (a job, a zygote) depends on this environment from now on."""
        self._uses[env_json] = self._uses.get(env_json, 0) + 1

    def release(self, env_json: str) -> None:
        """The counterpart of ``acquire``. What nobody uses may be removed, once it takes too much room."""
        left = self._uses.get(env_json, 0) - 1
        if left > 0:
            self._uses[env_json] = left
            return
        self._uses.pop(env_json, None)
        self._make_room()

    def _make_room(self) -> None:
        """Forget unused environments, oldest first, until the packages of the session fit their limit."""
        limit = int(_config.read("PACKAGE_STORAGE_BYTES"))
        sizes = {path.name: _size(path) for path in self.storage.glob("[0-9a-f]*")} if self.storage.is_dir() else {}
        total = sum(sizes.values())
        if total <= limit:
            return
        used = {name for env_json in self._uses for name in _packages(env_json)}
        by_age = sorted(sizes, key=lambda name: (self.storage / name).stat().st_mtime)
        for name in by_age:
            if total <= limit:
                break
            if name not in used:
                shutil.rmtree(self.storage / name, ignore_errors=True)
                total -= sizes[name]
        with self._lock:
            for env_json in [env for env in self._ready if env not in self._uses]:
                if any(not (self.storage / name).is_dir() for name in _packages(env_json)):
                    del self._ready[env_json]
                    for held in self._held.pop(env_json, ()):
                        held.close()

    def close(self) -> None:
        """End builds in progress and let go of cached environments."""
        with self._lock:
            self._closed = True
            builders = list(self._builders)
        for builder in builders:
            builder.cancel()
        for environments in self._held.values():
            for environment in environments:
                environment.close()
        self._held.clear()
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)

    # the work itself --------------------------------------------------------------------------

    def _prepare(self, env_json: str) -> PreparedEnv:
        from aktis.exceptions import RuntimeEnvSetupError

        try:
            env = upload.resolve(spec.loads(env_json), self.storage)  # paths that the driver left to us
        except (ValueError, OSError) as error:
            raise RuntimeEnvSetupError(f"the runtime environment cannot be set up: {error}") from error
        paths: list[str] = []
        cwd = None
        if "working_dir" in env:
            cwd = str(packaging.package_path(env["working_dir"], self.storage))
            paths.append(cwd)
        paths += [str(packaging.package_path(uri, self.storage)) for uri in env.get("py_modules", ())]
        env_vars = dict(env.get("env_vars", {}))
        python = _interpreter(env["py_executable"]) if "py_executable" in env else None
        if "pip" in env:
            environment = self._pip_environment(env_json, env)
            python = environment.python
            env_vars["VIRTUAL_ENV"] = str(environment.path)
            env_vars["PATH"] = f"{environment.path / 'bin'}{os.pathsep}{env_vars.get('PATH', '${PATH}')}"
        prepared = PreparedEnv(
            python_executable=python,
            sys_path_prepend=tuple(paths),
            env_vars=env_vars,
            cwd=cwd,
            preload=tuple(env.get("preload", ())),
            setup_hook=env.get("worker_process_setup_hook"),
        )
        with self._lock:
            return self._ready.setdefault(env_json, prepared)

    def _pip_environment(self, env_json: str, env: Mapping[str, Any]) -> pip.PipEnvironment:
        from aktis.exceptions import RuntimeEnvSetupError

        builder = pip.Builder()
        with self._lock:
            if self._closed:
                raise RuntimeEnvSetupError("the session has ended")
            self._builders.add(builder)
        try:
            environment = builder.get(env["pip"], spec.setup_timeout(env))
        except pip.BuildError as error:
            packages = ", ".join(env["pip"]["packages"])
            raise RuntimeEnvSetupError(f"the pip environment with {packages} could not be built: {error}") from None
        except OSError as error:
            raise RuntimeEnvSetupError(f"the pip environment could not be built in {builder.cache}: {error}") from error
        finally:
            with self._lock:
                self._builders.discard(builder)
        with self._lock:
            self._held.setdefault(env_json, []).append(environment)
        return environment


def _needs_build(env_json: str) -> bool:
    """Whether preparing may take long. Paths that the driver did not package have to be copied first."""
    env = spec.loads(env_json)
    local = [env.get("working_dir", packaging.SCHEME), *env.get("py_modules", ())]
    return "pip" in env or any(not path.startswith(packaging.SCHEME) for path in local)


def _packages(env_json: str) -> list[str]:
    env = json.loads(env_json) if env_json else {}
    uris = [*([env["working_dir"]] if "working_dir" in env else []), *env.get("py_modules", ())]
    return [uri[len(packaging.SCHEME) :] for uri in uris if uri.startswith(packaging.SCHEME)]


def _interpreter(name: str) -> str:
    from aktis.exceptions import RuntimeEnvSetupError

    found = shutil.which(os.path.expanduser(name))
    if found is None:
        raise RuntimeEnvSetupError(
            f"runtime_env['py_executable'] is {name!r}, which is not an executable file; give the path of a Python "
            "interpreter that has aktis installed"
        )
    return found


def _size(path: Path) -> int:
    return sum(entry.size for entry in packaging.scan(path, gitignore=False))
