"""RE3: observations that are far from others are rewarding (Seo et al. 2021, https://arxiv.org/abs/2102.09430)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.exploration._learned import encoder, sub_exploration
from aktis.rllib.utils.exploration.exploration import Exploration


def state_entropy_rewards(embeddings: NDArray[Any], k: int) -> NDArray[np.float32]:
    """log(|y_i - y_i^(k)| + 1), y_i^(k) being the k-th nearest neighbour of y_i (equation 4). [B, D] -> [B]"""
    y = np.asarray(embeddings, np.float64)
    squares = (y * y).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2.0 * (y @ y.T), 0.0))
    k = min(k, len(y) - 1)
    return np.log(np.partition(distances, k, axis=1)[:, k] + 1.0).astype(np.float32)


class RE3(Exploration):
    """Adds beta * log(distance to the k-th nearest neighbour + 1) to rewards, in the space of an encoder with
    random weights that never learns.

    Args:
        action_space: Any.
        framework: "torch" or "tf2".
        model: The policy's model.
        embeds_dim: Numbers that an observation is made to.
        encoder_net_config: Model configuration of the encoder.
        beta: Weight of the intrinsic reward in the beginning.
        beta_schedule: "constant", or "linear_decay": beta (1 - rho)^step.
        rho: Decay of beta.
        k_nn: k.
        random_timesteps: Accepted; pass `random_timesteps` to `sub_exploration` for random actions in the beginning.
        sub_exploration: The exploration that chooses actions (StochasticSampling).
        **kwargs: For Exploration.

    Raises:
        ValueError: an unknown schedule.
    """

    def __init__(
        self,
        action_space: Any,
        *,
        framework: str,
        model: Any,
        embeds_dim: int = 128,
        encoder_net_config: dict[str, Any] | None = None,
        beta: float = 0.2,
        beta_schedule: str = "constant",
        rho: float = 0.1,
        k_nn: int = 50,
        random_timesteps: int = 10000,
        sub_exploration: Any = None,
        **kwargs: Any,
    ) -> None:
        if beta_schedule not in ("constant", "linear_decay"):
            raise ValueError(f"beta_schedule of RE3 is 'constant' or 'linear_decay', not {beta_schedule!r}.")
        super().__init__(action_space, framework=framework, model=model, **kwargs)
        self.embeds_dim, self.beta, self.beta_schedule, self.rho, self.k_nn = embeds_dim, beta, beta_schedule, rho, k_nn
        self.step = 0  # trajectories so far
        self.sub_exploration = _sub(sub_exploration, action_space, framework=framework, model=model, **kwargs)
        config = (
            dict(encoder_net_config)
            if encoder_net_config is not None
            else {"fcnet_hiddens": [256], "fcnet_activation": "relu"}
        )
        with self.ops.seeded(int(self.rng.integers(2**31))):
            self.encoder_net = encoder(self.ops, model.obs_space, embeds_dim, config, "encoder_net")

    def current_beta(self) -> float:
        """The weight of the intrinsic reward now."""
        return self.beta if self.beta_schedule == "constant" else float(self.beta * (1.0 - self.rho) ** self.step)

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration."""
        return self.sub_exploration.get_exploration_action(  # type: ignore[no-any-return]
            action_distribution=action_distribution, timestep=timestep, explore=explore
        )

    def postprocess_trajectory(self, policy: Any, sample_batch: SampleBatch, tf_sess: Any = None) -> SampleBatch:
        """Rewards with the intrinsic ones."""
        obs = self.ops.from_numpy(sample_batch[SampleBatch.OBS], device=self.device)
        embeddings = np.asarray(self.ops.as_numpy(self.encoder_net({"obs": obs})[0]))
        rewards = sample_batch[SampleBatch.REWARDS] + self.current_beta() * state_entropy_rewards(embeddings, self.k_nn)
        sample_batch[SampleBatch.REWARDS] = np.asarray(rewards, np.float32)
        self.step += 1
        return sample_batch

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """The encoder's weights, the step, and the state of the exploration that chooses actions."""
        return {
            "encoder": self.ops.named_arrays(self.encoder_net),
            "step": self.step,
            "sub_exploration": self.sub_exploration.get_state(),
        }

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""
        self.ops.load_arrays(self.encoder_net, state["encoder"])
        self.step = int(state["step"])
        self.sub_exploration.set_state(state["sub_exploration"])


_sub = sub_exploration
