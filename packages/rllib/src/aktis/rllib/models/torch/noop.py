"""A model that does nothing."""

from __future__ import annotations

from typing import Any

from torch import nn

from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2

Tensor = Any


class TorchNoopModel(TorchModelV2, nn.Module):  # type: ignore[misc]
    """Returns the observation: for algorithms whose networks are elsewhere."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        TorchModelV2.__init__(self, *args, **kwargs)
        nn.Module.__init__(self)

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """The flattened observation."""
        return input_dict["obs_flat"].float(), state
