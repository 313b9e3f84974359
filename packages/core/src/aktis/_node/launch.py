"""Starting a session on this machine, and finding one that runs. Called by drivers."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aktis import _config
from aktis._brain.resources import to_fixed
from aktis._files import is_private
from aktis._node.files import remove_session, write_facts, zygote_code
from aktis._systems import LONGEST_SOCKET_PATH, count_cpus

START_TIMEOUT = 60.0
SOCKET_NAME = "node.sock"
LONGEST_BASE = LONGEST_SOCKET_PATH - len("/session_20991231-235959-999_4194304/p-0123456789abcdef.sock")
"""Bytes that the path of the directory of all sessions may have: the kernel has a limit for those of sockets."""


class NodeStartError(RuntimeError):
    """The node daemon could not be started."""


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """What ``init()`` decides about a new session. None means: find out."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    memory: int | None = None
    object_store_memory: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()
    temp_dir: str | None = None
    store_dir: str | None = None
    spill_dir: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)  # handed to every process in WELCOME
    runtime: str = "aktis._native.worker"  # the module whose run(WorkerConfig) is a worker

    def __post_init__(self) -> None:
        amounts = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, "memory": self.memory, **self.resources}
        for name, value in amounts.items():
            if value is not None and value < 0:
                raise ValueError(f"{name} is an amount of resources, so 0 or more; it is {value}.")


@dataclass(slots=True)
class NodeHandle:
    """A node that this process started."""

    address: str
    session_name: str
    session_dir: str
    store_dir: str
    spill_dir: str
    zygote_pid: int
    node_pid: int
    node_id: str
    _reaped: bool = False

    def wait(self, timeout: float = 5.0) -> bool:
        """Wait until all processes of the session are gone (they go when the last driver's connection closes)."""
        deadline = time.monotonic() + timeout
        pause = 0.001
        while not self._reaped:
            try:
                pid, _ = os.waitpid(self.zygote_pid, os.WNOHANG)
            except ChildProcessError:
                pid = self.zygote_pid
            if pid:
                self._reaped = True
                break
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(0.02, pause * 2)
        return True

    def alive(self) -> bool:
        """Whether the session's first process still runs."""
        return not self.wait(0.0)

    def close(self, timeout: float = 5.0) -> None:
        """After the driver's connection has been closed: see that nothing stays behind."""
        if not self.wait(timeout):
            for pid in (self.node_pid, self.zygote_pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.wait(2.0)
        remove_session(self.session_dir, self.store_dir, self.spill_dir)


def start_node(options: NodeOptions) -> NodeHandle:
    """Start zygote and node daemon; returns when the node takes connections. Raises NodeStartError."""
    base = _session_base(options.temp_dir)
    session_name, session_dir = _make_session_dir(base)
    resources, device_ids = _resources(options)
    store_dir, store_size, notice = _place_store(options, session_name, session_dir)
    spill_dir = os.path.join(
        options.spill_dir or session_dir, f"spill-{session_name}" if options.spill_dir else "spill"
    )
    resources["object_store_memory"] = store_size
    address = f"unix:{session_dir}/{SOCKET_NAME}"
    write_facts(session_dir, store_dir, spill_dir)
    read_fd, write_fd = os.pipe()
    os.set_inheritable(write_fd, True)
    node = {
        "session_name": session_name,
        "session_dir": session_dir,
        "store_dir": store_dir,
        "spill_dir": spill_dir,
        "address": address,
        "resources": to_fixed(resources),
        "device_ids": device_ids,
        "labels": dict(options.labels),
        "config": dict(options.config),
        "ready_fd": write_fd,
        "runtime": options.runtime,
        "notices": [notice] if notice else [],
        "clean": [session_dir, store_dir, spill_dir],
    }
    code = zygote_code([])
    settings = json.dumps({"node": node, "preload": list(options.preload), "runtime": options.runtime, "code": code})
    log_path = f"{session_dir}/logs/node.log"
    try:
        pid = _spawn(code, settings, log_path)
    finally:
        os.close(write_fd)
    answer = _await_ready(read_fd)
    handle = NodeHandle(
        address, session_name, session_dir, store_dir, spill_dir, pid, answer.get("pid", pid), answer.get("node_id", "")
    )
    if "pid" not in answer:
        _kill(pid)
        handle.close()
        raise NodeStartError(
            f"The node daemon did not start: {answer['error']}. Its log is {log_path}:\n{_tail(log_path)}"
        )
    _point_latest(base, session_name)
    return handle


def find_session(address: str = "auto") -> str:
    """The node address for what a user wrote: "auto", a session directory, or a ``unix:`` URI. Raises ConnectionError."""
    if address == "auto":
        path = os.path.join(_session_base(None), "session_latest", SOCKET_NAME)
        path = os.path.realpath(path)
    elif address.startswith("unix:"):
        path = address.removeprefix("unix:").removeprefix("//")
        if os.path.isdir(path):
            path = os.path.join(path, SOCKET_NAME)
    else:
        path = os.path.join(os.path.realpath(address), SOCKET_NAME)
    if not os.path.exists(path):
        raise ConnectionError(f"There is no running session at {address!r} ({path} does not exist).")
    return f"unix:{path}"


def _spawn(code: str, settings: str, log_path: str) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    command = [sys.executable, "-c", code, settings]
    try:
        # Ctrl-C of the terminal is for the driver alone: until the zygote ignores it, it waits (and is then dropped).
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsigmask=[signal.SIGINT])
    except OSError as error:
        raise NodeStartError(f"{sys.executable} cannot be started: {error}") from error


def _await_ready(fd: int) -> dict[str, Any]:
    data = b""
    deadline = time.monotonic() + START_TIMEOUT
    try:
        while True:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return {"error": f"it was not ready within {START_TIMEOUT:g} s"}
            part = os.read(fd, 4096)
            data += part
            try:
                answer: dict[str, Any] = json.loads(data)
            except ValueError:
                if part:
                    continue
                return {"error": "it ended before it was ready"}
            return answer
    finally:
        os.close(fd)


def _session_base(temp_dir: str | None) -> str:
    """The directory of all sessions of this user."""
    chosen = temp_dir or _config.read("TEMP_DIR")
    if chosen:
        base = os.path.abspath(chosen)
        if len(base.encode()) > LONGEST_BASE:
            text = f"The directory {base} has too long a name for sockets in it: at most {LONGEST_BASE} bytes."
            raise NodeStartError(f"{text} Choose another one with AKTIS_TEMP_DIR.")
        try:
            os.makedirs(base, 0o700, exist_ok=True)
        except OSError as error:
            raise NodeStartError(f"The directory {base} cannot be made: {error}") from error
        return base
    root = tempfile.gettempdir()
    for name in ("aktis", f"aktis-{os.getuid()}"):
        base = os.path.join(root, name)
        if len(base.encode()) > LONGEST_BASE:
            base = os.path.join("/tmp", name)
        try:
            os.makedirs(base, 0o700, exist_ok=True)
            is_ours = is_private(base)
        except OSError as error:
            raise NodeStartError(f"The directory {base} cannot be made: {error}") from error
        if is_ours:
            return base
    raise NodeStartError(
        f"{base} belongs to somebody else or others may write to it. Choose another place with AKTIS_TEMP_DIR."
    )


def _make_session_dir(base: str) -> tuple[str, str]:
    while True:
        now = time.time()
        name = (
            time.strftime("session_%Y%m%d-%H%M%S", time.localtime(now)) + f"-{int(now * 1000) % 1000:03}_{os.getpid()}"
        )
        path = os.path.join(base, name)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            time.sleep(0.001)
            continue
        os.mkdir(os.path.join(path, "logs"), 0o700)
        return name, path


def _point_latest(base: str, session_name: str) -> None:
    link = os.path.join(base, "session_latest")
    fresh = f"{link}.{os.getpid()}"
    try:
        os.symlink(session_name, fresh)
        os.replace(fresh, link)
    except OSError:
        pass


def _resources(options: NodeOptions) -> tuple[dict[str, float], dict[str, list[str]]]:
    gpus = _visible_gpus()
    amounts: dict[str, float] = {
        "CPU": _count_cpus() if options.num_cpus is None else options.num_cpus,
        "GPU": len(gpus) if options.num_gpus is None else options.num_gpus,
        "memory": options.memory if options.memory is not None else int(_available_memory() * 0.7),
        "node:127.0.0.1": 1.0,
        "node:__internal_head__": 1.0,
    }
    amounts.update(options.resources)
    return amounts, {"GPU": gpus}


def _count_cpus() -> int:
    count = count_cpus()
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, -(-int(quota) // int(period))))


def _visible_gpus() -> list[str]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for part in chosen.split(",") if (name := part.strip()) and name not in ("-1", "NoDevFiles")]
    try:
        names = os.listdir("/proc/driver/nvidia/gpus")
    except OSError:
        return []
    return [str(index) for index in range(len(names))]


def _available_memory() -> int:
    from aktis._node.usage import available_memory

    return available_memory()


def _place_store(options: NodeOptions, session_name: str, session_dir: str) -> tuple[str, int, str | None]:
    """Where shared memory goes, how much of it, and what the user should know about that."""
    from aktis._store.location import choose_store_dir, default_capacity

    parent = options.store_dir or _config.read("STORE_DIR")
    if parent:
        path = os.path.join(parent, f"aktis-{session_name}")
        try:
            os.makedirs(path, 0o700)
        except OSError as error:
            raise NodeStartError(f"The store directory {path} cannot be made: {error}") from error
        return path, options.object_store_memory or default_capacity(parent), None
    size = options.object_store_memory or default_capacity()
    path, notice = choose_store_dir(session_name, size, session_dir=session_dir)
    return path, size, notice


def _tail(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return "".join(file.readlines()[-20:])
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
