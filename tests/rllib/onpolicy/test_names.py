"""What the packages of the on-policy algorithms offer, without a framework."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

ALGORITHMS = {"ppo": "PPO", "pg": "PG", "a2c": "A2C", "a3c": "A3C", "impala": "Impala", "appo": "APPO"}


@pytest.mark.parametrize(("folder", "name"), ALGORITHMS.items())
def test_names_of_an_algorithm(folder: str, name: str) -> None:
    module = importlib.import_module(f"aktis.rllib.algorithms.{folder}")
    algorithm, config = getattr(module, name), getattr(module, f"{name}Config")
    assert config().algo_class is algorithm and isinstance(algorithm.get_default_config(), config)
    defaults = getattr(module, "A2C_DEFAULT_CONFIG" if folder == "a2c" else "DEFAULT_CONFIG")
    assert defaults["lr"] == config().lr
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        module.Nothing


def test_no_framework_is_loaded() -> None:
    names = ", ".join(f"aktis.rllib.algorithms.{folder}.{folder}" for folder in ALGORITHMS)
    code = f"import sys, {names}; print([m for m in ('torch', 'tensorflow', 'pandas', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
