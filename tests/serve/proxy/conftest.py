"""One session for the tests of a module that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.serve.proxy.helpers import Proxy, Stage, stage


@pytest.fixture(scope="module")
def world() -> Iterator[Stage]:
    with stage() as found:
        yield found


@pytest.fixture(scope="module")
def proxy(world: Stage) -> Proxy:
    """With the limits that tests of limits want."""
    return world.proxy(
        max_body_bytes=8 * 1024 * 1024,
        max_header_bytes=16 * 1024,
        header_timeout_s=0.6,
        body_timeout_s=0.6,
        keep_alive_timeout_s=1,
    )
