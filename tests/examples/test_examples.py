"""Every example runs to its end, in processes and inline, and checks its own result.

Those that take long are marked slow where tests of the library or the code of a page of the documentation do the same; what they
import must be there all the same. Inline only what concerns the core runs every time.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.frameworks import LIMIT_S, marks_of, warnings_for

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("aktis/", f"aktis-{os.getuid()}/", "torchinductor_")  # logs of sessions, for a while; what PyTorch has compiled
TOURS = ("quickstart.py", "rl_quickstart.py")  # see test_quickstarts.py
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name not in TOURS)
# Inline nothing waits for a CPU, workers cannot talk to each other, nobody listens; those of RLlib are the same without workers.
NATIVE_ONLY = ("debugging.py", "fault_tolerant_job.py", "pipeline_", "rllib_", "serve_", "train_", "web_crawler.py")
# Every process imports scikit-learn, XGBoost or transformers, or much is computed.
SLOW = {
    "batch_prediction",
    "cross_validation",
    "dask_dataframe",
    "data_images",
    "data_transformer_inference",
    "joblib_grid_search",
    "pipeline_data_train_serve",
    "rllib_tune",
    "serve_many_models",
    "serve_predictor",
    "serve_text_generation",
    "train_legacy_torch",
    "train_lightgbm_california",
    "train_lightning_digits",
    "train_sklearn_breast_cancer",
    "train_torch_fsdp",
    "train_transformers_tiny",
    "train_xgboost_breast_cancer",
    "tune_early_stopping",
    "tune_loggers",
    "tune_sklearn",
}


def marks(path: Path, mode: str) -> list[Any]:
    slow = path.stem in SLOW or (mode == "inline" and path.name.startswith(("data_", "tune_")))
    return [*marks_of(path.read_text()), *([pytest.mark.slow] if slow else [])]


CASES = [
    pytest.param(path.name, mode, marks=marks(path, mode), id=f"{path.name}-{mode}")
    for path in EXAMPLES
    for mode in ("native", "inline")
    if mode == "native" or not path.name.startswith(NATIVE_ONLY)
]


def run_example(name: str, mode: str, tmp_path: Path) -> str:
    """Its output. It must leave nothing behind, be it among results, among temporary files, or where it was started."""
    command = [sys.executable, str(ROOT / "examples" / name)]
    temporary, folder, results = tmp_path / "tmp", tmp_path / "elsewhere", tmp_path / "results"
    temporary.mkdir()
    folder.mkdir()
    warnings = warnings_for((ROOT / "examples" / name).read_text())
    environment = os.environ | {"AKTIS_MODE": mode, "PYTHONWARNINGS": warnings}
    environment |= {"TUNE_RESULT_DIR": str(results), "TMPDIR": str(temporary)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [*folder.iterdir(), *tmp_path.glob("results/*")] == []
    files = [str(path.relative_to(temporary)) for path in temporary.rglob("*") if path.is_file()]
    assert [path for path in files if not path.startswith(KEPT)] == []
    return done.stdout


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_example_runs(name: str, mode: str, tmp_path: Path) -> None:
    assert run_example(name, mode, tmp_path)


def test_what_examples_import_of_ours_is_there() -> None:
    """Also of those that do not run every time."""
    for path in EXAMPLES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("aktis"):
                try:
                    module = importlib.import_module(node.module)
                    missing = [one.name for one in node.names if not hasattr(module, one.name)]
                except ImportError as error:  # a framework that is not installed here
                    assert not (error.name or "").startswith("aktis"), (path, error)
                    continue
                missing = [name for name in missing if importlib.util.find_spec(f"{node.module}.{name}") is None]
                assert missing == [], (path, ast.unparse(node))


def test_examples_are_typed_and_documented() -> None:
    for path in EXAMPLES:
        text = path.read_text()
        assert text.startswith('"""'), path
        assert 'if __name__ == "__main__":' in text, path
        assert len(text.splitlines()) < 120, path
        docstring = text[3 : text.index('"""', 3)]
        assert f"\nRun: python examples/{path.name}\nNeeds: pip install " in docstring, path
        assert re.search(r"^Prints: .+\.$", docstring, re.MULTILINE), path
