"""The gate of a GTrXL as a layer of one's own networks."""

from __future__ import annotations

from typing import Any

from aktis.rllib.models.torch.modules import gtrxl

__all__ = ["GRUGate"]


class GRUGate(gtrxl.GRUGate):
    """Lets through what came in, or what a layer made of it: Parisotto et al. (2019), section 3.2.

    Args:
        dim: Size of the last axis of both.
        init_bias: More: at first rather what came in.
        kwargs: Not used.
    """

    def __init__(self, dim: int, init_bias: float = 0.0, **kwargs: Any) -> None:
        super().__init__(dim, init_bias)

    def forward(self, inputs: Any, y: Any = None) -> Any:
        """``(x, y)``, as one argument or as two, to a tensor of their shape."""
        x, y = (inputs, y) if y is not None else inputs
        return super().forward(x, y)
