"""Directories of checkpoints, alone."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.tune.trainable import _checkpoint_files as files


def test_names() -> None:
    assert files.directory_name(12) == "checkpoint_000012"
    assert files.directory_name(1234567) == "checkpoint_1234567"


def test_a_new_directory_knows_the_name_that_it_gets(tmp_path: Path) -> None:
    for number in range(50):  # the random part may hold any letter
        path = files.new_directory(str(tmp_path), files.directory_name(number))
        assert files.name_of_new(path) == files.directory_name(number)
    assert files.name_of_new(str(tmp_path / "checkpoint_000001")) is None


def test_a_directory_that_others_may_read(tmp_path: Path) -> None:
    path = files.new_directory(str(tmp_path), "checkpoint_000001")
    (tmp_path / "normal").mkdir()
    assert os.stat(path).st_mode == os.stat(tmp_path / "normal").st_mode


def test_commit_replaces_what_was_there(tmp_path: Path) -> None:
    for content in ("old", "new"):
        path = files.new_directory(str(tmp_path), "checkpoint_000001")
        Path(path, "file").write_text(content)
        assert files.commit(path, "checkpoint_000001") == str(tmp_path / "checkpoint_000001")
    assert (tmp_path / "checkpoint_000001" / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["checkpoint_000001"]


def test_leftovers_go_and_all_else_stays(tmp_path: Path) -> None:
    files.new_directory(str(tmp_path), "checkpoint_000001")
    (tmp_path / "checkpoint_000000").mkdir()
    (tmp_path / ".hidden").mkdir()
    files.discard_leftovers(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == [".hidden", "checkpoint_000000"]
    files.discard_leftovers(str(tmp_path / "nowhere"))


def test_a_checkpoint_is_found_from_inside(tmp_path: Path) -> None:
    inner = tmp_path / "checkpoint_000001" / "a" / "b"
    inner.mkdir(parents=True)
    assert files.find_directory(str(inner)) is None
    files.mark(str(tmp_path / "checkpoint_000001"))
    assert files.find_directory(str(inner)) == str(tmp_path / "checkpoint_000001")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_plain_values_stay_as_they_are(value: Any) -> None:
    again = json.loads(json.dumps(files.plain(value)))
    assert repr(again) == repr(value)  # nan is not equal to itself


def test_other_values_become_plain() -> None:
    value = {1: np.float32(0.5), "a": np.arange(3), "b": (1, {2}), "c": np.bool_(True), "d": Path("x"), "e": np.nan}
    plain = files.plain(value)
    assert json.loads(json.dumps(plain))["d"] == "x"
    assert plain["1"] == 0.5 and plain["a"] == [0, 1, 2] and plain["b"] == [1, [2]] and plain["c"] is True
    assert math.isnan(plain["e"])


def test_a_kill_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    """A process that is killed at any moment of saving: what is called a checkpoint is complete."""
    program = f"""
import os, sys
from aktis.tune.trainable import Trainable

class Big(Trainable):
    def step(self): return {{}}
    def save_checkpoint(self, directory):
        for part in range(20):
            with open(os.path.join(directory, str(part)), "w") as file:
                file.write("x" * 1000)

trainable = Big()
while True:
    trainable.train()
    trainable.save({str(tmp_path)!r})
    print(flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    found = sorted(name for name in os.listdir(tmp_path) if name.startswith("checkpoint"))
    assert len(found) >= 5
    for name in found:
        assert len(os.listdir(tmp_path / name)) == 22  # its files, the marker, the metadata
        assert files.read_metadata(str(tmp_path / name)) is not None


def test_no_metadata_is_no_error(tmp_path: Path) -> None:
    assert files.read_metadata(str(tmp_path)) is None
    (tmp_path / ".tune_metadata").write_bytes(b"garbage")
    with pytest.raises(ValueError, match="is damaged"):
        files.read_metadata(str(tmp_path))
