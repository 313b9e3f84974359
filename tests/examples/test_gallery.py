"""The gallery says what the examples say: which there are, what they are about, and what they need."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROVIDED_BY = {  # what an example imports, and what may be among its needs for that
    "PIL": "images",
    "dask": "dask",
    "grpc": "grpc",
    "grpc_tools": "grpcio-tools",
    "jax": "jax",
    "joblib": "joblib|sklearn",
    "lightgbm": "lightgbm",
    "lightning": "lightning",
    "mlflow": "mlflow",
    "numpy": "numpy|aktis-(data|train|tune|serve|rllib)|scikit-learn|dataframe",
    "pandas": "aktis-(data|train|tune)|dataframe",
    "requests": "requests",
    "sklearn": "scikit-learn|sklearn",
    "tensorboard": "tensorboard",
    "tensorflow": "tensorflow",
    "torch": "torch|lightning|huggingface",
    "transformers": "transformers|huggingface",
    "xgboost": "xgboost",
    **{f"aktis.{name}": f"aktis-({names})" for name, names in {
        "air": "air|data|train|tune|serve|rllib", "data": "data|train", "train": "train", "tune": "tune|train|rllib",
        "rllib": "rllib", "serve": "serve",
    }.items()},
}  # fmt: skip


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("write_gallery", ROOT / "scripts" / "write_gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "write_gallery", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_page_and_list_are_up_to_date(gallery: ModuleType) -> None:
    seconds = gallery.known_seconds()
    assert gallery.PAGE.read_text() == gallery.page(seconds), "run: python scripts/write_gallery.py"
    assert gallery.LIST.read_text() == gallery.listing(), "run: python scripts/write_gallery.py"
    files = {path.name for path in (ROOT / "examples").glob("*.py")}
    missing = sorted(files - {file for file, took in seconds.items() if took})
    assert not missing, f"run: python scripts/write_gallery.py --measure {' '.join(missing)}"


def test_needs_cover_what_is_imported(gallery: ModuleType) -> None:
    for example in gallery.examples():
        text = (ROOT / "examples" / example.file).read_text()
        if "hatch run" in example.needs:
            continue
        imported = set(re.findall(r"^ *(?:from|import) (aktis\.\w+|\w+)", text, re.MULTILINE))
        for line in re.findall(r"^ *from aktis import (.+)$", text, re.MULTILINE):
            imported |= {f"aktis.{name.strip()}" for name in line.split(",")}
        for module in imported & PROVIDED_BY.keys():
            assert re.search(rf"(^|[\s,\[])({PROVIDED_BY[module]})\b", example.needs), f"{example}: {module}"


def test_extras_exist(gallery: ModuleType) -> None:
    for example in gallery.examples():
        for name, extras in re.findall(r"aktis-(\w+)\[([\w,]+)\]", example.needs):
            project = (ROOT / "packages" / name / "pyproject.toml").read_text()
            for extra in extras.split(","):
                assert re.search(rf"^{extra} = \[", project, re.MULTILINE), f"{example}: no extra {extra}"
