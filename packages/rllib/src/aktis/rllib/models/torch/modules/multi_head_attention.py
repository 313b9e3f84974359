"""Attention of each step to itself and those before it (Vaswani et al. 2017, section 3.2.2)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

__all__ = ["MultiHeadAttention"]

Tensor = Any


class MultiHeadAttention(nn.Module):  # type: ignore[misc]
    """Several heads, each with its own queries, keys and values.

    Args:
        in_dim: Size of a step's input.
        out_dim: Size of a step's output.
        num_heads: Heads.
        head_dim: Size of a query.
        kwargs: Not used.
    """

    def __init__(self, in_dim: int, out_dim: int, num_heads: int, head_dim: int, **kwargs: Any) -> None:
        super().__init__()
        self._num_heads, self._head_dim = num_heads, head_dim
        self._qkv_layer = nn.Linear(in_dim, 3 * num_heads * head_dim, bias=False)
        self._linear_layer = nn.Linear(num_heads * head_dim, out_dim, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, T, in_dim] to [B, T, out_dim]."""
        batch, steps, _ = inputs.shape
        query, key, value = self._qkv_layer(inputs).view(batch, steps, 3, self._num_heads, self._head_dim).unbind(2)
        scores = torch.einsum("bihd,bjhd->bijh", query, key) / math.sqrt(self._head_dim)
        past = torch.ones(steps, steps, dtype=torch.bool, device=inputs.device).tril()  # step i attends to j <= i
        weights = torch.softmax(scores.masked_fill(~past[None, :, :, None], -1e30), dim=2)
        return self._linear_layer(torch.einsum("bijh,bjhd->bihd", weights, value).reshape(batch, steps, -1))
