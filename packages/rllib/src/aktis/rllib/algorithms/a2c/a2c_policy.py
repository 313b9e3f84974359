"""A2C's loss is A3C's."""

from __future__ import annotations

from aktis.rllib.algorithms.a3c.a3c_policy import A3CPolicy

__all__ = ["A2CPolicy"]


class A2CPolicy(A3CPolicy):
    """To be mixed into the neural policy of a framework."""
