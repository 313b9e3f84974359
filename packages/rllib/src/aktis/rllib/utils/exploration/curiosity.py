"""Curiosity: what cannot be foreseen is rewarding (Pathak et al. 2017, https://arxiv.org/abs/1705.05363).

phi(s), phi(s')                       features of both observations                          feature_net
a^  = g(phi(s), phi(s'))              which action was it?                                   inverse_net     (equation 2)
phi^(s') = f(phi(s), a)               what does the action lead to?                          forward_net     (equation 4)
r_i = eta / 2 |phi^(s') - phi(s')|^2  the intrinsic reward                                                   (equation 6)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.exploration._learned import Trained, dense_model, encoder, sub_exploration
from aktis.rllib.utils.exploration.exploration import Exploration


class Curiosity(Exploration):
    """Adds the intrinsic reward to those of the environment when a trajectory is post-processed, and learns from it then.

    Args:
        action_space: Discrete or MultiDiscrete.
        framework: "torch" or "tf2".
        model: The policy's model.
        feature_dim: Numbers that an observation is made to.
        feature_net_config: Model configuration of the features.
        inverse_net_hiddens: Hidden layers of the model that guesses the action.
        inverse_net_activation: Their activation.
        forward_net_hiddens: Hidden layers of the model that foresees features.
        forward_net_activation: Their activation.
        beta: Weight of the forward model's loss; 1 - beta is that of the inverse model's.
        eta: Weight of the intrinsic reward.
        lr: Learning rate.
        sub_exploration: The exploration that chooses actions (StochasticSampling).
        **kwargs: For Exploration.

    Raises:
        ValueError: the action space is another one, or the policy is sampled by several workers (each would
            learn models of its own).
    """

    def __init__(
        self,
        action_space: Any,
        *,
        framework: str,
        model: Any,
        feature_dim: int = 288,
        feature_net_config: dict[str, Any] | None = None,
        inverse_net_hiddens: Sequence[int] = (256,),
        inverse_net_activation: str = "relu",
        forward_net_hiddens: Sequence[int] = (256,),
        forward_net_activation: str = "relu",
        beta: float = 0.2,
        eta: float = 1.0,
        lr: float = 1e-3,
        sub_exploration: Any = None,
        **kwargs: Any,
    ) -> None:
        import gymnasium as gym

        if not isinstance(action_space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
            raise ValueError(
                f"Curiosity guesses discrete actions, not {action_space}: choose another type in exploration_config."
            )
        super().__init__(action_space, framework=framework, model=model, **kwargs)
        if self.num_workers > 0 and self.worker_index > 0:
            raise ValueError(
                "Curiosity learns where it samples: set num_rollout_workers=0 (more num_envs_per_worker make it faster)."
            )
        self.feature_dim, self.beta, self.eta, self.lr = feature_dim, beta, eta, lr
        self.choices = [int(n) for n in np.ravel(getattr(action_space, "nvec", getattr(action_space, "n", 0)))]
        self.sub_exploration = _sub(sub_exploration, action_space, framework, model, self, kwargs)
        ops, width = self.ops, sum(self.choices)
        config = dict(feature_net_config) if feature_net_config is not None else _config_of(model)
        with ops.seeded(int(self.rng.integers(2**31))):
            self.feature_net = encoder(ops, model.obs_space, feature_dim, config, "feature_net")
            self.inverse_net = dense_model(
                ops, 2 * feature_dim, width, inverse_net_hiddens, inverse_net_activation, "inverse_net"
            )
            self.forward_net = dense_model(
                ops, feature_dim + width, feature_dim, forward_net_hiddens, forward_net_activation, "forward_net"
            )
        self._trained = Trained(ops, [self.feature_net, self.inverse_net, self.forward_net], lr)

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration."""
        return self.sub_exploration.get_exploration_action(  # type: ignore[no-any-return]
            action_distribution=action_distribution, timestep=timestep, explore=explore
        )

    def postprocess_trajectory(self, policy: Any, sample_batch: SampleBatch, tf_sess: Any = None) -> SampleBatch:
        """Rewards with the intrinsic ones, and one step of learning."""
        ops = self.ops
        obs, next_obs = (
            ops.from_numpy(sample_batch[key], device=self.device) for key in (SampleBatch.OBS, SampleBatch.NEXT_OBS)
        )
        actions = ops.from_numpy(
            np.asarray(sample_batch[SampleBatch.ACTIONS]).reshape(len(sample_batch[SampleBatch.REWARDS]), -1),
            device=self.device,
        )
        intrinsic = np.asarray(ops.as_numpy(self._trained.step(lambda: self._loss(obs, next_obs, actions))))
        sample_batch[SampleBatch.REWARDS] = np.asarray(sample_batch[SampleBatch.REWARDS] + intrinsic, np.float32)
        return sample_batch

    def _loss(self, obs: Any, next_obs: Any, actions: Any) -> tuple[Any, Any]:
        """The loss (equation 7), and the intrinsic rewards [B]."""
        ops = self.ops
        phi, next_phi = self.feature_net({"obs": obs})[0], self.feature_net({"obs": next_obs})[0]
        logits = ops.split(self.inverse_net({"obs": ops.concat([phi, next_phi], axis=-1)})[0], self.choices, axis=-1)
        chosen = ops.unstack(ops.cast(actions, "int64"), axis=1)
        inverse = -sum(
            ops.gather_rows(ops.log_softmax(part, axis=-1), action) for part, action in zip(logits, chosen, strict=True)
        )
        one_hot = [ops.one_hot(action, n) for action, n in zip(chosen, self.choices, strict=True)]
        foreseen = self.forward_net({"obs": ops.concat([phi, *one_hot], axis=-1)})[0]
        errors = 0.5 * ops.sum(ops.square(foreseen - next_phi), axis=-1)
        loss = (1.0 - self.beta) * ops.mean(inverse) + self.beta * ops.mean(errors)
        return loss, ops.stop_gradient(self.eta * errors)

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """The weights of all models, and the state of the exploration that chooses actions."""
        return {"models": self._trained.get_state(), "sub_exploration": self.sub_exploration.get_state()}

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""
        self._trained.set_state(state["models"])
        self.sub_exploration.set_state(state["sub_exploration"])


def _sub(given: Any, action_space: Any, framework: str, model: Any, owner: Exploration, kwargs: dict[str, Any]) -> Any:
    return sub_exploration(given, action_space, framework=framework, model=model, **kwargs)


def _config_of(model: Any) -> dict[str, Any]:
    """The policy's own network without what is not a network's."""
    unwanted = (
        "custom_model",
        "custom_model_config",
        "custom_action_dist",
        "use_lstm",
        "use_attention",
        "free_log_std",
    )
    return {key: value for key, value in model.model_config.items() if key not in unwanted}
