"""Public names, all of them: documented, and those at the top of each package said by something that is run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def listing() -> Iterator[ModuleType]:
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("list_public_api")
    finally:
        sys.path.remove(str(SCRIPTS))


def test_every_public_name_and_method_has_a_docstring(listing: ModuleType) -> None:
    names = listing.names()
    assert len(names) > 2000
    assert [lack for name in names for lack in listing.without_docstring(name)] == []


def test_names_of_the_packages_themselves_are_tested(listing: ModuleType) -> None:
    packages = {
        "aktis",
        "aktis.util",
        *(f"aktis.{name}" for name in ("air", "data", "rllib", "serve", "train", "tune")),
    }
    names = [name for name in listing.names() if name.module in packages]
    assert {name.module for name in names} == packages
    assert [name.full for name in names if not listing.is_tested(name)] == []
