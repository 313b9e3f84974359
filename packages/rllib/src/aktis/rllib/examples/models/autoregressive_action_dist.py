"""A second action that depends on the first one: the distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.examples.models._torch_structures import TorchBinaryAutoregressiveDistribution

_NAMES = {
    "TorchBinaryAutoregressiveDistribution": "aktis.rllib.examples.models._torch_structures",
}

__all__ = ["TorchBinaryAutoregressiveDistribution"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
