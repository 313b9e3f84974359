"""A way around a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["SkipConnection"]


class SkipConnection(nn.Module):  # type: ignore[misc]
    """What a layer makes of its input, and the input itself, together: their sum, or ``fan_in_layer((inputs, outputs))``.

    Args:
        layer: The layer.
        fan_in_layer: Puts both together (a GRUGate, for example).
        kwargs: Not used.
    """

    def __init__(self, layer: Any, fan_in_layer: Callable[[Any], Any] | None = None, **kwargs: Any) -> None:
        super().__init__()
        self._layer = layer
        self._fan_in_layer = fan_in_layer

    def forward(self, inputs: Any, **kwargs: Any) -> Any:
        """The same shape as `inputs`; `kwargs` are for the layer."""
        outputs = self._layer(inputs, **kwargs)
        return inputs + outputs if self._fan_in_layer is None else self._fan_in_layer((inputs, outputs))
