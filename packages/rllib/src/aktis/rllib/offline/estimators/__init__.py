"""How good a policy would be, of what another one did."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
