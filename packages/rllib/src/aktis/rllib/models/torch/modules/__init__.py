"""Parts of networks."""

from __future__ import annotations

from aktis.rllib.models.torch.modules.gtrxl import GRUGate
from aktis.rllib.models.torch.modules.noisy_layer import NoisyLayer

__all__ = ["GRUGate", "NoisyLayer"]
