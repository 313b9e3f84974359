"""The gated transformer of Parisotto et al. (2019), "Stabilizing Transformers for Reinforcement Learning", over the
relative attention of Dai et al. (2019), "Transformer-XL".

Shapes: B sequences, T steps, M steps of memory, H heads, D width.

Every step attends to itself and to the M steps before it, whether those are in the memory or in the sequence:
training on sequences gives the same numbers as acting step by step. Memory that was never written (zeros, at the
beginning of an episode) is not attended to.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

Tensor = Any


class RelativeAttention(nn.Module):  # type: ignore[misc]
    """Attention to a window of M + 1 steps, with positions relative to each step: Dai et al. (2019), section 3.3."""

    def __init__(self, width: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.width = num_heads, head_dim, width
        self.query = nn.Linear(width, num_heads * head_dim, bias=False)
        self.key_value = nn.Linear(width, 2 * num_heads * head_dim, bias=False)
        self.position = nn.Linear(width, num_heads * head_dim, bias=False)
        self.out = nn.Linear(num_heads * head_dim, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(num_heads, head_dim))  # u
        self.position_bias = nn.Parameter(torch.zeros(num_heads, head_dim))  # v

    def forward(self, x_BTD: Tensor, memory_BMD: Tensor, valid_BM: Tensor) -> Tensor:
        """[B, T, D]."""
        batch, steps, _ = x_BTD.shape
        window = memory_BMD.shape[1] + 1
        heads = (self.num_heads, self.head_dim)
        both = torch.cat([memory_BMD, x_BTD], dim=1)
        query = self.query(x_BTD).view(batch, steps, *heads)
        key, value = self.key_value(both).view(batch, -1, 2, *heads).unbind(2)
        key_w = key.unfold(1, window, 1)  # [B, T, H, d, W]: of each step the window that ends with it
        value_w = value.unfold(1, window, 1)
        position = self.position(sinusoids(window, self.width, x_BTD.device)).view(window, *heads)
        content = torch.einsum("bthd,bthdw->bthw", query + self.content_bias, key_w)
        relative = torch.einsum("bthd,whd->bthw", query + self.position_bias, position)
        scores = (content + relative) / math.sqrt(self.head_dim)
        valid = torch.cat([valid_BM, valid_BM.new_ones(batch, steps)], dim=1).unfold(1, window, 1)  # [B, T, W]
        scores = scores.masked_fill(~valid.unsqueeze(2), -1e30)
        attended = torch.einsum("bthw,bthdw->bthd", torch.softmax(scores, dim=-1), value_w)
        return self.out(attended.reshape(batch, steps, -1))


def sinusoids(window: int, width: int, device: Any = None) -> Tensor:
    """Encodings [window, width] of the distances window - 1, ..., 1, 0: Vaswani et al. (2017), section 3.5."""
    distance = torch.arange(window - 1, -1, -1, dtype=torch.float32, device=device).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device=device) * (-math.log(10000.0) / width))
    angles = distance * rate
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


class GRUGate(nn.Module):  # type: ignore[misc]
    """Lets through x, or what a layer made of it (y): Parisotto et al. (2019), section 3.2, "Gated-Recurrent-Unit-type gating"."""

    def __init__(self, width: int, bias: float) -> None:
        super().__init__()
        self.of_y = nn.Linear(width, 3 * width, bias=False)  # W_r, W_z, W_g
        self.of_x = nn.Linear(width, 2 * width, bias=False)  # U_r, U_z
        self.of_rx = nn.Linear(width, width, bias=False)  # U_g
        self.bias = nn.Parameter(torch.full((width,), float(bias)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The same shape as x and y."""
        y_r, y_z, y_g = self.of_y(y).chunk(3, dim=-1)
        x_r, x_z = self.of_x(x).chunk(2, dim=-1)
        r = torch.sigmoid(y_r + x_r)
        z = torch.sigmoid(y_z + x_z - self.bias)
        h = torch.tanh(y_g + self.of_rx(r * x))
        return (1.0 - z) * x + z * h


class TransformerUnit(nn.Module):  # type: ignore[misc]
    """Attention and a position-wise network, each behind a normalisation and before a gate: Parisotto et al. (2019),
    section 3.2."""

    def __init__(self, width: int, num_heads: int, head_dim: int, mlp_width: int, gate_bias: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = RelativeAttention(width, num_heads, head_dim)
        self.attention_gate = GRUGate(width, gate_bias)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, mlp_width), nn.ReLU(), nn.Linear(mlp_width, width)
        )
        self.mlp_gate = GRUGate(width, gate_bias)

    def forward(self, x_BTD: Tensor, memory_BMD: Tensor, valid_BM: Tensor) -> Tensor:
        """[B, T, D]."""
        y = self.attention(self.attention_norm(x_BTD), self.attention_norm(memory_BMD), valid_BM)
        x = self.attention_gate(x_BTD, torch.relu(y))
        return self.mlp_gate(x, torch.relu(self.mlp(x)))


class GTrXL(nn.Module):  # type: ignore[misc]
    """A stack of transformer units, each with a memory of what came into it."""

    def __init__(
        self,
        in_size: int,
        num_units: int,
        width: int,
        num_heads: int,
        head_dim: int,
        mlp_width: int,
        gate_bias: float,
        memory: int,
        memory_training: int,
    ) -> None:
        super().__init__()
        if min(num_units, width, num_heads, head_dim, mlp_width) < 1 or min(memory, memory_training) < 0:
            raise ValueError(
                f"The sizes of a GTrXL are positive: {num_units} units, width {width}, {num_heads} heads of width {head_dim}, "
                f"inner width {mlp_width}, memory {memory} ({memory_training} in training)."
            )
        self.width, self.memory, self.memory_training = width, memory, min(memory, memory_training)
        self.embed = nn.Linear(in_size, width)
        self.units = nn.ModuleList(
            [TransformerUnit(width, num_heads, head_dim, mlp_width, gate_bias) for _ in range(num_units)]
        )

    def forward(self, x_BTN: Tensor, memories: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """[B, T, n] and a memory [B, M, D] of each unit to [B, T, D] and new memories."""
        x, new = self.embed(x_BTN), []
        for unit, memory in zip(self.units, memories):
            memory = memory.detach()
            new.append(torch.cat([memory, x.detach()], dim=1)[:, x.shape[1] :])
            if x.shape[1] > 1 and self.memory_training < self.memory:
                memory = memory[:, self.memory - self.memory_training :]
            x = unit(x, memory, memory.abs().amax(dim=-1) > 0.0)
        return x, new
