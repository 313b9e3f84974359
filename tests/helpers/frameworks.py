"""Which environment a program needs, by what it imports."""

from __future__ import annotations

import re
from typing import Any

import pytest

LIMIT_S = 140  # for a program
WITH_TORCH = ("accelerate", "jax", "lightning", "pytorch_lightning", "torch", "transformers")


def marks_of(program: str) -> list[Any]:
    """The marks of a program: ``torch`` or ``tensorflow`` with more time, since their imports take seconds; or none."""
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", program, re.MULTILINE))
    ours = set(re.findall(r"aktis\.train\.(\w+)", program))
    learns = re.search(r"^\s*(?:from|import) aktis\.rllib\b", program, re.MULTILINE)  # policies are made with PyTorch
    if imported & {"tensorflow", "keras"} or "tensorflow" in ours:
        return [pytest.mark.tensorflow, pytest.mark.timeout(LIMIT_S + 5)]
    if learns or (imported | ours) & {*WITH_TORCH, "huggingface"}:
        return [pytest.mark.torch, pytest.mark.timeout(LIMIT_S + 5)]
    return []


def warnings_for(program: str) -> str:
    """What PYTHONWARNINGS is to be: warnings are errors, except where frameworks have their own at every release."""
    return "default" if marks_of(program) or "mlflow" in program else "error"
