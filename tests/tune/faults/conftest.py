"""A session for a module, results in a temporary directory, and short patience."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    import aktis.tune  # so that workers are forked with it

    os.environ["TUNE_FORCE_TRIAL_CLEANUP_S"] = "2"
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "0.3"
    aktis.init(num_cpus=4)
    yield
    aktis.shutdown()
    del os.environ["TUNE_FORCE_TRIAL_CLEANUP_S"], os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"]


@pytest.fixture(autouse=True)
def _quiet_and_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path))
    monkeypatch.setenv("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
