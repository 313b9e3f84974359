"""What importing aktis.air costs, and what it offers."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import aktis.air
from aktis.air import exceptions

HEAVY = "numpy pandas pyarrow fsspec rich safetensors torch cloudpickle asyncio multiprocessing tarfile tempfile concurrent.futures"


def test_nothing_heavy_is_imported() -> None:
    modules = "config session session_host checkpoint placement retention result storage exceptions callbacks predictor"
    script = f"""
import sys
import aktis.air
assert not [name for name in sys.modules if name.startswith("aktis.air.")]
before = set(sys.modules)
for name in {modules.split()!r}:
    __import__("aktis.air." + name)
print(sorted(set({HEAVY.split()!r}) & (set(sys.modules) - before)))
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"


def test_what_is_listed_is_there_and_sorted() -> None:
    assert aktis.air.__all__ == sorted(aktis.air.__all__)
    for name in aktis.air.__all__:
        assert getattr(aktis.air, name) is not None
        assert name in dir(aktis.air)
    assert aktis.air.session.report is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        aktis.air.nonsense


def test_what_ray_exports_is_there() -> None:
    names = (
        "Checkpoint DataBatchType RunConfig Result ScalingConfig DatasetConfig FailureConfig CheckpointConfig AcquiredResources "
        "ResourceRequest session checkpoint config"
    )
    assert set(names.split()) <= set(aktis.air.__all__)


@pytest.mark.parametrize("name", exceptions.__all__)
def test_exceptions_are_in_the_tree_and_pickled(name: str) -> None:
    cls = getattr(exceptions, name)
    assert issubclass(cls, exceptions.AirError)
    assert f" {name} " in f"{exceptions.__doc__} ".replace("\n", " ")
    error = pickle.loads(pickle.dumps(cls("the message")))
    assert type(error) is cls
    assert str(error) == "the message"
