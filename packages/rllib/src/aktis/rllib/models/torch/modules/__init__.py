"""Parts of networks."""

from __future__ import annotations

from aktis.rllib.models.torch.modules.gru_gate import GRUGate
from aktis.rllib.models.torch.modules.multi_head_attention import MultiHeadAttention
from aktis.rllib.models.torch.modules.noisy_layer import NoisyLayer
from aktis.rllib.models.torch.modules.skip_connection import SkipConnection

__all__ = ["GRUGate", "MultiHeadAttention", "NoisyLayer", "SkipConnection"]
