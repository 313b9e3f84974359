"""Simple Q-learning with a deep network (Mnih et al. 2015, https://doi.org/10.1038/nature14236), and the loop
of all that learn from replay.

for each training step:
    act in the environment (epsilon-greedily), and store the transitions in replay memory D         synchronous_parallel_sample, add
    once there are enough, as often as `training_intensity` says:                                   training_rounds
        sample a batch from D                                                                       sample_min_n_steps_from_buffer
        one gradient step on the error of Q(s, a) to r + gamma max_a' Q^(s', a')                    train_one_step
        from time to time Q^ <- Q                                                                   update_target
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.execution.rollout_ops import synchronous_parallel_sample
from aktis.rllib.execution.train_ops import train_one_step
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import (
    LAST_TARGET_UPDATE_TS,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_TARGET_UPDATES,
    SAMPLE_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TARGET_NET_UPDATE_TIMER,
)
from aktis.rllib.utils.replay_buffers.replay_buffer import StorageUnit
from aktis.rllib.utils.replay_buffers.utils import (
    make_replay_buffer,
    sample_min_n_steps_from_buffer,
    update_priorities_in_replay_buffer,
    validate_buffer_config,
)

if TYPE_CHECKING:
    from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer

__all__ = ["SimpleQ", "SimpleQConfig", "training_rounds"]

# Columns that a policy may learn from though its loss was tried out on a batch without them.
_ALWAYS_STORED = ("weights", "discounts")


def training_rounds(intensity: float | None, train_batch_size: int, steps_per_round: int) -> tuple[int, int]:
    """How often to sample and how often to learn in one training step.

    Arguments:
        intensity: timesteps learned from for each one that is sampled (None: once each).
        train_batch_size: timesteps of a gradient step.
        steps_per_round: timesteps of one round of sampling, all workers and environments together.

    Returns:
        Rounds of sampling, and gradient steps after them; one of them is 1.
    """
    if not intensity:
        return 1, 1
    learn = intensity * steps_per_round / train_batch_size
    return (round(1.0 / learn), 1) if learn < 1.0 else (1, round(learn))


class SimpleQConfig(AlgorithmConfig):
    """Configuration of SimpleQ.

    >>> config = SimpleQConfig().environment("CartPole-v1").training(lr=1e-3)
    >>> algorithm = config.build()  # doctest: +SKIP
    >>> algorithm.train()  # doctest: +SKIP
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or SimpleQ)
        self.target_network_update_freq: int = 500
        self.replay_buffer_config: dict[str, Any] = {
            "type": "MultiAgentReplayBuffer",
            "capacity": 50000,
            "replay_sequence_length": 1,
        }
        self.num_steps_sampled_before_learning_starts: int = 1000
        self.store_buffer_in_checkpoints: bool = False
        self.lr_schedule: Any = None
        self.adam_epsilon: float = 1e-8
        self.grad_clip: float | None = 40.0
        self.tau: float = 1.0
        self.training_intensity: float | None = None
        self.td_error_loss_fn: str = "huber"
        # Other defaults than those of all algorithms.
        self.rollout_fragment_length = 4
        self.lr = 5e-4
        self.train_batch_size = 32
        self.exploration_config = {
            "type": "EpsilonGreedy",
            "initial_epsilon": 1.0,
            "final_epsilon": 0.02,
            "epsilon_timesteps": 10000,
        }
        self.evaluation_config = {"explore": False}
        self.min_sample_timesteps_per_iteration = 1000

    def training(
        self,
        *,
        target_network_update_freq: int = NotProvided,
        replay_buffer_config: dict[str, Any] = NotProvided,
        store_buffer_in_checkpoints: bool = NotProvided,
        lr_schedule: Any = NotProvided,
        adam_epsilon: float = NotProvided,
        grad_clip: float | None = NotProvided,
        num_steps_sampled_before_learning_starts: int = NotProvided,
        tau: float = NotProvided,
        training_intensity: float | None = NotProvided,
        td_error_loss_fn: str = NotProvided,
        **kwargs: Any,
    ) -> SimpleQConfig:
        """How Q-learning learns.

        Args:
            target_network_update_freq: Sampled timesteps between two updates of the target network.
            replay_buffer_config: ``type`` (a class of ``aktis.rllib.utils.replay_buffers`` or its name) and its arguments.
            store_buffer_in_checkpoints: Whether the replay buffer is in checkpoints, which makes them as large as it is.
            lr_schedule: ``[[timestep, lr], ...]``, linear in between; None: ``lr`` always.
            adam_epsilon: Of Adam.
            grad_clip: The largest global norm of gradients; None: no limit.
            num_steps_sampled_before_learning_starts: Timesteps in the buffer before the first gradient step.
            tau: How far the target network moves towards the other in each update: 1 copies it, 0.005 follows it slowly.
            training_intensity: Timesteps that are learned from for each one that is sampled. None: one
                gradient step for each round of
                sampling, which is ``train_batch_size / (rollout_fragment_length * environments)``.
            td_error_loss_fn: ``"huber"`` or ``"mse"``.
            **kwargs: Those of ``AlgorithmConfig.training``.
        """
        super().training(**kwargs)
        return self._update(
            target_network_update_freq=target_network_update_freq,
            replay_buffer_config=replay_buffer_config,
            store_buffer_in_checkpoints=store_buffer_in_checkpoints,
            lr_schedule=lr_schedule,
            adam_epsilon=adam_epsilon,
            grad_clip=grad_clip,
            num_steps_sampled_before_learning_starts=num_steps_sampled_before_learning_starts,
            tau=tau,
            training_intensity=training_intensity,
            td_error_loss_fn=td_error_loss_fn,
        )

    def validate(self) -> None:
        super().validate()
        validate_buffer_config(self)
        if self.td_error_loss_fn not in ("huber", "mse"):
            raise ValueError(f"td_error_loss_fn must be 'huber' or 'mse', not {self.td_error_loss_fn!r}")
        if not 0.0 < self.tau <= 1.0:
            raise ValueError(f"tau must be above 0 and at most 1, not {self.tau}: the target network would not follow")
        if self.num_steps_sampled_before_learning_starts < 0 or self.target_network_update_freq < 0:
            raise ValueError(
                "num_steps_sampled_before_learning_starts and target_network_update_freq must not be negative"
            )
        networks = [self.model, *(self.get(name) or {} for name in ("policy_model_config", "q_model_config"))]
        if any(network.get(memory) for network in networks for memory in ("use_lstm", "use_attention")):
            raise ValueError(
                f"{type(self).__name__} learns from single timesteps, which a network with memory cannot: set use_lstm and "
                "use_attention to False (stacked frames are a short memory), or choose another algorithm, such as PPO"
            )
        if self.training_intensity is not None and self.training_intensity <= 0:
            raise ValueError(f"training_intensity must be above 0 (or None), not {self.training_intensity}")

    def steps_per_round(self) -> int:
        """Timesteps of one round of sampling, all workers and environments together."""
        return self.get_rollout_fragment_length() * self.num_envs_per_worker * max(self.num_rollout_workers, 1)


class SimpleQ(Algorithm):
    """Deep Q-learning with a replay buffer and a target network, and nothing more."""

    local_replay_buffer: ReplayBuffer | None = None

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return SimpleQConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.simple_q.simple_q_torch_policy import SimpleQTorchPolicy

            return SimpleQTorchPolicy
        from aktis.rllib.algorithms.simple_q.simple_q_tf_policy import SimpleQTF2Policy

        return SimpleQTF2Policy

    def setup(self, config: Any) -> None:
        super().setup(config)
        own: Any = self.config
        self._rounds = training_rounds(own.training_intensity, own.train_batch_size, own.steps_per_round())

    def _create_local_replay_buffer_if_necessary(self, config: AlgorithmConfig) -> Any:
        return make_replay_buffer(config["replay_buffer_config"], seed=config["seed"])

    def training_step(self) -> dict[str, Any]:
        """Some rounds of sampling and some gradient steps."""
        config: Any = self.config
        sample_rounds, learn_rounds = self._rounds
        for _ in range(sample_rounds):
            with self._timers[SAMPLE_TIMER]:
                batch: Any = synchronous_parallel_sample(worker_set=self.workers, concat=True)
            self._counters[NUM_AGENT_STEPS_SAMPLED] += batch.agent_steps()
            self._counters[NUM_ENV_STEPS_SAMPLED] += batch.env_steps()
            self._store(batch)
        results: dict[str, Any] = {}
        if self._sampled() >= max(1, config.num_steps_sampled_before_learning_starts):
            for _ in range(learn_rounds):
                results = self._learn_once() or results
        # Weights and the time that exploration goes by.
        global_vars = {"timestep": self._counters[NUM_AGENT_STEPS_SAMPLED]}
        if self.workers.num_remote_workers():
            with self._timers[SYNCH_WORKER_WEIGHTS_TIMER]:
                self.workers.sync_weights(policies=list(results) or None, global_vars=global_vars)
        local: Any = self.workers.local_worker()
        local.set_global_vars(global_vars)
        return results

    def _store(self, batch: SampleBatch | MultiAgentBatch) -> None:
        assert self.local_replay_buffer is not None
        if (
            self.local_replay_buffer.storage_unit is StorageUnit.TIMESTEPS
            and self.config.get("before_learn_on_batch") is None
        ):
            whole = batch.as_multi_agent()
            rows = {
                policy_id: self._needed(policy_id, of_policy) for policy_id, of_policy in whole.policy_batches.items()
            }
            batch = MultiAgentBatch(rows, whole.count)
        self.local_replay_buffer.add(batch)

    def _needed(self, policy_id: str, batch: SampleBatch) -> SampleBatch:
        """Without the columns that are not learned from: they would take memory, and time with each sample."""
        views = getattr(self.get_policy(policy_id), "view_requirements", {})
        used = {name for name, view in views.items() if view.used_for_training}
        if SampleBatch.OBS not in used:
            return batch
        return SampleBatch(
            {name: column for name, column in dict.items(batch) if name in used or name in _ALWAYS_STORED}
        )

    def _sampled(self) -> int:
        """Timesteps sampled so far, as `count_steps_by` counts them."""
        by_agent = self.config["count_steps_by"] == "agent_steps"
        return int(self._counters[NUM_AGENT_STEPS_SAMPLED if by_agent else NUM_ENV_STEPS_SAMPLED])

    def _learn_once(self) -> dict[str, Any]:
        """One gradient step of each policy that is trained."""
        config: Any = self.config
        assert self.local_replay_buffer is not None
        by_agent = config.count_steps_by == "agent_steps"
        batch = sample_min_n_steps_from_buffer(
            self.local_replay_buffer, config.train_batch_size, count_by_agent_steps=by_agent
        )
        if batch is None:
            return {}
        batch = batch.as_multi_agent().decompress_if_needed()
        before_learn = config.get("before_learn_on_batch")
        if before_learn is not None:
            local: Any = self.workers.local_worker()
            policies = {pid: local.get_policy(pid) for pid in local.get_policies_to_train(batch)}
            batch = before_learn(batch, policies, config.train_batch_size)
        results: dict[str, Any] = train_one_step(self, batch)
        update_priorities_in_replay_buffer(self.local_replay_buffer, config, batch, results)
        self._update_targets(list(results))
        return results

    def _update_targets(self, policy_ids: list[str]) -> None:
        now = self._sampled()
        if now - self._counters[LAST_TARGET_UPDATE_TS] < self.config["target_network_update_freq"]:
            return
        with self._timers[TARGET_NET_UPDATE_TIMER]:
            for policy_id in policy_ids:
                update = getattr(self.get_policy(policy_id), "update_target", None)
                if update is not None:
                    update()
        self._counters[NUM_TARGET_UPDATES] += 1
        self._counters[LAST_TARGET_UPDATE_TS] = now


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return SimpleQConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
