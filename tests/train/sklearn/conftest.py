"""These tests need scikit-learn, and workers that are forked with it, so that not each of them imports it."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Iterator

import pytest
from tests.helpers import shared_sessions

collect_ignore_glob = [] if importlib.util.find_spec("sklearn") else ["test_*.py"]


@pytest.fixture(scope="module")
def shared_session_with_sklearn() -> None:
    preload = ["pandas", "sklearn.ensemble", "sklearn.linear_model", "sklearn.model_selection"]
    shared_sessions.start("shared_session_with_sklearn", num_cpus=4, log_to_driver=False, preload=preload)


@pytest.fixture(scope="module")
def session(shared_session_with_sklearn: None) -> Iterator[None]:
    yield
    gc.collect()
