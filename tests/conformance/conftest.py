"""One session per engine, shared by all tests that do not end it themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import aktis

from ..helpers.engines import ON_RAY, chosen_engines

CPUS = 4
CAPACITY: dict[str, Any] = {
    "num_cpus": CPUS,
    "resources": {"widget": 2},
    "log_to_driver": False,
    "configure_logging": False,
}

_CLUSTERS = ("num_cpus", "num_gpus", "resources", "object_store_memory", "labels")  # what the nodes of a cluster have

_live = ""  # the engine that the shared session runs on


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", chosen_engines(metafunc.config), scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ray warns of its own doings: of processes that it leaves when a setting is bad, of spellings that it will give up."""
    if config.getoption("--api") == "ray":
        for item in items:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:num_returns='dynamic' is deprecated"))


@pytest.fixture(scope="session", autouse=True)
def no_cluster_left() -> Iterator[None]:
    yield
    if "ray" in sys.modules:
        from ..helpers import ray_clusters

        aktis.shutdown()
        ray_clusters.stop()


def start(engine: str, **settings: Any) -> Any:
    """A session on this engine."""
    if engine == ON_RAY:
        from ..helpers import ray_clusters

        capacity = {name: settings.pop(name) for name in _CLUSTERS if name in settings}
        address = "ray" if aktis.is_initialized() else ray_clusters.address_of(capacity)
        return aktis.init(address, **settings)
    if engine == "ray":
        # Never a cluster that happens to run on this machine.
        return aktis.init(address="local", include_dashboard=False, **settings)
    return aktis.init(mode=engine, **settings)


@pytest.fixture
def session(engine: str) -> Iterator[str]:
    """A running session with four CPUs and two widgets; gives the engine's name."""
    global _live
    if not aktis.is_initialized() or _live != engine:
        aktis.shutdown()
        start(engine, **CAPACITY)
        _live = engine
    yield engine
    if not aktis.is_initialized():
        _live = ""


@pytest.fixture
def no_session(engine: str) -> Iterator[str]:
    """No session runs; one that the test starts is ended. Gives the engine's name."""
    global _live
    aktis.shutdown()
    _live = ""
    yield engine
    aktis.shutdown()
