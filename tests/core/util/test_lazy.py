"""Packages whose names are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

PACKAGE = """
from aktis.util.lazy import lazy_names

_HOMES = {{"Thing": ".things", "sqrt": "math", "Gone": ".things", "Needy": ".needy"}}
__getattr__, __dir__ = lazy_names(__name__, _HOMES, submodules={submodules}, made={{"FRESH": lambda: []}})
"""


@pytest.fixture(params=["True", "('plain', 'needy')"])
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    name = f"lazily_{abs(hash(request.param)) % 1000}_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE.format(submodules=request.param))
    (folder / "things.py").write_text("class Thing: pass\n")
    (folder / "plain.py").write_text("value = 3\n")
    (folder / "needy.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module(name)


def test_a_name_is_imported_once_and_then_is_there(package: object) -> None:
    home = f"{package.__name__}.things"  # type: ignore[attr-defined]
    assert home not in sys.modules
    assert "Thing" not in vars(package)
    thing = package.Thing  # type: ignore[attr-defined]
    assert thing is sys.modules[home].Thing
    assert vars(package)["Thing"] is thing
    assert package.sqrt(9) == 3  # type: ignore[attr-defined]


def test_what_is_made_is_made_anew(package: object) -> None:
    assert package.FRESH == []  # type: ignore[attr-defined]
    assert package.FRESH is not package.FRESH  # type: ignore[attr-defined]


def test_submodules_are_attributes_and_nothing_else_is(package: object) -> None:
    assert package.plain.value == 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"module 'lazily_\S+' has no attribute 'nothing'"):
        package.nothing  # type: ignore[attr-defined]
    assert {"Thing", "sqrt", "FRESH", "Needy"} <= set(dir(package))


def test_a_missing_library_is_no_missing_name(package: object) -> None:
    for name in ("needy", "Needy"):
        with pytest.raises(ModuleNotFoundError, match="no_such_library"):
            getattr(package, name)
    with pytest.raises(AttributeError, match="'Gone'"):  # a table that is wrong
        package.Gone  # type: ignore[attr-defined]
