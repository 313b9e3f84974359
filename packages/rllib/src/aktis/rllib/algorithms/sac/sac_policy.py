"""SAC's mathematics (Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905), over the tensors of either framework.

Shapes: B rows, D dimensions of the action, A discrete actions. Discrete actions: Christodoulou (2019,
https://arxiv.org/abs/1910.07207), where
expectations over actions are sums.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from aktis.rllib.algorithms._fast_acting import FastActing, FastActingPolicy, FastGaussian, Stack, dense
from aktis.rllib.algorithms._nstep import DISCOUNTS, NStepPolicy
from aktis.rllib.algorithms._target_network import TargetNetworkPolicy
from aktis.rllib.algorithms.simple_q.simple_q_policy import q_targets
from aktis.rllib.policy._neural.groups import OptimizerGroup
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["SACPolicy", "expected_soft_value", "soft_value"]

Tensor = Any


def soft_value(q: Tensor, logp: Tensor, alpha: Any) -> Tensor:
    """V(s) = Q(s, a) - alpha log pi(a|s), a sampled from pi (equation 3). [B]"""
    return q - alpha * logp


def expected_soft_value(ops: Any, q: Tensor, log_probabilities: Tensor, alpha: Any) -> Tensor:
    """V(s) = sum_a pi(a|s) (Q(s, a) - alpha log pi(a|s)) (Christodoulou 2019, equation 10). [B, A] -> [B]"""
    return ops.sum(ops.exp(log_probabilities) * (q - alpha * log_probabilities), axis=-1)


class SACPolicy(FastActingPolicy, NStepPolicy, TargetNetworkPolicy):
    """To be mixed into the neural policy of a framework. The model is a SACTorchModel or SACTFModel."""

    ops: Any
    config: Any
    scalars: dict[str, Any]
    action_space: Any

    # -- networks

    def model_class(self) -> type[Any]:
        """The class of the model, of the framework."""
        raise NotImplementedError(f"{type(self).__name__} must define model_class()")

    def make_model(self) -> Any:
        """A policy, Q-functions and the temperature."""
        from aktis.rllib.models.catalog import ModelCatalog

        config = self.config
        self.dist_class, num_outputs = self._distribution_of(self.action_space)
        return ModelCatalog.get_model_v2(
            self.observation_space,  # type: ignore[attr-defined]
            self.action_space,
            num_outputs,
            config["model"],
            framework=self.ops.name,
            name="sac_model",
            default_model=self.model_class(),
            policy_model_config=config["policy_model_config"],
            q_model_config=config["q_model_config"],
            twin_q=bool(config["twin_q"]),
            initial_alpha=float(config["initial_alpha"]),
            target_entropy=config["target_entropy"],
        )

    def _distribution_of(self, space: Any) -> tuple[Any, int]:
        """The class of the action distribution, and its inputs."""
        from aktis.rllib.models.catalog import ModelCatalog
        from aktis.rllib.utils.spaces.simplex import Simplex

        self.discrete = isinstance(space, spaces.Discrete)
        custom = self.config["model"].get("custom_action_dist")
        if custom or self.discrete or isinstance(space, Simplex):
            return ModelCatalog.get_action_dist(space, self.config["model"], framework=self.ops.name)
        if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(
                f"SAC acts in Discrete, Box and Simplex spaces, not in {space}: choose another algorithm, such as PPO."
            )
        dists = self._distributions()
        width = int(np.prod(space.shape, dtype=np.int64))
        if not self.config["normalize_actions"]:
            return partial(dists["DiagGaussian"], action_space=space), 2 * width
        kind = "Beta" if self.config["_use_beta_distribution"] else "SquashedGaussian"
        return partial(dists[kind], low=-1.0, high=1.0, action_space=space), 2 * width

    def _distributions(self) -> dict[str, Any]:
        from aktis.rllib.models._choice import Names

        return Names(self.ops.name).dist

    def optimizer_groups(self) -> list[OptimizerGroup]:
        """One Adam each for the policy, the Q-functions and the temperature."""
        rates, model = self.config["optimization"], self.model
        schedule = self.config.get("lr_schedule")
        for name in ("actor", "critic", "entropy"):
            self.add_scalar(f"{name}_lr", float(rates[f"{name}_learning_rate"]), schedule)  # type: ignore[attr-defined]
        eps = float(self.config["adam_epsilon"])
        return [
            OptimizerGroup("actor", model.policy_variables(), lr="actor_lr", eps=eps),
            OptimizerGroup("critic", model.q_variables(), lr="critic_lr", eps=eps),
            OptimizerGroup("entropy", [model.log_alpha], lr="entropy_lr", eps=eps),
        ]

    def update_target(self, tau: float | None = None) -> None:
        """target <- tau * Q + (1 - tau) * target, of the Q-functions."""
        tau = float(self.config["tau"]) if tau is None else tau
        self.ops.copy_params(self.model.q_variables(), self.target_model.q_variables(), tau)

    # -- acting

    def action_distribution_fn(  # type: ignore[override, unused-ignore]
        self,
        model: Any,
        *,
        input_dict: Any,
        state_batches: Any,
        seq_lens: Any = None,
        explore: bool = True,
        **kwargs: Any,
    ) -> tuple[Tensor, Any, list[Any]]:
        """What the policy's network makes of observations."""
        obs, _ = model(input_dict, state_batches, seq_lens)
        inputs, state = model.get_action_model_outputs(obs, state_batches, seq_lens)
        return inputs, self.dist_class, state

    def make_quick(self) -> FastActing | None:
        """A dense network before squashed normal distributions is evaluated in NumPy."""
        from aktis.rllib.models._distributions import MAX_LOG_STD, MIN_LOG_STD
        from aktis.rllib.utils.exploration.stochastic_sampling import StochasticSampling

        layers = dense(self.model.action_model.layers())
        kind = getattr(self.dist_class, "func", None)
        squashed = getattr(kind, "__name__", "").endswith("SquashedGaussian") and kind.__module__.startswith("aktis.")
        plain = type(self.exploration) is StochasticSampling and not self.exploration.random_timesteps
        if layers is None or not squashed or not plain:
            return None
        width = int(np.prod(self.observation_space.shape, dtype=np.int64))  # type: ignore[attr-defined]
        return FastGaussian(self, Stack(layers), width, tuple(self.action_space.shape), (MIN_LOG_STD, MAX_LOG_STD))

    # -- learning

    def loss(self, model: Any, dist_class: Any, batch: Any) -> list[Tensor]:
        """J_pi, J_Q and J(alpha): one for each optimizer."""
        obs, next_obs = batch[SampleBatch.OBS], batch[SampleBatch.NEXT_OBS]
        alpha = self.ops.stop_gradient(self.ops.exp(model.log_alpha))
        return (self._discrete_loss if self.discrete else self._continuous_loss)(model, batch, obs, next_obs, alpha)

    def _sampled(self, model: Any, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Actions of the policy, differentiable in its parameters (equation 11), and log pi. [B, D], [B]"""
        dist = self.dist_class(model.get_action_model_outputs(obs)[0], model)
        actions = dist.deterministic_sample() if self.config["_deterministic_loss"] else dist.sample()
        return actions, dist.sampled_action_logp()

    def _smaller(self, model: Any, obs: Tensor, actions: Tensor | None = None) -> Tensor:
        """The smaller of the two Q-functions, or the only one."""
        q = model.get_q_values(obs, actions)
        return q if model.twin_q_net is None else self.ops.minimum(q, model.get_twin_q_values(obs, actions))

    def _continuous_loss(self, model: Any, batch: Any, obs: Tensor, next_obs: Tensor, alpha: Tensor) -> list[Tensor]:
        ops = self.ops
        # Equations 5 and 6: y = r + gamma^n (min_i Q^_i(s', a') - alpha log pi(a'|s')).
        with self.no_grad():
            next_actions, next_logp = self._sampled(model, next_obs)
            next_values = soft_value(self._smaller(self.target_model, next_obs, next_actions), next_logp, alpha)
            targets = self._targets(batch, next_values)
        actions = batch[SampleBatch.ACTIONS]
        qs = [model.get_q_values(obs, actions)]
        if model.twin_q_net is not None:
            qs.append(model.get_twin_q_values(obs, actions))
        # Equation 9: J_pi = E[alpha log pi(a|s) - min_i Q_i(s, a)], a = f(noise; s).
        policy_actions, logp = self._sampled(model, obs)
        actor_loss = ops.mean(alpha * logp - self._smaller(model, obs, policy_actions))
        return self._finished(model, batch, actor_loss, qs, targets, ops.stop_gradient(-logp), alpha)

    def _discrete_loss(self, model: Any, batch: Any, obs: Tensor, next_obs: Tensor, alpha: Tensor) -> list[Tensor]:
        ops = self.ops
        with self.no_grad():
            next_log_pi = ops.log_softmax(model.get_action_model_outputs(next_obs)[0], axis=-1)
            targets = self._targets(
                batch, expected_soft_value(ops, self._smaller(self.target_model, next_obs), next_log_pi, alpha)
            )
        actions = batch[SampleBatch.ACTIONS]
        all_qs = [model.get_q_values(obs)]
        if model.twin_q_net is not None:
            all_qs.append(model.get_twin_q_values(obs))
        smaller = ops.stop_gradient(all_qs[0] if len(all_qs) == 1 else ops.minimum(all_qs[0], all_qs[1]))
        # Christodoulou (2019), equation 12.
        log_pi = ops.log_softmax(model.get_action_model_outputs(obs)[0], axis=-1)
        actor_loss = -ops.mean(expected_soft_value(ops, smaller, log_pi, alpha))
        entropy = ops.stop_gradient(-ops.sum(ops.exp(log_pi) * log_pi, axis=-1))
        qs = [ops.gather_rows(q, actions) for q in all_qs]
        return self._finished(model, batch, actor_loss, qs, targets, entropy, alpha)

    def _targets(self, batch: Any, next_values: Tensor) -> Tensor:
        discounts = (
            batch[DISCOUNTS] if DISCOUNTS in batch else float(self.config["gamma"]) ** int(self.config["n_step"])
        )
        return q_targets(self.ops, batch[SampleBatch.REWARDS], discounts, batch[SampleBatch.TERMINATEDS], next_values)

    def _finished(
        self,
        model: Any,
        batch: Any,
        actor_loss: Tensor,
        qs: list[Tensor],
        targets: Tensor,
        entropy: Tensor,
        alpha: Tensor,
    ) -> list[Tensor]:
        ops = self.ops
        weights = batch.get("weights", 1.0)
        errors = [q - targets for q in qs]
        huber = self.config["td_error_loss_fn"] == "huber"
        critic_losses = [
            ops.mean(weights * (ops.huber(error) if huber else 0.5 * ops.square(error))) for error in errors
        ]
        critic_loss = critic_losses[0] if len(critic_losses) == 1 else critic_losses[0] + critic_losses[1]
        # Equation 18 with log alpha in the place of alpha, as in the authors' code: J = log alpha (entropy - target entropy).
        alpha_loss = ops.mean(model.log_alpha * (entropy - model.target_entropy))
        td_error = ops.abs(errors[0]) if len(errors) == 1 else 0.5 * (ops.abs(errors[0]) + ops.abs(errors[1]))
        self._seen = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "alpha_loss": alpha_loss,
            "alpha_value": alpha,
            "entropy": entropy,
            "q": qs[0],
            "td_error": td_error,
        }
        return [actor_loss, critic_loss, alpha_loss]

    def stats_fn(self, batch: Any) -> dict[str, Any]:
        """What the last losses were made of."""
        ops, seen = self.ops, {key: self.ops.stop_gradient(value) for key, value in self._seen.items()}
        return {
            "actor_loss": seen["actor_loss"],
            "critic_loss": seen["critic_loss"],
            "alpha_loss": seen["alpha_loss"],
            "alpha_value": seen["alpha_value"],
            "log_alpha_value": ops.log(seen["alpha_value"]),
            "target_entropy": self.model.target_entropy,
            "entropy": ops.mean(seen["entropy"]),
            "mean_q": ops.mean(seen["q"]),
            "max_q": ops.max(seen["q"]),
            "min_q": ops.min(seen["q"]),
            "mean_td_error": ops.mean(seen["td_error"]),
        }

    def extra_compute_grad_fetches(self) -> dict[str, Any]:
        """The TD error of each row [B], the mean of both Q-functions: priorities of the replay buffer."""
        return {"learner_stats": {}, "td_error": self.ops.stop_gradient(self._seen["td_error"])}

    def compute_td_error(self, batch: SampleBatch) -> NDArray[np.float32]:
        """|TD error| of each row, from NumPy to NumPy. [B]"""
        with self.no_grad():
            self.loss(self.model, self.dist_class, self._train_data(batch).whole())  # type: ignore[attr-defined]
        return np.asarray(self.ops.as_numpy(self._seen["td_error"]), np.float32)
