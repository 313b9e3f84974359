"""The command, in this process and as one, against a session of its own in a folder of its own."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

import pytest

import aktis
from aktis.__about__ import __version__
from aktis.cli import CommandError, Format, _tables, command_group, main

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("aktis._native.driver") is None, reason="this build has the inline engine only"
)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Sessions of this test, so that no command sees (or stops) any other. Short, for the names of sockets."""
    path = tempfile.mkdtemp(prefix="ak")
    monkeypatch.setenv("AKTIS_TEMP_DIR", path)
    monkeypatch.setenv("COLUMNS", "80")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def run(*arguments: str, rc: int = 0) -> str:
    """A command in this process: its output, or what it says when it fails."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert (ended.value.code or 0) == rc, (ended.value.code, out.getvalue(), err.getvalue())
    return (err if rc else out).getvalue()


def start(*arguments: str, rc: int = 0) -> str:
    """The same as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "aktis.cli", *arguments], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == rc, (done.returncode, done.stdout, done.stderr)
    return done.stdout if rc == 0 else done.stderr


@pytest.fixture
def session() -> Iterator[str]:
    """A session with an actor that has printed something; the actor's id."""
    aktis.init(num_cpus=2, log_to_driver=False)
    try:

        @aktis.remote
        class Greeter:
            def greet(self) -> None:
                print("hello there", flush=True)

        greeter = Greeter.options(name="greeter").remote()
        aktis.get(greeter.greet.remote())
        yield greeter._actor_id.hex()
    finally:
        aktis.shutdown()


@pytest.mark.parametrize("command", ["status", "memory", "timeline", "stack", "logs", "summary"])
def test_without_a_session_every_command_says_so(command: str) -> None:
    assert "no session is running" in run(command, rc=1)


def test_list_and_addresses_without_a_session(folder: str) -> None:
    assert "no session is running" in start("list", "tasks", rc=1)
    assert f"no session is running at '{folder}'" in run("status", "--address", folder, rc=1)
    assert run("stop") == "no session is running\n"
    assert start("version").strip() == __version__


def test_looking_around(session: str) -> None:
    status = start("status")
    assert "nodes: 1 alive" in status
    assert "0 of 2" in status
    assert "1 ALIVE" in status
    assert "object store" in run("memory")
    assert "store" in json.loads(run("memory", "--format", "json"))
    actors = run("list", "actors")
    assert "greeter" in actors
    assert max(map(len, actors.splitlines())) <= 80
    (actor,) = json.loads(run("list", "actors", "--filter", "name=greeter", "--format", "json"))
    assert actor["actor_id"] == session
    assert run("list", "actors", "--filter", "name!=greeter").strip() == "no actors"
    assert "name: greeter" in run("list", "actors", "--format", "yaml")
    for kind in ("tasks", "objects", "workers", "nodes", "jobs", "placement-groups", "runtime-envs"):
        assert max(map(len, run("list", kind).splitlines())) <= 80
    assert "Greeter" in run("summary", "actors")
    assert "cluster" not in run("summary", "tasks", "--format", "json")
    assert "thread MainThread" in run("stack")
    assert "a filter looks like" in run("list", "tasks", "--filter", "state", rc=1)


def test_limit(session: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit):
        main(["list", "workers", "--limit", "1"])
    assert len(out.getvalue().splitlines()) == 2
    assert "more than 1" in err.getvalue()


def test_logs(session: str) -> None:
    assert "worker" in run("logs")
    assert "hello there\n" in run("logs", "--actor", session)
    assert "no log file matches" in run("logs", "nothing*")
    assert "is not known" in run("logs", "--actor", "00" * 16, rc=1)


def test_timeline(session: str, folder: str) -> None:
    path = os.path.join(folder, "events.json")
    assert "events in" in run("timeline", "--output", path)
    with open(path) as file:
        assert isinstance(json.load(file), list)
    assert "can't be written" in run("timeline", "-o", "/nowhere/at/all.json", rc=1)


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_stop_ends_a_session(folder: str, options: tuple[str, ...]) -> None:
    program = "import aktis, sys; aktis.init(num_cpus=1); print('up', flush=True); sys.stdin.read()"
    driver = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert driver.stdin is not None
    assert driver.stdout is not None
    try:
        assert driver.stdout.readline() == "up\n"
        assert ("killed" if options else "ended") in start("stop", *options)
        assert "no session is running" in run("status", rc=1)
        assert run("stop") == "no session is running\n"
    finally:
        driver.stdin.close()
        try:
            driver.wait(30)
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        driver.stdout.close()


def test_how_things_are_written() -> None:
    assert _tables.resources({"CPU": 2.0, "memory": 1 << 30, "node:x": 1.0, "GPU": 0.0}) == "CPU 2, memory 1.07 GB"
    plain = {"a": [1, {"b": None, "c": "yes"}], "d": {}, "e": b"\x01", "f": "x: y"}
    assert _tables.serialized(plain, "yaml").splitlines() == [
        "a:", "  - 1", "  - b: null", '    c: "yes"', "d: {}", 'e: "01"', 'f: "x: y"',
    ]  # fmt: skip


def test_groups_of_commands_look_alike() -> None:
    group = command_group("fruit", "About fruit.")

    @group.command()
    def show(format: Format = Format.table) -> None:
        """Show it."""
        print(format.value)

    @group.command()
    def eat() -> None:
        raise CommandError("there is none left")

    from typer.testing import CliRunner

    runner = CliRunner()
    assert runner.invoke(group, ["show", "--format", "yaml"]).output == "yaml\n"
    wrong = runner.invoke(group, ["show", "--format", "xml"])
    assert wrong.exit_code == 2
    assert all(each.value in wrong.output for each in Format)
    alone = runner.invoke(group, [])
    assert alone.exit_code == 2
    assert "About fruit." in alone.output and "install-completion" not in alone.output
    assert isinstance(runner.invoke(group, ["eat"]).exception, CommandError)
