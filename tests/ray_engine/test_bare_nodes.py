"""Nodes that have Ray and nothing else: Aktis, what it needs, and the user's modules travel by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..helpers.ray_cluster import RayCluster
from .conftest import interpreter_with_only_ray

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = """
import own, package_of_mine
import aktis

aktis.init()

@aktis.remote
def where():
    from importlib.util import find_spec
    assert "_fallbacks" in find_spec("cloudpickle").origin  # what travels along
    there = [name for name in ("numpy", "pandas", "rich", "typer") if find_spec(name)]
    return there, own.answer(), package_of_mine.text(), str(aktis.get_runtime_context().get_node_id())

@aktis.remote
class Actor:
    def call(self, value):
        return own.Value(value.number + 1)

@aktis.remote(num_returns="streaming")
def items():
    yield from (own.Value(1), own.Value(2))

found = aktis.get([where.options(resources={f"node-{i}": 0.1}).remote() for i in range(2)])
assert found[0][:3] == ([], 42, "from a file in a package"), found
assert found[0][3] != found[1][3]
actors = [Actor.options(resources={f"node-{i}": 0.1}).remote() for i in range(2)]
assert [value.number for value in aktis.get([actor.call.remote(own.Value(3)) for actor in actors])] == [4, 4]
assert [aktis.get(ref).number for ref in items.remote()] == [1, 2]

@aktis.remote
def bad():
    raise own.Problem("from afar")

try:
    aktis.get(bad.remote())
except own.Problem as error:
    assert "from afar" in str(error)
else:
    raise AssertionError
aktis.shutdown()
print("done")
"""
OWN = """
class Value:
    def __init__(self, number):
        self.number = number

class Problem(Exception):
    pass

def answer():
    return 42
"""
PACKAGE = """
from importlib.resources import files

def text():
    return files(__name__).joinpath("text.txt").read_text()
"""


@pytest.fixture(scope="module")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    pytest.importorskip("ray")
    pytest.importorskip("grpc")
    with RayCluster.start(interpreter_with_only_ray(tmp_path_factory.mktemp("bare") / "python")) as cluster:
        yield cluster
    assert cluster.processes() == {}


@pytest.mark.parametrize("how", ["ray", "client"])
def test_modules_travel(bare_cluster: RayCluster, how: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "package_of_mine" / "text.txt").write_text("from a file in a package")
    address = "ray" if how == "ray" else bare_cluster.client_address
    assert "done" in bare_cluster.run_file(tmp_path / "program.py", address=address, limit_s=200)
