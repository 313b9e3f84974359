"""A session for a module, and results in a temporary directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    import aktis.tune  # so that workers are forked with it

    aktis.init(num_cpus=4)
    yield
    aktis.shutdown()


@pytest.fixture(autouse=True)
def _quiet_and_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
