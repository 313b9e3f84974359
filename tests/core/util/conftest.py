"""Every utility is tested on every engine that this build has."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

import aktis

ENGINES = ["inline"]
if importlib.util.find_spec("aktis._native.driver") is not None:
    ENGINES.append("native")


@pytest.fixture(params=ENGINES)
def session(request: pytest.FixtureRequest) -> Iterator[str]:
    """A session with two CPUs; its mode."""
    aktis.init(mode=request.param, num_cpus=2)
    try:
        yield request.param
    finally:
        aktis.shutdown()


@pytest.fixture
def native() -> Iterator[None]:
    """A session with processes, for what needs some at the same time."""
    if "native" not in ENGINES:
        pytest.skip("this build has the inline engine only")
    aktis.init(mode="native", num_cpus=2)
    try:
        yield
    finally:
        aktis.shutdown()
