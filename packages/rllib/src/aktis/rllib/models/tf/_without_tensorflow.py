"""What scripts import for TensorFlow beside PyTorch, where TensorFlow is not installed: classes that can be named and derived
from, and that say what is missing when one is made."""

from __future__ import annotations

import sys
import types
from typing import Any

__all__ = ["stand_in", "stand_in_modules"]

_MODULES = {
    "attention_net": ("AttentionWrapper", "GTrXLNet"),
    "complex_input_net": ("ComplexInputNetwork",),
    "fcnet": ("FullyConnectedNetwork",),
    "misc": ("normc_initializer",),
    "recurrent_net": ("LSTMWrapper", "RecurrentNetwork"),
    "tf_action_dist": (
        "Beta", "Categorical", "Deterministic", "DiagGaussian", "Dirichlet", "GumbelSoftmax", "MultiActionDistribution",
        "MultiCategorical", "SquashedGaussian", "TFActionDistribution",
    ),
    "tf_modelv2": ("TFModelV2",),
    "visionnet": ("VisionNetwork",),
}  # fmt: skip


def stand_in(name: str) -> type[Any]:
    """A class of that name, of which no object can be made."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ImportError(f'{type(self).__name__} needs TensorFlow: pip install "aktis-rllib[tensorflow]"')

    return type(name, (), {"__init__": __init__})


def stand_in_modules(package: str) -> None:
    """Modules of a package with such classes, for those that would import TensorFlow."""
    for name, classes in _MODULES.items():
        module = types.ModuleType(f"{package}.{name}", "Where TensorFlow is not installed.")
        for cls in classes:
            setattr(module, cls, stand_in(cls))
        sys.modules[module.__name__] = module
        setattr(sys.modules[package], name, module)
