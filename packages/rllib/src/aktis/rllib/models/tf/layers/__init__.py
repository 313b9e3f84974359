"""Layers."""

from __future__ import annotations

from aktis.rllib.models.tf.gtrxl import GRUGate
from aktis.rllib.models.tf.layers.noisy_layer import NoisyLayer

__all__ = ["GRUGate", "NoisyLayer"]
