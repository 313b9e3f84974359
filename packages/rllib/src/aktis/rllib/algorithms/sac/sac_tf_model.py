"""SAC's networks in TensorFlow 2."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from aktis.rllib._backend import tf_ops
from aktis.rllib.algorithms.sac._sac_model import SACNetworks
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2

Tensor = Any

__all__ = ["SACTFModel"]


class SACTFModel(SACNetworks, TFModelV2):
    """A policy, its Q-functions and the temperature. Derive from it, and override `build_policy_model` or
    `build_q_model`, for your own.

    Args:
        obs_space, action_space, num_outputs, model_config, name: As for TFModelV2; `num_outputs` are those of the policy.
        policy_model_config: Model configuration of the policy.
        q_model_config: Model configuration of the Q-functions.
        twin_q: Two Q-functions.
        initial_alpha: The temperature in the beginning.
        target_entropy: What it is adapted to; None or "auto" for a value by the action space.
    """

    ops = tf_ops

    def __init__(
        self,
        obs_space: Any,
        action_space: Any,
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str,
        policy_model_config: dict[str, Any] | None = None,
        q_model_config: dict[str, Any] | None = None,
        twin_q: bool = False,
        initial_alpha: float = 1.0,
        target_entropy: float | str | None = None,
    ) -> None:
        super().__init__(obs_space, action_space, num_outputs, model_config, name)
        self._build(int(num_outputs or 0), policy_model_config or {}, q_model_config or {}, twin_q, target_entropy)
        self.log_alpha = tf.Variable(math.log(initial_alpha), dtype=tf.float32)

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """The observation itself: policy and Q-functions each have their own layers."""
        return (input_dict["obs"] if self._structure is None else input_dict["obs_flat"]), state
