"""One session for all modules that do with four CPUs; directories for what runs leave."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import shared_sessions

from aktis import air


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_torch() -> None:
    """Models of tests are tiny: threads that wait for each other on a busy machine take far longer."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shared_session_of_four_cpus() -> None:
    shared_sessions.start("shared_session_of_four_cpus", num_cpus=4, log_to_driver=False)


@pytest.fixture(scope="module")
def session(shared_session_of_four_cpus: None) -> Iterator[None]:
    """Four CPUs, of which workers take one each."""
    yield
    gc.collect()


@pytest.fixture
def own_session() -> None:
    """For tests that start a session themselves: the shared one has ended."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    result = yield
    inside = nextitem is not None and Path(__file__).parent in nextitem.path.parents
    shared_sessions.end_unless_used(nextitem if inside else None)
    return result


@pytest.fixture
def run_config(tmp_path: Path) -> air.RunConfig:
    """A quiet run in a directory of its own."""
    return air.RunConfig(name="run", local_dir=str(tmp_path), verbose=0)
