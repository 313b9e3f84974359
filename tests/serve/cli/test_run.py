"""`serve run` as a process of its own: its output, its signals, and code that changes."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from aktis.serve import _state
from aktis.util.processes import started

Command = Any


class Run:
    """A running command. The lines that it prints come to a queue."""

    def __init__(self, folder: Path, *args: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aktis.serve.cli", "run", "-p", "0", *args],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | (environment or {}),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def until(self, text: str) -> str:
        """The first line with ``text`` that comes."""
        while True:
            line = self._lines.get(timeout=60)
            self.seen.append(line)
            if text in line:
                return line
            assert line, f"it ended without {text!r}:\n{''.join(self.seen)}"

    def rest(self) -> str:
        """What it said after that, once it has ended."""
        while not self._lines.empty():
            self.seen.append(self._lines.get())
        return "".join(self.seen)

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join()
        self.process.stdout.close()  # type: ignore[union-attr]
        return code

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGTERM)
        if kind is not None:  # what it said is what one wants to know
            print(self.rest())


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def _becomes(url: str, wanted: str) -> None:
    deadline = time.monotonic() + 30
    while (found := _get(url)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_reload_and_the_end(tmp_path: Path, folder: Path, state: Path) -> None:
    code = tmp_path / "greeting_reload.py"
    text = (folder / "greeting_cli.py").read_text()
    code.write_text(text)
    with Run(
        tmp_path, "--reload", "--name", "mine", "--route-prefix", "/app", "greeting_reload:build", "name=me"
    ) as run:
        url = run.until("application 'mine' runs at ").split()[-1]
        assert url.endswith("/app")
        assert _get(url) == "Hello me!"
        run.until("watching")
        code.write_text(text.replace('return "!"', 'return "?"'))
        _becomes(url, "Hello me?")
        run.until("application 'mine' runs at")
        code.write_text(text + "\nraise ValueError('half written')\n")
        run.until("ValueError: half written")
        assert _get(url) == "Hello me?"
        code.write_text(text)
        _becomes(url, "Hello me!")
        assert run.end(signal.SIGINT) == 130
    assert not list(state.iterdir())


def test_requests_that_run_finish(tmp_path: Path) -> None:
    (tmp_path / "slow_run.py").write_text(
        "import asyncio\n"
        "from aktis import serve\n"
        "@serve.deployment(graceful_shutdown_timeout_s=10)\n"
        "async def slow(request):\n"
        "    print('it has begun', flush=True)\n"
        "    await asyncio.sleep(0.7)\n"
        "    return 'done'\n"
        "app = slow.bind()\n"
    )
    (tmp_path / "slow.yaml").write_text("import_path: slow_run:app\n")
    replies: list[str] = []
    with Run(tmp_path, "slow.yaml") as run:
        url = run.until("application 'default' runs at ").split()[-1]
        thread = threading.Thread(target=lambda: replies.append(_get(url)))
        thread.start()
        run.until("it has begun")
        assert run.end(signal.SIGTERM) == 143
        thread.join()
    assert replies == ["done"]


def test_what_cannot_run(folder: Path, command: Command, tmp_path: Path) -> None:
    code, _, err = command("run", "-p", "0", "-d", folder, "broken_cli:app")
    assert code == 1
    assert re.search(r"could not be deployed:\nTraceback .*\n  File .*broken_cli.py", err)
    assert "has no attribute 'nothing'" in err
    assert command("run", "-d", tmp_path / "none", "a:b")[0] == 2
    assert command("run", "--non-blocking", "--reload", "a:b")[2].startswith("serve: --reload watches files")
    assert command("run", "--non-blocking", "--gradio", "a:b")[2].startswith("serve: --gradio shows a page")
    assert command("run", "--runtime-env-json", "{", "a:b")[2].startswith("serve: --runtime-env-json is not JSON")


def test_code_in_a_working_directory_stays_when_it_is_left_running(folder: Path, command: Command, state: Path) -> None:
    try:
        code, _, err = command("run", "-p", "0", "--non-blocking", "--working-dir", folder, "greeting_cli:app")
        assert code == 0, err
        [host] = _state.living_hosts()
        assert _get(host.http[0]) == "Hello you!"
        assert command("status")[0] == 0
    finally:
        assert command("shutdown", "-y")[0] == 0
    assert started(host.pid) is None
    assert os.getpid() not in {host.pid}


@pytest.fixture(autouse=True)
def _no_session(own_session: None) -> None:
    """Commands that run here start and end a session of their own."""
    import aktis

    assert not aktis.is_initialized()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_start_that_is_interrupted_is_no_failure(folder: Path, state: Path, number: int) -> None:
    """The signal goes to all of the terminal's processes while the session's first one imports."""
    with (
        tempfile.TemporaryDirectory(prefix="s") as base,
        Run(folder, "greeting_cli:app", environment={"AKTIS_TEMP_DIR": base}) as run,
    ):
        while not list(Path(base).glob("session_*/logs/node.log")):
            assert run.process.poll() is None
            time.sleep(0.001)
        os.killpg(run.process.pid, number)
        assert run.end(0) == 128 + number
        said = run.rest()
    assert "could not" not in said
    assert "Traceback" not in said
    assert not list(state.iterdir())
