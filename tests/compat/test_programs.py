"""Programs written for Ray run as they are: each prints what it prints with Ray."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
OLD = "ignore::DeprecationWarning"  # what they use is old, and says so


def run(*arguments: str, timeout: float = 55, rc: int = 0, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", OLD, "-m", "aktis.compat", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout.splitlines()


def program(name: str, *arguments: str) -> list[str]:
    return run(str(PROGRAMS / f"{name}.py"), *arguments)


def test_core() -> None:
    assert program("core_tasks") == [
        "squares [0, 1, 4, 9, 16]",
        "divide 3 2",
        "counter 15",
        "nested 14",
        "ready 1 0",
        "pool [1, 1]",
        "queue item",
        "in group 25",
        "error True",
        "initialized False",
    ]


def test_exceptions_have_their_names() -> None:
    assert program("core_errors") == [
        "custom True True",
        "crashed True",
        "actor died",
        "in a task True",
        "classes True True",
    ]


def test_modules_are_the_same_objects_here_and_in_workers() -> None:
    assert program("modules_everywhere") == [
        "same objects True True",
        "in a worker True True",
        "version ('2.3.1', True) True",
        "function True placement_group",
    ]


def test_tune_run(tmp_path: Path) -> None:
    assert program("tune_old", str(tmp_path)) == ["best 3 12", "frame 3", "class 7 TERMINATED", "names True"]


def test_tuner(tmp_path: Path) -> None:
    assert program("tune_new", str(tmp_path)) == ["best 2 0 2", "names True OptunaSearch"]


def test_trainer(tmp_path: Path) -> None:
    assert program("train_old", str(tmp_path)) == ["sizes [2, 2]", "checkpoint 1"]


def test_data() -> None:
    assert program("data_old") == [
        "take [2, 4, 6]",
        "sum 6",
        "groups [{'k': 0, 'mean(v)': 2.0, 'max(v)': 4.0}, {'k': 1, 'mean(v)': 3.0, 'max(v)': 5.0}]",
        "scaled 0.0",
        "mapped [{'k': 0, 'v': 0.0, 'w': 0.0}]",
        "actors [101, 102]",
        "pipeline [0, 10, 20, 30]",
    ]


def test_serve() -> None:
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert program("serve_old", str(port)) == [
        "http {'count': 11, 'by': 'me'}",
        "function hello",
        "handle 16",
        "deployments ['counter', 'hello']",
    ]


def test_gym() -> None:
    pytest.importorskip("gymnasium")
    assert program("gym_old") == [
        "own (0.7, 4.0)",
        "limit (True, {'TimeLimit.truncated': True}) Corridor-v0",
        "wrapped step (0.7, 8.0)",
        "cart (4,) 4 True",
        "spaces True True 0.21.0",
    ]


@pytest.mark.torch
def test_rllib_agents(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert program("rllib_old", str(tmp_path)) == ["length 5.0 5.0 True", "action True", "tuned 1"]


# Ways to start ------------------------------------------------------------------------------------------------------


def test_module_and_its_arguments(tmp_path: Path) -> None:
    package = tmp_path / "old_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("import sys, ray\nprint(ray.__commit__[:5], sys.argv[1:], __name__)\n")
    assert run("-m", "old_package", "--flag", "x", PYTHONPATH=_path(tmp_path)) == ["aktis ['--flag', 'x'] __main__"]


def test_pytest_runs_old_tests(tmp_path: Path) -> None:
    (tmp_path / "test_old.py").write_text(
        "import ray\n\ndef test_it():\n    ray.init(num_cpus=1)\n    assert ray.get(ray.put(1)) == 1\n    ray.shutdown()\n"
    )
    lines = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path))
    assert lines[-1].startswith("1 passed"), lines


def test_code_and_version() -> None:
    code = "import ray, sys; print(ray.__version__, sys.argv)"
    assert run("--ray-version", "1.13.0", "-c", code, "a") == ["1.13.0 ['-c', 'a']"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "usage"),
        (("absent.py",), "can't open 'absent.py'"),
        (("--gym", "odd", "-c", "1"), "gym must be one of"),
        (("-m",), "-m needs a value"),
        (("--odd",), "unknown option --odd"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aktis.compat", *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert text in done.stderr


def test_a_script_that_fails_shows_its_own_line(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text("import ray\n\nray.get('x')\n")
    done = subprocess.run(
        [sys.executable, "-m", "aktis.compat", str(script)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 1
    assert f'"{script}", line 3' in done.stderr


def _path(folder: Path) -> str:
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
