"""Neural networks, action distributions and preprocessors, and the catalog that chooses among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.models._defaults import MODEL_DEFAULTS
    from aktis.rllib.models.action_dist import ActionDistribution
    from aktis.rllib.models.catalog import ModelCatalog
    from aktis.rllib.models.modelv2 import ModelV2
    from aktis.rllib.models.preprocessors import Preprocessor

_NAMES = {
    "ActionDistribution": "aktis.rllib.models.action_dist",
    "MODEL_DEFAULTS": "aktis.rllib.models._defaults",
    "ModelCatalog": "aktis.rllib.models.catalog",
    "ModelV2": "aktis.rllib.models.modelv2",
    "Preprocessor": "aktis.rllib.models.preprocessors",
}

__all__ = ["ActionDistribution", "MODEL_DEFAULTS", "ModelCatalog", "ModelV2", "Preprocessor"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
