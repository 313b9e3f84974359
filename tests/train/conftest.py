"""One session for the tests of a module; directories for what runs leave."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

import aktis
from aktis import air


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """Four CPUs, of which workers take one each."""
    with aktis.init(num_cpus=4, log_to_driver=False):
        yield
    gc.collect()


@pytest.fixture
def run_config(tmp_path: Path) -> air.RunConfig:
    """A quiet run in a directory of its own."""
    return air.RunConfig(name="run", local_dir=str(tmp_path), verbose=0)
