"""Where a disk is full, files are whole or not there, and the error says which one it was."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aktis.rllib.offline.json_writer import JsonWriter
from aktis.rllib.policy import _checkpoint as policy_files
from aktis.rllib.policy.sample_batch import SampleBatch

LIMIT = 20_000


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process gets larger than LIMIT: a write beyond it is cut short, and the next one fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path, small_files: None) -> None:
    writer = JsonWriter(tmp_path, compress_columns=[])
    batch = SampleBatch({"obs": np.random.default_rng(0).random((100, 4)), "rewards": np.ones(100)})
    written = 0
    with pytest.raises(OSError, match="cannot be written") as raised:
        for written in range(100):  # noqa: B007
            writer.write(batch)
    (file,) = tmp_path.iterdir()
    assert str(raised.value.filename) == str(file)
    lines = file.read_text().splitlines()
    assert len(lines) == written > 0
    assert all(json.loads(line) for line in lines)


def test_nothing_is_left_of_arrays_that_could_not_be_written(tmp_path: Path, small_files: None) -> None:
    policy_files.write_arrays(tmp_path / "weights.npz", {"w": np.zeros(10)})
    with pytest.raises(OSError):
        policy_files.write_arrays(tmp_path / "weights.npz", {"w": np.zeros(LIMIT)})
    assert [path.name for path in tmp_path.iterdir()] == ["weights.npz"]
    assert policy_files.read_arrays(tmp_path / "weights.npz")["w"].shape == (10,)
