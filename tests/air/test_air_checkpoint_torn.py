"""Checkpoints that were not finished are noticed, wherever the writing was interrupted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from aktis.air import _transfer
from aktis.air._checkpoint import layout
from aktis.air.checkpoint import Checkpoint
from aktis.air.exceptions import AirError, CheckpointError, StorageError, TornCheckpointError

VALUES = {"a": np.arange(10), "b": {1, 2}, "c": Path("/pickled")}


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


class Killed(BaseException):
    """What a process that is killed in the middle of something does to it, as far as files are concerned."""


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The ``number``-th file does not get its name, and nothing is cleaned up."""
    count = 0
    replace = os.replace

    def counting(source: Any, target: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(layout.os, "replace", counting)
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)


def parts(path: str) -> list[Path]:
    return sorted((Path(path) / layout.FOLDER).iterdir())


def test_every_part_is_missed(tmp_path: Path) -> None:
    path = Checkpoint.from_dict(VALUES).to_directory(tmp_path / "x")
    assert len(parts(path)) == 4
    for part in parts(path):
        copy = shutil.copytree(path, tmp_path / f"without {part.name}")
        (copy / layout.FOLDER / part.name).unlink()
        with pytest.raises(TornCheckpointError, match=f"{part.name}"):
            Checkpoint.from_directory(copy)
    for part in parts(path):
        if part.name != layout.MANIFEST:
            copy = shutil.copytree(path, tmp_path / f"half of {part.name}")
            os.truncate(copy / layout.FOLDER / part.name, 1)
            with pytest.raises(TornCheckpointError, match=f"{part.name} has 1 bytes instead of"):
                Checkpoint.from_directory(copy)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_new_directory_is_there_whole_or_not(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_at(monkeypatch, number)
    with pytest.raises(Killed):
        Checkpoint.from_dict(VALUES).to_directory(tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("number", range(1, 10))
def test_a_directory_that_was_there_is_as_before_or_torn_or_done(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkpoint.from_dict({"before": 1}).to_directory(tmp_path / "x")
    with monkeypatch.context() as patch:
        killed_at(patch, number)
        if number == 9:  # four files are written, and put in their places
            Checkpoint.from_dict(VALUES).to_directory(tmp_path / "x")
        else:
            with pytest.raises(Killed):
                Checkpoint.from_dict(VALUES).to_directory(tmp_path / "x")
    if number < 5:
        assert Checkpoint.from_directory(tmp_path / "x").to_dict() == {"before": 1}
    elif number < 9:
        with pytest.raises(TornCheckpointError, match="interrupted"):
            Checkpoint.from_directory(tmp_path / "x")
    # Writing it once more mends it.
    Checkpoint.from_dict(VALUES).to_directory(tmp_path / "x")
    assert Checkpoint.from_directory(tmp_path / "x").to_dict()["b"] == {1, 2}


def test_files_copied_into_a_directory_are_torn_when_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
        (tmp_path / name / f"more {name}").write_text(name)
    with monkeypatch.context() as patch:
        killed_at(patch, 4)
        with pytest.raises(Killed):
            Checkpoint.from_directory(tmp_path / "source").to_directory(tmp_path / "target")
    with pytest.raises(TornCheckpointError):
        Checkpoint.from_directory(tmp_path / "target")
    Checkpoint.from_directory(tmp_path / "source").to_directory(tmp_path / "target")
    assert len(list((tmp_path / "target").iterdir())) == 4


def upload_that_fails_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    put = _transfer._put

    def failing(filesystem: Any, source: str, target: str) -> None:
        if target.endswith(name):
            raise ConnectionError("the line is dead")
        put(filesystem, source, target)

    monkeypatch.setattr(_transfer, "_put", failing)


@pytest.mark.parametrize("name", ["data.json", "data.safetensors", "checkpoint.json"])
def test_half_an_upload_is_torn(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "memory://torn/x"
    for _ in range(2):  # at a new place, and over an older one
        with monkeypatch.context() as patch:
            upload_that_fails_at(patch, name)
            with pytest.raises(
                StorageError, match=rf"{name} to memory://torn/x failed: ConnectionError: the line is dead"
            ):
                Checkpoint.from_dict(VALUES).to_uri(uri)
        with pytest.raises(TornCheckpointError, match="upload was interrupted"):
            Checkpoint.from_uri(uri)
        Checkpoint.from_dict(VALUES).to_uri(uri)
        assert Checkpoint.from_uri(uri).to_dict()["b"] == {1, 2}


def test_half_an_upload_of_a_directory_is_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with monkeypatch.context() as patch:
        upload_that_fails_at(patch, "b")
        with pytest.raises(StorageError):
            Checkpoint.from_directory(tmp_path).to_uri("memory://torn/d")
    with pytest.raises(TornCheckpointError):
        Checkpoint.from_uri("memory://torn/d")


def test_a_file_that_is_missing_at_a_uri_is_missed(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("model")
    uri = Checkpoint.from_directory(tmp_path).to_uri("memory://torn/m")
    memory = fsspec.filesystem("memory")
    memory.rm("/torn/m/model")
    with pytest.raises(TornCheckpointError, match="memory://torn/m is not a whole checkpoint: model is missing"):
        Checkpoint.from_uri(uri)
    memory.pipe("/torn/m/model", b"mod")
    with pytest.raises(TornCheckpointError, match="model has 3 bytes instead of 5"):
        Checkpoint.from_uri(uri)


def test_an_older_checkpoint_at_a_uri_goes(tmp_path: Path) -> None:
    Checkpoint.from_dict(VALUES).to_uri("memory://torn/o")
    Checkpoint.from_dict({"only": 1}).to_uri("memory://torn/o")
    assert Checkpoint.from_uri("memory://torn/o").to_dict() == {"only": 1}
    assert {name.rpartition("/")[2] for name in _transfer.list_files("memory://torn/o")} == {
        "checkpoint.json",
        "data.json",
    }


def test_what_others_put_at_a_uri_is_a_checkpoint() -> None:
    fsspec.filesystem("memory").pipe("/torn/foreign/sub/file", b"content")
    checkpoint = Checkpoint.from_uri("memory://torn/foreign")
    with checkpoint.as_directory() as path:
        assert (Path(path) / "sub" / "file").read_bytes() == b"content"


def test_all_that_is_wrong_with_checkpoints_is_caught_together(tmp_path: Path) -> None:
    def missing() -> Any:
        return Checkpoint.from_uri(f"file://{tmp_path}/nothing").to_dict()

    def torn() -> Any:
        path = Checkpoint.from_dict(VALUES).to_directory(str(tmp_path / "torn"))
        next(each for each in Path(path).rglob("checkpoint.json")).unlink()
        return Checkpoint.from_directory(path).to_dict()

    def unstorable() -> Any:
        return Checkpoint.from_dict({"x": (each for each in "abc")}).to_directory(str(tmp_path / "x"))

    for wrong in (missing, torn, unstorable):
        with pytest.raises(CheckpointError) as caught:
            wrong()
        assert isinstance(caught.value, AirError)
