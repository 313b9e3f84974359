"""What policies of one's own in PyTorch can be mixed with, as in reference scripts.

Policies of ours have all of this already: see `NeuralPolicy.add_scalar`.
"""

from __future__ import annotations

from typing import Any

from aktis.rllib._backend import torch_ops
from aktis.rllib.policy._neural.acting import values_as_extra
from aktis.rllib.policy.sample_batch import SampleBatch


class LearningRateSchedule:
    """The learning rate follows a schedule."""

    def __init__(self, lr: float, lr_schedule: Any) -> None:
        policy: Any = self
        policy.add_scalar("lr", lr, lr_schedule)
        policy.set_scalar("lr", policy.get_scalar("lr"))


class EntropyCoeffSchedule:
    """The coefficient of the entropy follows a schedule; it is `self.entropy_coeff`."""

    def __init__(self, entropy_coeff: float, entropy_coeff_schedule: Any) -> None:
        self.add_scalar("entropy_coeff", entropy_coeff, entropy_coeff_schedule)  # type: ignore[attr-defined]

    @property
    def entropy_coeff(self) -> float:
        """Its value now."""
        value: float = self.get_scalar("entropy_coeff")  # type: ignore[attr-defined]
        return value


class KLCoeffMixin:
    """The coefficient of a penalty on the divergence from the old policy, `self.kl_coeff`, which adapts (PPO, section 4)."""

    def __init__(self, config: Any) -> None:
        self.add_scalar("kl_coeff", config["kl_coeff"])  # type: ignore[attr-defined]
        self.kl_target = config["kl_target"]

    @property
    def kl_coeff(self) -> float:
        """Its value now."""
        value: float = self.get_scalar("kl_coeff")  # type: ignore[attr-defined]
        return value

    def update_kl(self, sampled_kl: float) -> float:
        """Half as much again where the divergence is more than twice the target, half where it is less than half of it."""
        coeff = self.kl_coeff
        if sampled_kl > 2.0 * self.kl_target:
            coeff *= 1.5
        elif sampled_kl < 0.5 * self.kl_target:
            coeff *= 0.5
        self.set_scalar("kl_coeff", coeff)  # type: ignore[attr-defined]
        return coeff


class ValueNetworkMixin:
    """`self._value(**input_dict)`, the value of one observation, and `vf_preds` in the batch."""

    def __init__(self, config: Any) -> None:
        self._use_gae = config.get("use_gae", True)

    def _value(self, **input_dict: Any) -> float:
        """The value of a batch of one row."""
        policy: Any = self
        if not self._use_gae:
            return 0.0
        return float(policy.compute_values(SampleBatch(input_dict))[0])

    extra_action_out = values_as_extra


class TargetNetworkMixin:
    """`self.target_model`, made with `make_model`, follows the model by `update_target(tau)`."""

    def __init__(self) -> None:
        self.update_target(tau=1.0)

    def update_target(self, tau: float | None = None) -> None:
        """target = tau model + (1 - tau) target; tau is the configuration's by default."""
        policy: Any = self
        tau = float(policy.config.get("tau", 1.0)) if tau is None else tau
        torch_ops.copy_params(policy.model, policy.target_model, tau)

    def set_weights(self, weights: Any) -> None:
        """Weights of the model; the target becomes the same."""
        super().set_weights(weights)  # type: ignore[misc]
        self.update_target(tau=1.0)
