"""What an import of the packages for Transformers, Lightning and reinforcement learning loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "torch", "transformers", "lightning", "pytorch_lightning", "accelerate", "datasets", "numpy", "pandas", "pyarrow",
    "aktis.data",
]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        "huggingface HuggingFaceTrainer HuggingFaceCheckpoint HuggingFacePredictor",
        "huggingface.transformers TransformersTrainer",
        "hf_transformers TransformersCheckpoint",
        "transformers TransformersPredictor",
        "lightning LightningTrainer LightningConfigBuilder LightningCheckpoint LightningPredictor prepare_trainer",
        "rl RLTrainer RLCheckpoint RLPredictor",
    ],
)
def test_nothing_heavy_is_loaded(names: str) -> None:
    module, *wanted = names.split()
    code = (
        f"import sys\nfrom aktis.train.{module} import {', '.join(wanted)}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_all_names_are_there() -> None:
    code = (
        "import aktis.train.lightning as a, aktis.train.rl as b, aktis.train.huggingface as c\n"
        "for module in (a, b, c):\n    assert set(module.__all__) <= set(dir(module)), module\n"
        "try:\n    a.nothing\nexcept AttributeError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "module 'aktis.train.lightning' has no attribute 'nothing'\n", done.stderr
