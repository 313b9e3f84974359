"""The zygote: a small process without threads that has the worker runtime imported, and forks.

::

    driver ──spawns──► zygote ──forks──► node daemon       (the first zygote only: one interpreter start serves both)
                         ▲ │
              requests   │ └──forks──► worker, worker, ...
                         └── node daemon

It talks to the node over one socket pair. ``("fork", number, pickled WorkerConfig)`` is answered with
``("forked", number, pid)`` or ``("fork_failed", number, text)``; the end of a child is told as
``("exited", pid, wait status)``; ``("notice", level, text)`` is for the user. When the socket closes, whatever the reason, the
zygote kills its children and their process groups; the first one also removes the session's sockets and shared memory. So
a node daemon that is killed leaves nothing behind.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from aktis._native.frames import Decoder, FrameError, encode
from aktis._node.files import name_process, remove_session

if TYPE_CHECKING:
    from aktis._node.worker_config import WorkerConfig

RUNTIME = "aktis._native.worker"
NEEDED_BY_ALL = ("aktis._node.worker_config", "aktis._runtime_env.apply", "cloudpickle")
"""What a worker would import before its first call: 20 ms that every fork saves. (Functions of ``__main__`` are cloudpickled.)"""

SINGLE_THREADED = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's second allocator
}
"""Set while modules are preloaded: these libraries would start threads at import, which do not survive a fork."""


class Zygote:
    """The loop of a zygote."""

    def __init__(self, settings: dict[str, Any], sock: socket.socket) -> None:
        self.settings = settings
        self.sock = sock
        self.children: set[int] = set(settings.get("children", ()))
        self.decoder = Decoder()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def serve(self) -> bytes | None:
        """Fork until the node is gone. Returns the worker's configuration in a child, None in the zygote."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        self._reap()
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake_read:
                    self._drain_wakeups()
                    self._reap()
                    continue
                data = self._receive()
                if not data:
                    return None
                for message in self.decoder.feed(data):
                    config = self._handle(message)
                    if config is not None:
                        return config

    def say(self, *message: Any) -> bool:
        """Tell the node."""
        try:
            self.sock.sendall(encode([message]))
        except OSError:
            return False
        return True

    def end(self) -> None:
        """Take everything down that hangs on this zygote."""
        for pid in self.children:
            _kill_group(pid)
        for pid in self.children:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                continue
        self._await_node()
        if self.settings.get("clean"):
            remove_session(*self.settings["clean"])

    def _await_node(self) -> None:
        """A node that closed its socket is about to exit; the session has ended when it has."""
        node_pid = self.settings.get("node_pid")
        if node_pid is None:
            return
        for _ in range(200):
            try:
                if os.waitpid(node_pid, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            time.sleep(0.005)
        _kill_group(node_pid)

    def _receive(self) -> bytes:
        try:
            return self.sock.recv(1 << 16)
        except InterruptedError:
            return self._receive()
        except OSError:
            return b""

    def _handle(self, message: tuple[Any, ...]) -> bytes | None:
        if message[0] == "fork":
            _, number, config = message
            try:
                pid = os.fork()
            except OSError as error:
                self.say("fork_failed", number, f"fork failed: {error.strerror or error}")
                return None
            if pid == 0:
                self._leave()
                return bytes(config)
            self.children.add(pid)
            self.say("forked", number, pid)
        return None

    def _leave(self) -> None:
        """In the child: become a process of its own."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        self.sock.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _drain_wakeups(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _reap(self) -> None:
        while True:
            try:
                pid, status = self._reap_one()
            except ChildProcessError:
                return
            if not pid:
                return
            if pid in self.children:
                self.children.discard(pid)
                self.say("exited", pid, status)

    def _reap_one(self) -> tuple[int, int]:
        """A child that has ended, 0 when there is none; its process group is killed with it."""
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in self.children:
                _kill_group(pid)
            return pid, status
        # Look without reaping: as long as the child is a zombie, its process group id cannot belong to anybody else.
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None:
            return 0, 0
        if info.si_pid in self.children:
            _kill_group(info.si_pid)
        return os.waitpid(info.si_pid, 0)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def main() -> None:
    """Entry point, see ``files.zygote_code``; settings are JSON in the first argument."""
    settings = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which then closes the session
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # it was blocked until here
    if "node_fd" in settings:
        sock = socket.socket(fileno=settings["node_fd"])
        sock.set_inheritable(False)
    else:
        os.setsid()
        sock = _fork_node(settings)
    name_process("aktis-zygote")
    gc.disable()
    zygote = Zygote(settings, sock)
    for text in settings.get("notices", ()):
        zygote.say("notice", "warning", text)
    _import_runtime(zygote)
    _preload(zygote)
    gc.collect()
    gc.freeze()
    config = None
    try:
        config = zygote.serve()
    except FrameError as error:
        print(f"aktis zygote: {error}", file=sys.stderr)
    if config is None:
        zygote.end()
        os._exit(0)
    del zygote, sock
    _become_worker(pickle.loads(config), settings.get("runtime", RUNTIME))


def _fork_node(settings: dict[str, Any]) -> socket.socket:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        name_process("aktis-node")
        from aktis._node.daemon import main as node_main

        os._exit(node_main(settings["node"], theirs))
    theirs.close()
    os.close(settings["node"]["ready_fd"])
    settings["clean"] = settings["node"]["clean"]
    settings["node_fd"] = ours.fileno()  # for a re-exec
    settings["node_pid"] = pid
    return ours


def _import_runtime(zygote: Zygote) -> None:
    try:
        for name in (zygote.settings.get("runtime", RUNTIME), *NEEDED_BY_ALL):
            __import__(name)
    except Exception as error:  # forks will fail, and say so; the zygote must live to tell
        zygote.say("notice", "error", f"The worker runtime cannot be imported by {sys.executable}: {error!r}.")


def _preload(zygote: Zygote) -> None:
    modules = list(zygote.settings.get("preload", ()))
    if not modules:
        return
    added = [name for name in SINGLE_THREADED if name not in os.environ]
    os.environ.update({name: SINGLE_THREADED[name] for name in added})
    for name in modules:
        before = _thread_count()
        try:
            __import__(name)
        except Exception as error:
            zygote.say(
                "notice",
                "warning",
                f"preload: module {name!r} cannot be imported ({error!r}); workers start without it.",
            )
        if _thread_count() > before:
            _start_again_without(zygote, modules, name)
    for name in added:
        del os.environ[name]


def _start_again_without(zygote: Zygote, modules: list[str], culprit: str) -> None:
    """A module that started threads cannot be forked safely, nor unloaded: begin afresh without it."""
    text = (
        f"preload: importing {culprit!r} starts threads, which do not survive a fork; "
        "it is left out, and each worker imports it by itself."
    )
    settings = dict(zygote.settings)
    settings["preload"] = [name for name in modules if name != culprit]
    settings["notices"] = [*settings.get("notices", ()), text]
    settings["children"] = sorted(zygote.children)
    for name, value in SINGLE_THREADED.items():
        if os.environ.get(name) == value:
            del os.environ[name]
    os.set_inheritable(zygote.sock.fileno(), True)
    os.execv(sys.executable, [sys.executable, *_interpreter_options(), "-c", settings["code"], json.dumps(settings)])


def _interpreter_options() -> list[str]:
    return [f"-X{key}" if value is True else f"-X{key}={value}" for key, value in sys._xoptions.items()]


def _thread_count() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        import threading

        return threading.active_count()


def _become_worker(config: WorkerConfig, runtime: str) -> None:
    _redirect(config)
    gc.enable()
    os.environ.update(config.env_vars)
    paths = list(dict.fromkeys([*config.sys_path, *sys.path]))
    sys.path[:] = [path for path in paths if path]
    sys.argv = [f"aktis-worker-{config.process_id.hex()}"]
    if config.cwd:
        try:
            os.chdir(config.cwd)
        except OSError as error:
            print(f"aktis: cannot enter the working directory {config.cwd!r}: {error}", file=sys.stderr)
    _volunteer_for_oom()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:  # a preloaded numpy: workers must not all draw the same numbers
        numpy_random.seed()
    if config.prepared is not None:
        from aktis._runtime_env import apply

        apply.apply(config.prepared)
        apply.run_setup_hook(config.prepared.setup_hook)
    for name, argument in config.hooks:
        __import__(name, fromlist=["start_worker"]).start_worker(argument)
    __import__(runtime, fromlist=["run"]).run(config)


def _redirect(config: WorkerConfig) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for path, target in ((config.stdout_path, 1), (config.stderr_path, 2)):
        if path:
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            except OSError:  # the disk is full: output is lost, work goes on
                fd = os.open(os.devnull, os.O_WRONLY)
            os.dup2(fd, target)
            os.close(fd)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", buffering=1, closefd=False, errors="backslashreplace")
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _volunteer_for_oom() -> None:
    """If the kernel has to kill something, then rather a worker than the driver or the node."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(fd, b"1000")
    except OSError:
        pass
    os.close(fd)
