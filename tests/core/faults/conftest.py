"""Sessions to break, drivers in processes of their own, and a check after every test that nothing is left of them."""

from __future__ import annotations

import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

SETTLE = 5.0  # seconds in which what a session started must be gone after shutdown


def process_table():
    """{pid: (parent, start time)} of this moment, zombies left out."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path("/proc", name, "stat").read_text()
            except OSError:
                continue
            fields = text[text.rindex(")") + 2 :].split()
            if fields[0] != "Z":
                table[int(name)] = (int(fields[1]), fields[19])
    return table


def descendants(pid):
    """The process, its children, theirs and so on, without ``pid`` itself: {(pid, start time)}."""
    table = process_table()
    found, border = set(), {pid}
    while border:
        border = {child for child, (parent, _) in table.items() if parent in border and child != os.getpid()}
        border -= {child for child, _ in found}
        found |= {(child, table[child][1]) for child in border}
    return found


def alive(processes):
    table = process_table()
    return {(pid, start) for pid, start in processes if pid in table and table[pid][1] == start}


def wait_until(condition, timeout, what):
    """Poll what cannot be waited for. Returns the seconds it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > timeout:
            pytest.fail(f"after {timeout} s still: {what() if callable(what) else what}")
        time.sleep(0.01)
    return time.monotonic() - begin


class Files:
    """Where the sessions of a test put their files."""

    def __init__(self):
        self.sessions = tempfile.mkdtemp(prefix="ak-")
        self.store = tempfile.mkdtemp(prefix="ak-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)

    def left(self):
        """Sockets, and shared memory. (Logs may stay.)"""
        found = []
        for root in (self.sessions, self.store):
            for directory, _, names in os.walk(root):
                for name in names:
                    path = os.path.join(directory, name)
                    try:
                        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
                    except OSError:
                        continue
                    if is_socket or root == self.store:
                        found.append(path)
        return found


@pytest.fixture(autouse=True)
def files(monkeypatch):
    """Every test: after it no process, no socket, no shared memory, no thread of its sessions is left."""
    created = Files()
    monkeypatch.setenv("AKTIS_TEMP_DIR", created.sessions)
    monkeypatch.setenv("AKTIS_STORE_DIR", created.store)
    monkeypatch.setenv("AKTIS_LOG_TO_DRIVER", "0")
    threads = set(threading.enumerate())
    before = descendants(os.getpid())
    yield created
    aktis = sys.modules.get("aktis")
    if aktis is not None and aktis.is_initialized():
        aktis.shutdown()
    try:
        wait_until(
            lambda: not descendants(os.getpid()) - before,
            SETTLE,
            lambda: f"processes {[command_line(pid) for pid, _ in descendants(os.getpid()) - before]}",
        )
        wait_until(lambda: not created.left(), SETTLE, lambda: f"files {created.left()}")
        wait_until(
            lambda: not [thread for thread in threading.enumerate() if thread not in threads and thread.is_alive()],
            SETTLE,
            lambda: f"threads {threading.enumerate()}",
        )
    finally:
        for pid, _ in descendants(os.getpid()) - before:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(created.sessions, ignore_errors=True)
        shutil.rmtree(created.store, ignore_errors=True)


def command_line(pid):
    try:
        return f"{pid} {Path('/proc', str(pid), 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}"
    except OSError:
        return str(pid)


@pytest.fixture
def session():
    """``session(num_cpus=2, ...)`` is ``aktis.init``; the default is two CPUs."""
    import aktis

    def start(**options):
        return aktis.init(**{"num_cpus": 2, "log_to_driver": False, **options})

    yield start
    aktis.shutdown()


class Driver:
    """A script in a process of its own. ``say(...)`` in it prints a line that ``hear`` returns."""

    PRELUDE = (
        "import os, signal, sys, threading, time\nimport aktis\n\ndef say(*words):\n    print(*words, flush=True)\n\n"
    )

    def __init__(self, script, wrapper=(), **environment):
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-c", self.PRELUDE + script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,  # a Ctrl-C of the terminal is not meant for it
        )
        self.pid = self.process.pid
        self._buffer = b""

    def hear(self, timeout=20):
        """The next line of its output."""
        deadline = time.monotonic() + timeout
        output = self.process.stdout
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([output], [], [], left)[0]:
                pytest.fail(f"the driver said nothing for {timeout} s: {self.kill()}")
            data = os.read(output.fileno(), 65536)
            if not data:
                pytest.fail(f"the driver ended without a word: {self.kill()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def speaks(self, timeout):
        """Whether it says something within this time."""
        return b"\n" in self._buffer or bool(select.select([self.process.stdout], [], [], timeout)[0])

    def signal(self, number):
        os.kill(self.pid, number)

    def end(self, timeout=20):
        """Wait for its end: (exit code, the rest of its output, its errors)."""
        try:
            output, errors = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the driver did not end within {timeout} s: {self.kill()}")
        return self.process.returncode, (self._buffer + output).decode(), errors.decode()

    def kill(self):
        """End it for good; what it wrote to standard error."""
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdout, self.process.stderr):
            os.set_blocking(stream.fileno(), False)
        errors = self.process.stderr.read() or b""
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        return errors.decode()


@pytest.fixture
def driver():
    """``driver(script)`` starts one."""
    started = []

    def start(script, wrapper=(), **environment):
        started.append(Driver(script, wrapper, **environment))
        return started[-1]

    yield start
    for one in started:
        if not one.process.stdout.closed:
            one.kill()


@pytest.fixture
def tiny_filesystem():
    """A command that gives the program behind it a very small file system at a path; needs user namespaces."""
    unshare = shutil.which("unshare")
    probe = [str(unshare), "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("needs unprivileged user namespaces to mount a file system")

    def wrap(path, size):
        mount = f'mount -t tmpfs -o size={size} tmpfs "{path}" && exec "$@"'
        return [unshare, "-Urm", "sh", "-c", mount, "sh"]

    return wrap
