"""Policies, and the batches of experience that they make and learn from."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "Policy": "aktis.rllib.policy.policy",
    "PolicySpec": "aktis.rllib.policy.policy",
    "TFPolicy": "aktis.rllib.policy.tf_policy",
    "TorchPolicy": "aktis.rllib.policy.torch_policy",
    "build_policy_class": "aktis.rllib.policy.policy_template",
    "build_torch_policy": "aktis.rllib.policy.torch_policy_template",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
