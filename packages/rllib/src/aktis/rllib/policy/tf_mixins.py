"""What policies of one's own in TensorFlow can be mixed with, as in reference scripts. Policies of ours have all of
this already (`add_scalar`)."""

from __future__ import annotations

from typing import Any

from aktis.rllib._backend import tf_ops

__all__ = [
    "EntropyCoeffSchedule",
    "GradStatsMixin",
    "KLCoeffMixin",
    "LearningRateSchedule",
    "TargetNetworkMixin",
    "ValueNetworkMixin",
    "compute_gradients",
]


class LearningRateSchedule:
    """The learning rate follows a schedule."""

    def __init__(self, lr: float, lr_schedule: Any) -> None:
        policy: Any = self
        policy.add_scalar("lr", lr, lr_schedule)
        policy.set_scalar("lr", policy.get_scalar("lr"))


class EntropyCoeffSchedule:
    """The coefficient of the entropy follows a schedule; it is the variable `self.entropy_coeff`."""

    def __init__(self, entropy_coeff: float, entropy_coeff_schedule: Any) -> None:
        self.add_scalar("entropy_coeff", entropy_coeff, entropy_coeff_schedule)  # type: ignore[attr-defined]

    @property
    def entropy_coeff(self) -> Any:
        """Its variable."""
        return self.scalars["entropy_coeff"]  # type: ignore[attr-defined]


class KLCoeffMixin:
    """The coefficient of a penalty on the divergence from the old policy, the variable `self.kl_coeff`, which adapts
    (PPO, section 4)."""

    def __init__(self, config: Any) -> None:
        self.add_scalar("kl_coeff", config["kl_coeff"])  # type: ignore[attr-defined]
        self.kl_target = config["kl_target"]

    @property
    def kl_coeff(self) -> Any:
        """Its variable."""
        return self.scalars["kl_coeff"]  # type: ignore[attr-defined]

    def update_kl(self, sampled_kl: float) -> float:
        """Half as much again where the divergence is more than twice the target, half where it is less than half of it."""
        coeff: float = self.get_scalar("kl_coeff")  # type: ignore[attr-defined]
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
        from aktis.rllib.policy.sample_batch import SampleBatch

        policy: Any = self
        if not self._use_gae:
            return 0.0
        batch = policy._to_tensors(SampleBatch(input_dict), training=False)
        states = [batch[f"state_in_{i}"] for i in range(policy.num_state_tensors())]
        policy.model(batch, states, batch.get("seq_lens"))
        return float(policy.model.value_function()[0])

    def extra_action_out_fn(self) -> dict[str, Any]:
        """The value of each observation."""
        return {"vf_preds": self.model.value_function()}  # type: ignore[attr-defined]


class TargetNetworkMixin:
    """`self.target_model`, made with `make_model`, follows the model by `update_target(tau)`."""

    def __init__(self) -> None:
        self.update_target(tau=1.0)

    def update_target(self, tau: float | None = None) -> None:
        """target = tau model + (1 - tau) target; tau is the configuration's by default."""
        policy: Any = self
        tau = float(policy.config.get("tau", 1.0)) if tau is None else tau
        tf_ops.copy_params(policy.model, policy.target_model, tau)

    @property
    def q_func_vars(self) -> list[Any]:
        """Trained variables of the model."""
        return list(self.model.trainable_variables())  # type: ignore[attr-defined]

    @property
    def target_q_func_vars(self) -> list[Any]:
        """Trained variables of the target."""
        return list(self.target_model.trainable_variables())  # type: ignore[attr-defined]

    def set_weights(self, weights: Any) -> None:
        """Weights of the model; the target becomes the same."""
        super().set_weights(weights)  # type: ignore[misc]
        self.update_target(tau=1.0)


class GradStatsMixin:
    """`grad_gnorm` is told of each update."""

    def __init__(self) -> None:
        pass

    def grad_stats_fn(self, train_batch: Any, grads: Any) -> dict[str, Any]:
        """The length of all gradients put end to end, before they are clipped."""
        flat = [g for found in grads for g in (found if isinstance(found, list | tuple) else [found])]
        return {"grad_gnorm": tf_ops.global_norm(flat)}


def compute_gradients(policy: Any, optimizer: Any, loss: Any) -> list[tuple[Any, Any]]:
    """Gradients of a loss with the model's variables, clipped to the configuration's `grad_clip`: a `compute_gradients_fn`."""
    variables = list(policy.model.trainable_variables())
    pairs = optimizer.compute_gradients(loss, variables)
    clip = policy.config.get("grad_clip")
    if clip is None:
        return list(pairs)
    known = [(grad, variable) for grad, variable in pairs if grad is not None]
    clipped, _ = tf_ops.clip_by_global_norm([grad for grad, _ in known], clip)
    return [(grad, variable) for grad, (_, variable) in zip(clipped, known, strict=True)]
