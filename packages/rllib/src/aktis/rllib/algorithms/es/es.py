"""Evolution strategies (Salimans et al. 2017, https://arxiv.org/abs/1703.03864).

    create a large block of Gaussian noise, once                                                        create_noise
    for t = 0, 1, 2, ... do                                                                             algorithm 2
        for each worker i do
            sample epsilon from the block, and play episodes with theta + sigma epsilon and with
            theta - sigma epsilon (mirrored sampling, section 2.1)                                      Rollouts
        theta <- theta + alpha 1 / (n sigma) sum_i F_i epsilon_i, with ranks in the place of the
        returns F_i (section 2.1), and weight decay                                                     ES.training_step

Workers and driver have the same block of noise: what is sent of each episode is an index and a return.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.es.optimizers import Adam
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_TRAINED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_TRAINED,
)

__all__ = ["ES", "ESConfig", "centered_ranks", "create_noise", "gradient_of_ranks"]

_POLICY = "default_policy"


def create_noise(size: int, seed: int | None) -> NDArray[np.float32]:
    """A block of standard normal numbers."""
    return np.random.default_rng(123 if seed is None else seed).standard_normal(size, np.float32)


def centered_ranks(x: NDArray[Any]) -> NDArray[np.float32]:
    """Ranks in the place of numbers, evenly from -0.5 (the least) to 0.5 (section 2.1, "fitness shaping"). Any shape.

    Equal numbers have equal ranks: the mean of those that they would have.
    """
    flat = np.ravel(x)
    if len(flat) < 2:
        return np.zeros(np.shape(x), np.float32)
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts + 1) / 2.0)[inverse]
    return (ranks / (len(flat) - 1) - 0.5).reshape(np.shape(x)).astype(np.float32)


def gradient_of_ranks(
    noise: NDArray[np.float32], indices: NDArray[np.int64], returns: NDArray[Any], size: int
) -> NDArray[np.float32]:
    """1 / (2 n) sum_i (rank(F_i+) - rank(F_i-)) epsilon_i: the direction in which ranks rise.

    Arguments:
        noise: The block.
        indices: [n] where each epsilon begins in it.
        returns: [n, 2] of the episodes with +epsilon and with -epsilon.
        size: Length of an epsilon.
    """
    ranks = centered_ranks(returns)
    weights = ranks[:, 0] - ranks[:, 1]
    total: NDArray[np.float64] = np.zeros(size, np.float64)
    for weight, index in zip(weights, indices, strict=True):
        total += weight * noise[index : index + size]
    return (total / returns.size).astype(np.float32)


@dataclass
class Episodes:
    """What a worker played."""

    indices: list[int] = field(default_factory=list)
    returns: list[tuple[float, float]] = field(default_factory=list)
    lengths: list[tuple[int, int]] = field(default_factory=list)
    evaluated: list[Any] = field(default_factory=list)  # RolloutMetrics of episodes with theta itself

    def steps(self) -> int:
        """Timesteps of all episodes."""
        return int(sum(map(sum, self.lengths)) + sum(metrics.episode_length for metrics in self.evaluated))


class Rollouts:
    """Plays pairs of episodes on a worker; a function of it, sent to where it is.

    Args:
        theta: Weights, or a reference to them.
        noise: The block of noise, or a reference to it.
        pairs: Pairs of episodes.
        stdev: sigma.
        eval_prob: Probability of an episode with theta itself before each pair.
        seed: Of the choice of epsilons.
    """

    def __init__(self, theta: Any, noise: Any, pairs: int, stdev: float, eval_prob: float, seed: list[int]) -> None:
        self.theta, self.noise, self.pairs, self.stdev, self.eval_prob, self.seed = (
            theta,
            noise,
            pairs,
            stdev,
            eval_prob,
            seed,
        )

    def __call__(self, worker: Any) -> Episodes:
        theta, noise = _fetched(self.theta), _fetched(self.noise)
        policy = worker.policy_map[_POLICY]
        rng = np.random.default_rng([*self.seed, worker.worker_index])
        done = Episodes()
        worker.get_metrics()
        for _ in range(self.pairs):
            if rng.random() < self.eval_prob:
                policy.set_flat_weights(theta)
                done.evaluated.append(_play(worker, explore=False))
            index = int(rng.integers(0, len(noise) - len(theta) + 1))
            step = self.stdev * noise[index : index + len(theta)]
            both = []
            for mirrored in (theta + step, theta - step):
                policy.set_flat_weights(mirrored)
                both.append(_play(worker, explore=True))
            done.indices.append(index)
            done.returns.append((both[0].episode_reward, both[1].episode_reward))
            done.lengths.append((both[0].episode_length, both[1].episode_length))
        policy.set_flat_weights(theta)
        return done


def _fetched(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    import aktis

    return aktis.get(value)


def _play(worker: Any, explore: bool) -> Any:
    """One whole episode; a faulty one is played again."""
    policy = worker.policy_map[_POLICY]
    policy.adds_noise = explore
    while True:
        worker.sample()
        metrics = [episode for episode in worker.get_metrics() if not episode.episode_faulty]
        if metrics:
            return metrics[-1]


class ESConfig(AlgorithmConfig):
    """Configuration of ES.

    >>> config = ESConfig().environment("CartPole-v1").rollouts(num_rollout_workers=2).training(stepsize=0.02, noise_size=1_000_000)
    >>> algorithm = config.build()  # doctest: +SKIP
    >>> algorithm.train()  # doctest: +SKIP
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or ES)
        self.action_noise_std: float = 0.01
        self.l2_coeff: float = 0.005
        self.noise_stdev: float = 0.02
        self.episodes_per_batch: int = 1000
        self.eval_prob: float = 0.03
        self.stepsize: float = 0.01
        self.noise_size: int = 250_000_000
        self.report_length: int = 10
        self.tf_single_threaded: bool = True
        # Other defaults than those of all algorithms.
        self.train_batch_size = 10000
        self.num_rollout_workers = 10
        self.observation_filter = "MeanStdFilter"
        self.batch_mode = "complete_episodes"
        self.rollout_fragment_length = 1
        self.exploration_config = {"type": "StochasticSampling"}
        self.evaluation_config = {"num_envs_per_worker": 1}

    def training(
        self,
        *,
        action_noise_std: float = NotProvided,
        l2_coeff: float = NotProvided,
        noise_stdev: float = NotProvided,
        episodes_per_batch: int = NotProvided,
        eval_prob: float = NotProvided,
        stepsize: float = NotProvided,
        noise_size: int = NotProvided,
        report_length: int = NotProvided,
        tf_single_threaded: bool = NotProvided,
        **kwargs: Any,
    ) -> ESConfig:
        """How ES learns.

        Args:
            action_noise_std: Standard deviation of the noise on continuous actions.
            l2_coeff: Weight decay.
            noise_stdev: sigma, the standard deviation of the noise on weights.
            episodes_per_batch: Episodes of an iteration, at least.
            eval_prob: Probability of an episode without noise before each pair; results tell of these.
            stepsize: Learning rate.
            noise_size: Numbers in the block of noise (4 bytes each).
            report_length: Over how many iterations ``info`` averages the returns of episodes without noise.
            tf_single_threaded: Accepted, and without effect.
            **kwargs: Those of ``AlgorithmConfig.training``; ``train_batch_size`` are timesteps of an iteration, at least.
        """
        super().training(**kwargs)
        return self._update(
            action_noise_std=action_noise_std,
            l2_coeff=l2_coeff,
            noise_stdev=noise_stdev,
            episodes_per_batch=episodes_per_batch,
            eval_prob=eval_prob,
            stepsize=stepsize,
            noise_size=noise_size,
            report_length=report_length,
            tf_single_threaded=tf_single_threaded,
        )

    def validate(self) -> None:
        super().validate()
        if self.in_evaluation:
            return
        if self.is_multi_agent():
            raise ValueError("ES trains one policy of one agent: choose another algorithm for several, such as PPO")
        if self.num_envs_per_worker != 1:
            raise ValueError(
                f"num_envs_per_worker must be 1 with ES, not {self.num_envs_per_worker}: each episode has weights of its own"
            )
        if self.batch_mode != "complete_episodes" or self.rollout_fragment_length != 1:
            raise ValueError(
                "ES plays whole episodes, one at a time: leave batch_mode and rollout_fragment_length as they are"
            )
        if not self.noise_stdev > 0:
            raise ValueError(f"noise_stdev must be above 0, not {self.noise_stdev}: all episodes would be the same")
        if self.episodes_per_batch < 2:
            raise ValueError(
                f"episodes_per_batch must be at least 2, not {self.episodes_per_batch}: ranks compare episodes"
            )
        if not 0 <= self.eval_prob <= 1:
            raise ValueError(f"eval_prob is a probability, not {self.eval_prob}")


class ES(Algorithm):
    """Evolution strategies."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return ESConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        from aktis.rllib.algorithms.es import es_policy

        return es_policy.ESTorchPolicy if config["framework"] == "torch" else es_policy.ESTF2Policy

    def setup(self, config: Any) -> None:
        super().setup(config)
        own: Any = self.config
        policy: Any = self.get_policy()
        if own.noise_size < policy.num_params:
            raise ValueError(
                f"noise_size={own.noise_size} is less than one epsilon: the policy has {policy.num_params} weights"
            )
        self._noise = create_noise(own.noise_size, own.seed)
        self._noise_ref = self._shared(self._noise)
        self._optimizer = Adam(policy.num_params, own.stepsize)
        self._episodes_so_far = 0
        self._evaluated: list[float] = []

    def _shared(self, array: NDArray[Any]) -> Any:
        """An array in the object store, once for all workers; itself where there are none."""
        if self.workers.num_remote_workers() == 0:
            return array
        import aktis

        return aktis.put(array)

    def training_step(self) -> dict[str, Any]:
        """One generation (algorithm 2)."""
        config: Any = self.config
        policy: Any = self.get_policy()
        theta = policy.get_flat_weights()
        played = self._play(theta, config)
        indices = np.array([index for one in played for index in one.indices], np.int64)
        returns = np.array([pair for one in played for pair in one.returns], np.float64)  # [n, 2]
        ascent = gradient_of_ranks(self._noise, indices, returns, len(theta))
        theta, ratio = self._optimizer.update(theta, -ascent + config.l2_coeff * theta)
        policy.set_flat_weights(theta)
        stats = self._note(played, theta, ascent, ratio)
        global_vars = self._global_vars()
        if self.workers.num_remote_workers():
            self.workers.sync_weights(global_vars=global_vars)
        local: Any = self.workers.local_worker()
        local.set_global_vars(global_vars)
        return {_POLICY: {"learner_stats": stats}}

    def _play(self, theta: NDArray[np.float32], config: Any) -> list[Episodes]:
        """Rounds of episodes until there are enough of them and of timesteps. In the order of workers."""
        played: list[Episodes] = []
        shared, episodes, steps, rounds = self._shared(theta), 0, 0, 0
        workers = max(1, self.workers.num_healthy_remote_workers())
        seed = config.seed if config.seed is not None else int(np.random.SeedSequence().generate_state(1)[0])
        while episodes < config.episodes_per_batch or steps < config.train_batch_size:
            pairs = max(1, -(-(config.episodes_per_batch - episodes) // (2 * workers)))
            pairs = min(pairs, 8)  # so that all workers are done at about the same time
            tell: Callable[[Any], Episodes] = Rollouts(
                shared,
                self._noise_ref,
                pairs,
                config.noise_stdev,
                config.eval_prob,
                [int(seed), self._optimizer.t, rounds],
            )
            self.workers.restore_before_sampling()
            found = self.workers.foreach_worker(
                tell, local_worker=self.workers.num_remote_workers() == 0, healthy_only=True
            )
            played += found
            episodes += sum(2 * len(one.indices) for one in found)
            steps += sum(one.steps() for one in found)
            rounds += 1
        return played

    def _note(self, played: list[Episodes], theta: NDArray[Any], ascent: NDArray[Any], ratio: float) -> dict[str, Any]:
        """Counts what was done, and says what is to be told of it."""
        steps = sum(one.steps() for one in played)
        for counter in (NUM_ENV_STEPS_SAMPLED, NUM_AGENT_STEPS_SAMPLED, NUM_ENV_STEPS_TRAINED, NUM_AGENT_STEPS_TRAINED):
            self._counters[counter] += steps
        evaluated = [metrics for one in played for metrics in one.evaluated]
        self._episodes_to_be_collected.extend(evaluated)
        episodes = sum(2 * len(one.indices) for one in played)
        self._episodes_so_far += episodes
        if evaluated:
            self._evaluated = [*self._evaluated, float(np.mean([metrics.episode_reward for metrics in evaluated]))][
                -self.config.report_length :
            ]
        noisy = np.array([pair for one in played for pair in one.returns])
        return {
            "weights_norm": float(np.linalg.norm(theta)),
            "grad_norm": float(np.linalg.norm(ascent)),
            "update_ratio": ratio,
            "episodes_this_iter": episodes,
            "episodes_so_far": self._episodes_so_far,
            "noisy_reward_mean": float(noisy.mean()),
            "noisy_reward_max": float(noisy.max()),
            "eval_reward_mean": float(np.mean(self._evaluated)) if self._evaluated else None,
        }

    def _training_state(self) -> dict[str, Any]:
        return {
            "optimizer": self._optimizer.get_state(),
            "episodes_so_far": self._episodes_so_far,
            "evaluated": self._evaluated,
        }

    def _load_training_state(self, state: Any) -> None:
        if "optimizer" in state:
            self._optimizer.set_state(state["optimizer"])
            self._episodes_so_far = int(state["episodes_so_far"])
            self._evaluated = list(state["evaluated"])


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return ESConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
