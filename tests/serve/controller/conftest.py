"""A session and a controller for all tests of this folder; each test begins with no application."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.helpers import shared_sessions
from tests.serve.controller.live import Live

import aktis
from aktis.serve._controller import get_or_create_controller


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    shared_sessions.end()
    aktis.init(num_cpus=2, resources={"slot": 1})
    yield
    aktis.shutdown()


@pytest.fixture
def live(session: None) -> Iterator[Live]:
    live = Live(get_or_create_controller())
    yield live
    live.get("shutdown")
    assert live.status().applications == {}
