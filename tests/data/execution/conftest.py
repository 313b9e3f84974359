"""Fixtures of the execution tests: a session, and contexts that choose where plans run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import aktis
from aktis.data import DatasetContext


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """A session with two CPUs, shared by the tests of a module."""
    with aktis.init(num_cpus=2, object_store_memory=400 << 20):
        yield


@pytest.fixture
def context() -> Iterator[DatasetContext]:
    """A fresh context for one test."""
    before = DatasetContext.get_current()
    DatasetContext._set_current(fresh := DatasetContext(enable_progress_bars=False))
    yield fresh
    DatasetContext._set_current(before)


@pytest.fixture(params=["driver", "workers"])
def anywhere(request: pytest.FixtureRequest, session: None, context: DatasetContext) -> str:
    """Runs a test twice: with plans in the driver, and in workers."""
    context.enable_local_execution = request.param == "driver"
    context.local_seconds = 60.0
    return str(request.param)


@pytest.fixture
def workers(session: None, context: DatasetContext) -> DatasetContext:
    """Plans run in workers, however small they are."""
    context.enable_local_execution = False
    return context
