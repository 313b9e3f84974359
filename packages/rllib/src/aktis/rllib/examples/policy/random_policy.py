"""A policy that does anything."""

from __future__ import annotations

from aktis.rllib.policy.random_policy import RandomPolicy

__all__ = ["RandomPolicy"]
