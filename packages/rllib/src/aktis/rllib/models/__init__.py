"""Neural networks, action distributions and preprocessors, and the catalog that chooses among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
