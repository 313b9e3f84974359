"""Temporary directories that holders share: made once, and gone with the last one, also over processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aktis.air._checkpoint import shared_dirs
from aktis.air.checkpoint import Checkpoint

HOLDER = """
import pickle, sys
checkpoint = pickle.load(open(sys.argv[1], "rb"))
with checkpoint.as_directory() as path:
    print(path, flush=True)
    sys.stdin.readline()
print("left", flush=True)
"""


@pytest.fixture(autouse=True)
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    monkeypatch.setattr(tempfile, "tempdir", None)


def left() -> list[str]:
    return sorted(os.listdir(shared_dirs.root()))


class Holder:
    """A process that holds the directory of a checkpoint."""

    def __init__(self, file: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.path = self.process.stdout.readline().strip()

    def leave(self) -> None:
        output, _ = self.process.communicate("\n", timeout=30)
        assert output == "left\n"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=30)


def test_threads_share_it() -> None:
    checkpoint = Checkpoint.from_dict({"a": 1})
    paths: list[str] = []
    inside, leave = threading.Barrier(5), threading.Barrier(5)

    def hold() -> None:
        with checkpoint.as_directory() as path:
            paths.append(path)
            inside.wait(30)
            assert Checkpoint.from_directory(path).to_dict() == {"a": 1}
            leave.wait(30)

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait(30)
    assert len(set(paths)) == 1
    assert os.path.isdir(paths[0])
    leave.wait(30)
    for thread in threads:
        thread.join()
    assert left() == []


def test_processes_share_it_and_the_last_one_removes_it(tmp_path: Path) -> None:
    checkpoint = Checkpoint.from_dict({"a": 1})
    file = tmp_path / "checkpoint.pkl"
    file.write_bytes(pickle.dumps(checkpoint))
    with checkpoint.as_directory() as path:
        first, second = Holder(file), Holder(file)
        assert first.path == second.path == path
        first.leave()
        assert os.path.isdir(path)
    assert os.path.isdir(path)
    second.leave()
    assert left() == []


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    checkpoint = Checkpoint.from_dict({"a": 1})
    file = tmp_path / "checkpoint.pkl"
    file.write_bytes(pickle.dumps(checkpoint))
    holder = Holder(file)
    with checkpoint.as_directory() as path:
        holder.kill()
    assert path == holder.path
    assert left() == []


def test_what_a_killed_holder_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pkl"
    file.write_bytes(pickle.dumps(Checkpoint.from_dict({"a": 1})))
    holder = Holder(file)
    holder.kill()
    assert os.path.isdir(holder.path)
    (Path(shared_dirs.root()) / ".abandoned.x.tmp").mkdir()
    with Checkpoint.from_dict({"b": 2}).as_directory() as path:
        assert left() == sorted([os.path.basename(path), f"{os.path.basename(path)}.lock"])
    assert left() == []


def test_a_failure_leaves_nothing() -> None:
    def fill(path: str) -> None:
        (Path(path) / "half").touch()
        raise KeyError("no more")

    for _ in range(2):
        with pytest.raises(KeyError):
            with shared_dirs.shared("key", fill):
                pass
        assert left() == []


def test_a_changed_checkpoint_has_a_directory_of_its_own() -> None:
    checkpoint = Checkpoint.from_dict({"a": 1})
    with checkpoint.as_directory() as before:
        checkpoint.set_preprocessor("another")
        with checkpoint.as_directory() as after:
            assert before != after
            assert Checkpoint.from_directory(after).get_preprocessor() == "another"
            assert Checkpoint.from_directory(before).get_preprocessor() is None


def test_many_come_and_go() -> None:
    checkpoint = Checkpoint.from_dict({"a": 1})
    errors: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(25):
                with checkpoint.as_directory() as path:
                    assert os.path.exists(os.path.join(path, ".aktis_checkpoint", "checkpoint.json"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert left() == []
