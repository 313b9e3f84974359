"""What ``import aktis`` may do: nothing but define names, and soon."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys

import pytest

HEAVY = {
    "asyncio", "cloudpickle", "dask", "http", "joblib", "multiprocessing", "numpy", "pandas", "prometheus_client", "psutil",
    "pyarrow", "ray", "rich", "ssl", "tensorflow", "torch", "typer", "unittest", "urllib.request",
}  # fmt: skip
# aktis.data is built upon Arrow, so that numpy and pyarrow come with it. pandas comes with the first frame.
HEAVY_FOR_DATA = {
    "PIL", "asyncio", "dask", "datasets", "google.protobuf", "pandas", "polars", "prometheus_client", "pyarrow.dataset",
    "pyarrow.flight", "ray", "rich", "sklearn", "tensorflow", "torch", "typer",
}  # fmt: skip
# What a search needs is imported when it runs: `import aktis.tune` has names only.
HEAVY_FOR_LIBRARIES = HEAVY | {
    "aktis.data", "lightgbm", "lightning", "transformers", "xgboost",
    "fastapi", "fsspec", "grpc", "gymnasium", "hyperopt", "mlflow", "optuna", "pydantic", "safetensors", "scipy", "sklearn",
    "sqlite3", "starlette", "tensorboardX", "uvicorn", "uvloop", "wandb",
}  # fmt: skip

LOOK = """
import json, os, signal, sys, threading, warnings, logging
before = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), list(logging.root.handlers)
import {module}
after = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), list(logging.root.handlers)
print(json.dumps({{
    "modules": sorted(sys.modules), "threads": threading.active_count(), "unchanged": before == after,
    "descriptors": len(os.listdir("/proc/self/fd")), "native_threads": len(os.listdir("/proc/self/task")),
}}))
"""


def look(module: str) -> dict[str, object]:
    command = [sys.executable, "-W", "error", "-c", LOOK.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_import_loads_nothing_heavy() -> None:
    assert HEAVY & set(look("aktis")["modules"]) == set()  # type: ignore[call-overload]


def test_import_starts_and_changes_nothing() -> None:
    plain, ours = look("json"), look("aktis")
    assert ours["threads"] == 1
    assert ours["unchanged"]
    assert ours["descriptors"] == plain["descriptors"]


def test_import_of_data_loads_arrow_and_numpy_only() -> None:
    assert HEAVY_FOR_DATA & set(look("aktis.data")["modules"]) == set()  # type: ignore[call-overload]


def test_import_of_data_starts_and_changes_nothing() -> None:
    arrow, ours = look("numpy, pyarrow, pyarrow.compute, fsspec"), look("aktis.data")
    assert ours["threads"] == 1
    assert ours["unchanged"]
    assert ours["descriptors"] == arrow["descriptors"]
    assert ours["native_threads"] <= arrow["native_threads"]  # type: ignore[operator]


TRAIN = [
    "aktis.train", "aktis.train.torch", "aktis.train.tensorflow", "aktis.train.xgboost", "aktis.train.lightgbm",
    "aktis.train.sklearn", "aktis.train.huggingface", "aktis.train.lightning", "aktis.train.rl",
]  # fmt: skip


@pytest.mark.parametrize("module", ["aktis.air", "aktis.tune", "aktis.rllib", "aktis.serve", *TRAIN])
def test_import_of_libraries_loads_nothing_heavy(module: str) -> None:
    assert HEAVY_FOR_LIBRARIES & set(look(module)["modules"]) == set()  # type: ignore[call-overload]


QUIET = ["aktis.air", "aktis.tune", "aktis.train", "aktis.train.torch", "aktis.rllib", "aktis.serve"]


@pytest.mark.parametrize("module", QUIET)
def test_import_of_libraries_starts_and_changes_nothing(module: str) -> None:
    plain, ours = look("json"), look(module)
    assert ours["threads"] == 1
    assert ours["unchanged"]
    assert ours["descriptors"] == plain["descriptors"]


LIBRARIES = {name: name for name in ("lightgbm", "lightning", "sklearn", "tensorflow", "torch", "xgboost")}
LIBRARIES["huggingface"] = "transformers"


@pytest.mark.parametrize("module", ["aktis.air", "aktis.data", "aktis.tune", "aktis.rllib", "aktis.serve", *TRAIN])
def test_public_names_of_libraries_are_sorted_and_exist(module: str) -> None:
    library = importlib.import_module(module)
    assert sorted(library.__all__) == list(library.__all__)
    needed = LIBRARIES.get(module.rpartition(".")[2])
    if needed is not None and importlib.util.find_spec(needed) is None:
        pytest.skip(f"the names themselves need {needed}")
    assert [name for name in library.__all__ if getattr(library, name, None) is None] == []


def test_public_names_are_sorted_and_exist() -> None:
    import aktis

    assert sorted(aktis.__all__) == list(aktis.__all__)
    for name in aktis.__all__:
        assert getattr(aktis, name) is not None
    loaded = {name for name in vars(aktis) if not name.startswith("_")}
    submodules = {name.split(".")[1] for name in sys.modules if name.startswith("aktis.")}
    assert loaded - submodules - {"annotations", "pkgutil", "TYPE_CHECKING"} <= set(aktis.__all__)


def test_missing_distribution_says_what_to_install() -> None:
    code = "import aktis\ntry:\n    aktis.serve\nexcept ModuleNotFoundError as error:\n    print(error)"
    blocked = "import sys\nsys.modules['aktis.serve'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "pip install aktis-serve" in done.stdout
