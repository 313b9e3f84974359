"""Noise in the weights of the policy, the same for a whole episode (Plappert et al. 2018, https://arxiv.org/abs/1706.01905)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.exploration._common import is_discrete
from aktis.rllib.utils.exploration._learned import sub_exploration as make_sub_exploration
from aktis.rllib.utils.exploration.exploration import Exploration

_RANDOM_LATER = 0.01  # epsilon of the default sub-exploration, after the random steps
_GROWTH = 1.01  # alpha of section 3.1


def softmax_divergence(q: NDArray[Any], noisy_q: NDArray[Any]) -> float:
    """Mean KL(softmax(Q) || softmax(Q~)) (appendix C.1). [B, A] -> number"""
    log_p = q - q.max(axis=1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    log_n = noisy_q - noisy_q.max(axis=1, keepdims=True)
    log_n = log_n - np.log(np.exp(log_n).sum(axis=1, keepdims=True))
    return float(np.mean(np.sum(np.exp(log_p) * (log_p - log_n), axis=1)))


class ParameterNoise(Exploration):
    """Acts with weights + N(0, stddev), drawn anew for each episode; stddev follows how far actions move.

    Args:
        action_space: Discrete or Box.
        framework: "torch" or "tf2".
        policy_config: The policy's configuration.
        model: The policy's model, preferably with `add_layer_norm`.
        initial_stddev: Standard deviation of the noise in the beginning.
        random_timesteps: Timesteps of random actions in the beginning.
        sub_exploration: The exploration that chooses actions. None: epsilon-greedy with discrete actions and
            Ornstein-Uhlenbeck noise with
            others, random in the beginning.
        **kwargs: For Exploration.
    """

    def __init__(
        self,
        action_space: Any,
        *,
        framework: str,
        policy_config: Any,
        model: Any,
        initial_stddev: float = 1.0,
        random_timesteps: int = 10000,
        sub_exploration: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(action_space, framework=framework, policy_config=policy_config, model=model, **kwargs)
        self.stddev = float(initial_stddev)
        if sub_exploration is None:
            sub_exploration = self._default_sub(random_timesteps)
        self.sub_exploration = make_sub_exploration(
            sub_exploration, action_space, framework=framework, policy_config=policy_config, model=model, **kwargs
        )
        self._noise: dict[str, NDArray[Any]] | None = None
        self._clean: dict[str, NDArray[Any]] | None = None  # the weights without noise, while it is in the model
        self._begins = False

    def _default_sub(self, random_timesteps: int) -> dict[str, Any]:
        if is_discrete(self.action_space):
            points = [(0, 1.0), (random_timesteps + 1, 1.0), (random_timesteps + 2, _RANDOM_LATER)]
            return {"type": "EpsilonGreedy", "epsilon_schedule": points}
        return {"type": "OrnsteinUhlenbeckNoise", "random_timesteps": random_timesteps}

    @property
    def weights_are_noisy(self) -> bool:
        """Whether the noise is in the model now."""
        return self._clean is not None

    def on_episode_start(
        self, policy: Any, *, environment: Any = None, episode: Any = None, tf_sess: Any = None
    ) -> None:
        """The next action draws new noise."""
        self._begins = True

    def before_compute_actions(
        self, *, timestep: Any = None, explore: Any = None, tf_sess: Any = None, **kwargs: Any
    ) -> None:
        """Puts the noise into the weights, or takes it out where nothing is to be explored."""
        if not explore:
            self.remove_noise()
            return
        if self._begins or self._noise is None:
            self.remove_noise()
            self._draw()
            self._begins = False
        self._add_noise()

    def _draw(self) -> None:
        weights = self.ops.named_arrays(self.model)
        kept = ("norm", "log_std", "log_alpha", "sigma")
        self._noise = {
            name: np.asarray(self.stddev * self.rng.standard_normal(array.shape), array.dtype)
            for name, array in weights.items()
            if np.issubdtype(array.dtype, np.floating) and not any(word in name.lower() for word in kept)
        }

    def _add_noise(self) -> None:
        if self._clean is None and self._noise is not None:
            self._clean = self.ops.named_arrays(self.model)
            noisy = {
                name: array + self._noise[name] if name in self._noise else array for name, array in self._clean.items()
            }
            self.ops.load_arrays(self.model, noisy)

    def remove_noise(self) -> None:
        """The weights as they were, to the last bit."""
        if self._clean is not None:
            self.ops.load_arrays(self.model, self._clean)
            self._clean = None

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration."""
        return self.sub_exploration.get_exploration_action(  # type: ignore[no-any-return]
            action_distribution=action_distribution, timestep=timestep, explore=explore
        )

    def postprocess_trajectory(self, policy: Any, sample_batch: SampleBatch, tf_sess: Any = None) -> SampleBatch:
        """Takes the noise out of the weights, before anything is learned, and adapts its standard deviation (section 3.1)."""
        self.remove_noise()
        if SampleBatch.ACTION_DIST_INPUTS not in sample_batch:
            return sample_batch
        time = policy.global_timestep
        _, _, extra = policy.compute_actions_from_input_dict({"obs": sample_batch[SampleBatch.OBS]}, explore=False)
        policy.global_timestep = time
        self.adapt(
            np.asarray(extra[SampleBatch.ACTION_DIST_INPUTS]), np.asarray(sample_batch[SampleBatch.ACTION_DIST_INPUTS])
        )
        return sample_batch

    def adapt(self, clean: NDArray[Any], noisy: NDArray[Any]) -> None:
        """More noise where inputs of the action distribution moved less than wanted, else less. [B, n] each."""
        if is_discrete(self.action_space):
            epsilon = self.sub_exploration.epsilon() if hasattr(self.sub_exploration, "epsilon") else _RANDOM_LATER
            wanted = -math.log(1.0 - epsilon + epsilon / int(self.action_space.n)) if epsilon < 1.0 else math.inf
            distance = softmax_divergence(clean, noisy)
        else:
            wanted = float(getattr(self.sub_exploration, "ou_sigma", getattr(self.sub_exploration, "stddev", 0.2)))
            distance = float(np.sqrt(np.mean(np.square(clean - noisy))))
        self.stddev = self.stddev * _GROWTH if distance <= wanted else self.stddev / _GROWTH

    def get_state(self, sess: Any = None) -> dict[str, Any]:
        """The standard deviation, and the state of the exploration that chooses actions."""
        return {"cur_stddev": self.stddev, "sub_exploration": self.sub_exploration.get_state()}

    def set_state(self, state: Any, sess: Any = None) -> None:
        """Take over what `get_state` gave."""
        self.stddev = float(state["cur_stddev"])
        self._noise = None
        self.sub_exploration.set_state(state["sub_exploration"])
