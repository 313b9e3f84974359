"""Which environment a program needs, by what it imports."""

from __future__ import annotations

import re
from typing import Any

import pytest

WITH_TORCH = ("accelerate", "jax", "lightning", "pytorch_lightning", "torch", "transformers")


def marks_of(program: str) -> list[Any]:
    """The marks of a program: ``torch``, ``tensorflow``, or none."""
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", program, re.MULTILINE))
    ours = set(re.findall(r"aktis\.train\.(\w+)", program))
    if imported & {"tensorflow", "keras"} or "tensorflow" in ours:
        return [pytest.mark.tensorflow]
    return [pytest.mark.torch] if (imported | ours) & {*WITH_TORCH, "huggingface"} else []
