"""The table of what is there says the truth: it is measured again; and the tool that collects names is tried on a small Ray."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"

OLD = {
    "ray/__init__.py": "from ray.worker_api import get, old\n__all__ = ['get', 'old', 'absent']\n",
    "ray/worker_api.py": "def get(refs, timeout=None, gone=1): ...\ndef old(): ...\n",
}
NEW = {
    "ray/__init__.py": "from ray._private.api import get\nfrom ray import data\n__all__ = ['get', 'data']\n",
    "ray/_private/__init__.py": "",
    "ray/_private/api.py": "@PublicAPI\ndef get(refs, *, timeout=None): ...\n",
    "ray/data/__init__.py": "from .things import Thing as Renamed, make\n",
    "ray/data/things.py": """
        import os
        from dataclasses import dataclass
        from typing import Optional

        LIMIT = 1
        logger = 2

        class Base:
            def __init__(self, a, b=1, *rest, c, d=2, **more):
                self.seen = a
                self._hidden = b
            def inherited(self): ...

        @PublicAPI(stability="beta")
        class Thing(Base):
            @property
            def size(self): ...
            def grow(self, by) -> "Thing": ...
            @staticmethod
            def fresh(x): ...
            def _private(self): ...

        @dataclass
        class Fields:
            one: int
            two: Optional[str] = None

        def make(thing: Thing) -> Thing: ...
        def _hidden(): ...
        """,
    "ray/data/_internal/stuff.py": "def nobody(): ...",
    "ray/tests/test_it.py": "def test(): ...",
    "ray/rllib/examples/script.py": "def main(): ...",
}


def _dedent(text: str) -> str:
    return "\n".join(line.removeprefix("        ") for line in text.splitlines())


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What the script finds in two small releases: a wheel, and a folder."""
    folder = tmp_path_factory.mktemp("releases")
    with zipfile.ZipFile(folder / "old.whl", "w") as wheel:
        for name, text in OLD.items():
            wheel.writestr(f"ray-1.0.data/purelib/{name}", _dedent(text))
    for name, text in NEW.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_dedent(text))
    output = folder / "api"
    arguments = [f"1.0={folder / 'old.whl'}", f"2.0={folder / 'site'}", "--output", str(output)]
    subprocess.run([sys.executable, str(SCRIPTS / "collect_ray_api.py"), *arguments], check=True, timeout=50)
    modules: dict[str, dict[str, str]] = {}
    for name in ("core", "data"):
        data = json.loads((output / f"{name}.json").read_text())
        assert data["versions"] == ["1.0", "2.0"]
        modules |= data["modules"]
    return modules


def test_only_public_modules_are_kept(collected: dict[str, dict[str, str]]) -> None:
    assert sorted(collected) == ["ray", "ray.data", "ray.data.things", "ray.worker_api"]
    assert {name: entries[""] for name, entries in collected.items()} == {
        "ray": "3",
        "ray.data": "2",
        "ray.data.things": "2",
        "ray.worker_api": "1",
    }


def test_names_of_both_releases(collected: dict[str, dict[str, str]]) -> None:
    assert collected["ray"]["get"] == "3 f P refs,*,timeout="  # defined inside, so that it counts as the package's own
    assert collected["ray"]["old"] == "1 = - ray.worker_api:old"
    assert collected["ray"]["absent"] == "1 v -"
    assert collected["ray.worker_api"]["get"] == "1 f - refs,timeout=,gone="


def test_classes(collected: dict[str, dict[str, str]]) -> None:
    things = collected["ray.data.things"]
    assert things["Thing"] == "2 c P a,b=,*rest,c,d=,**more < ray.data.things:Base"
    assert things["Thing.size"] == "2 p P"
    assert things["Thing.grow"] == "2 m P by > ray.data.things:Thing"
    assert things["Thing.fresh"] == "2 m P x"
    assert things["Base.seen"] == "2 a -"
    assert things["Fields"] == "2 c - one,two="
    assert things["make"] == "2 f - thing > ray.data.things:Thing"
    assert things["LIMIT"] == "2 v -"
    assert not {"_hidden", "logger", "Thing._private", "Base._hidden", "os"} & set(things)
    assert collected["ray.data"]["Renamed"] == "2 = P ray.data.things:Thing"


def test_parameters_of_older_releases_are_remembered(collected: dict[str, dict[str, str]]) -> None:
    # `ray.get` of the old release was an alias, the new one is a function: kinds differ, nothing is mixed up.
    assert "~" not in collected["ray"]["get"]


def test_differences_are_found() -> None:
    """A parameter that is missing, one that is ignored and a name that is missing are seen when they are measured."""
    from aktis.compat._facts import Facts
    from aktis.compat._measure import measure

    modules = {
        "ray": {
            "": "1",
            "get": "1 f P object_refs,*,timeout=,absent=",
            "nothing": "1 f P",
            "init": "1 f P include_dashboard=,**kwargs",
            "remote": "1 f P *args,**kwargs",
        },
        "ray.util.queue": {
            "": "1",
            "Queue": "1 c P maxsize=,actor_options=",
            "Queue.put": "1 m P item,block=,timeout=,odd=",
            "Queue.odd": "1 m P",
        },
        "ray.util.nowhere": {"": "1", "x": "1 f P"},
        "ray.util.queue.inner": {"": "1", "Queue": "1 c P maxsize="},
    }
    found = measure(Facts({"versions": ["1"], "modules": modules}))
    assert found.missing == {"ray": ["nothing"], "ray.util.queue": ["Queue.odd"], "ray.util.nowhere": ["*"]}
    assert found.partly["ray:get"] == ["without absent"]
    assert found.partly["ray:init"] == ["no effect: include_dashboard (there is no web page)"]
    assert found.partly["ray.util.queue:Queue"] == ["without odd()"]
    assert found.partly["ray.util.queue:Queue.put"] == ["without odd"]
    assert "ray:remote" not in found.partly
    assert found.homes == {"ray.util.queue.inner": {"Queue": "aktis.util.queue:Queue"}}
    assert "AktisTaskError" not in found.beyond.get("ray", ())
    assert "explain" in found.beyond["ray"]


def test_homes_exist() -> None:
    """Where names of Ray's live in Aktis, without what needs a framework."""
    import importlib

    from aktis.compat._facts import support

    tried = 0
    for module, names in support().homes.items():
        if (
            not module.startswith(("ray.util", "ray.tune", "ray.dag", "ray.exceptions", "ray.experimental"))
            or "tensor" in module
        ):
            continue
        for home in names.values():
            place, _, attribute = home.partition(":")
            assert hasattr(importlib.import_module(place), attribute.partition(".")[0]), home
            tried += 1
    assert tried > 5


@pytest.mark.torch
@pytest.mark.timeout(300)
def test_table_and_page_are_up_to_date() -> None:
    pytest.importorskip("torch")
    command = [sys.executable, str(SCRIPTS / "write_compat_table.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=290, check=False)
    assert done.returncode == 0, done.stderr
