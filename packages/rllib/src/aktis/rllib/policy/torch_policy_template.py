"""Classes of policies in PyTorch, put together from functions."""

from __future__ import annotations

from typing import Any

from aktis.rllib.policy.policy_template import build_policy_class


def build_torch_policy(name: str, *, loss_fn: Any, **kwargs: Any) -> type[Any]:
    """`build_policy_class` with framework "torch"."""
    return build_policy_class(name, "torch", loss_fn=loss_fn, **kwargs)
