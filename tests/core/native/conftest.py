"""A native session of two CPUs for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import aktis


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    aktis.init(num_cpus=2, mode="native")
    yield
    aktis.shutdown()
