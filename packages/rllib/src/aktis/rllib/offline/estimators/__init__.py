"""How good a policy would be, of what another one did."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "DirectMethod": "aktis.rllib.offline.estimators.direct_method",
    "DoublyRobust": "aktis.rllib.offline.estimators.doubly_robust",
    "FQETorchModel": "aktis.rllib.offline.estimators.fqe_torch_model",
    "FeatureImportance": "aktis.rllib.offline.feature_importance",
    "ImportanceSampling": "aktis.rllib.offline.estimators.importance_sampling",
    "OffPolicyEstimator": "aktis.rllib.offline.estimators.off_policy_estimator",
    "WeightedImportanceSampling": "aktis.rllib.offline.estimators.weighted_importance_sampling",
}

__all__ = [
    "DirectMethod",
    "DoublyRobust",
    "FQETorchModel",
    "FeatureImportance",
    "ImportanceSampling",
    "OffPolicyEstimator",
    "WeightedImportanceSampling",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
