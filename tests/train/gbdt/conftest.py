"""A session for all modules, and results in a temporary directory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.helpers import shared_sessions


@pytest.fixture(scope="module")
def shared_session_with_gbdt() -> None:
    pytest.importorskip("xgboost")
    pytest.importorskip("lightgbm")

    heavy = ["pandas", "pyarrow", "xgboost", "lightgbm"]  # workers are forked with them, and do not import them each
    loops = ["aktis.train.xgboost.loop", "aktis.train.xgboost.report_callback", "aktis.train.lightgbm.loop"]
    preload = [*heavy, *loops, "aktis.train._execution.worker"]
    shared_sessions.start("shared_session_with_gbdt", num_cpus=3, log_to_driver=False, preload=preload)


@pytest.fixture(scope="module")
def session(shared_session_with_gbdt: None) -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _results_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    """Rows whose columns have few values, all of them in each half: bins are the same however rows are shared."""
    rng = np.random.default_rng(7)
    rows = pd.DataFrame({name: rng.integers(0, 12, 300) / 4 for name in "abcd"})
    rows["w"] = rng.integers(1, 4, 300).astype(float)
    rows["y"] = ((rows.a - rows.b) * rows.c + rng.normal(size=300) > 0).astype(int)
    return rows


@pytest.fixture
def blocks_of() -> Callable[..., Any]:
    """Makes a data set of several blocks of a DataFrame."""
    import aktis.data

    def make(rows: pd.DataFrame, blocks: int = 3) -> Any:
        edges = [len(rows) * part // blocks for part in range(blocks + 1)]
        return aktis.data.from_pandas([rows.iloc[low:high] for low, high in zip(edges, edges[1:])])

    return make
