"""Parts of batch prediction that need no session: sizes of pools, threads, columns of batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

import aktis.air.predictor
import aktis.train.predictor
from aktis.air.checkpoint import Checkpoint
from aktis.train._predict import columns, scoring, workers


@pytest.mark.parametrize(
    ("resources", "args", "most"),
    [
        ({"CPU": 8.0}, {}, 8),
        ({"CPU": 8.0}, {"num_cpus": 3}, 2),
        ({"CPU": 8.0}, {"num_cpus": 0}, 8),
        ({"CPU": 8.0}, {"num_cpus": 0.5}, 16),
        ({"CPU": 8.0}, {"num_cpus": 16}, 1),  # one waits until there is room
        ({"CPU": 8.0, "GPU": 2.0}, {"num_gpus": 1}, 2),
        ({"CPU": 8.0, "GPU": 2.0}, {"num_gpus": 0.5, "num_cpus": 4}, 2),
    ],
)
def test_a_pool_is_as_big_as_the_session_allows(
    monkeypatch: pytest.MonkeyPatch, resources: dict[str, float], args: dict[str, Any], most: int
) -> None:
    class Session:
        @staticmethod
        def cluster_resources() -> dict[str, float]:
            return resources

    monkeypatch.setattr(workers, "_session", lambda: Session)
    assert workers.pool_size(1, None, args) == (1, most)
    assert workers.pool_size(3, None, args) == (3, max(3, most))
    assert workers.pool_size(1, 5, args) == (1, 5)


def test_a_directory_is_sent_by_its_path_only_where_all_workers_see_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Session:
        hosts: ClassVar[list[str]] = []
        put = staticmethod(lambda value: ("stored", value))

        @classmethod
        def nodes(cls) -> list[dict[str, Any]]:
            return [{"NodeManagerHostname": host, "Alive": host != "dead"} for host in cls.hosts]

    monkeypatch.setattr(workers, "_session", lambda: Session)
    (tmp_path / "model").touch()
    checkpoint = Checkpoint.from_directory(tmp_path)
    here = os.uname().nodename
    for Session.hosts in ([here], [here, "dead"]):
        sent = workers.sent(checkpoint)
        assert isinstance(sent, scoring.LocalCheckpoint)
        assert sent.open().path == str(tmp_path)
    for Session.hosts in ([here, "elsewhere"], ["elsewhere"]):
        assert workers.sent(checkpoint) == ("stored", checkpoint)


def test_kept_columns_stand_behind_the_predictions() -> None:
    arrays = {"a": np.arange(3), "b": np.arange(3.0)}
    assert list(columns.with_kept({"p": np.zeros(3)}, arrays, ["b", "a"])) == ["p", "b", "a"]
    frame = pd.DataFrame(arrays, index=[5, 6, 7])
    kept = columns.with_kept(pd.DataFrame({"p": [1, 2, 3]}), frame, ["a"])
    assert {name: list(values) for name, values in kept.items()} == {"p": [1, 2, 3], "a": [0, 1, 2]}
    with pytest.raises(ValueError, match="predictor returned ndarray"):
        columns.with_kept(np.zeros(3), arrays, ["a"])


def test_features_come_in_the_order_that_was_asked_for() -> None:
    arrays = {"a": np.arange(3), "b": np.arange(3.0)}
    assert columns.selected(arrays, None) is arrays
    assert columns.selected(arrays, ["a", "b"]) is arrays
    assert list(columns.selected(arrays, ["b", "a"])) == ["b", "a"]
    assert list(columns.selected(pd.DataFrame(arrays), ["b"]).columns) == ["b"]


def test_threads_are_those_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    class Torch:
        threads = 8

        def get_num_threads(self) -> int:
            return self.threads

        def set_num_threads(self, count: int) -> None:
            self.threads = count

    torch = Torch()
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    scoring.limit_threads_after()
    assert torch.threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    torch.threads = 8
    scoring.limit_threads_after()
    assert torch.threads == 8


def test_names_are_where_ray_has_them() -> None:
    for name in aktis.train.predictor.__all__:
        if name != "PredictorNotSerializableException":
            assert getattr(aktis.train.predictor, name) is getattr(aktis.air.predictor, name)


def test_importing_it_loads_nothing_heavy() -> None:
    program = (
        "import sys, aktis.train.batch_predictor, aktis.train.predictor\n"
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'torch', 'aktis.data') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_much_data_has_all_workers_from_the_start(session: None) -> None:
    import numpy as np

    import aktis.data
    from aktis.train._predict.data import PLENTY_BYTES, is_plenty

    block = np.zeros(PLENTY_BYTES // 8)
    much = aktis.data.from_numpy([block] * 4).materialize()
    assert is_plenty(much, 2)
    assert not is_plenty(much, 3), "one worker would have a single block"
    assert not is_plenty(aktis.data.from_numpy([block[:10]] * 4).materialize(), 2)
    assert not is_plenty(aktis.data.from_numpy([block] * 4).map(lambda row: row), 2), "nobody knows yet"
