"""IMPALA: scalable distributed deep RL with importance weighted actor-learner architectures
(Espeholt et al. 2018, https://arxiv.org/abs/1802.01561).

::

    workers: unrolls of n steps with the weights that they have, again and again
        |  _collect(): as they come; rollout_fragment_length = n
        v
    _batches(): train_batch_size steps, old ones mixed in (replay_proportion)
        |  learner_queue_size batches wait at most; then sampling waits, too
        v
    LearnerThread: one update with V-trace, which corrects for the weights having changed since
        |  broadcast_interval updates
        v
    _broadcast(): new weights to the workers that delivered

Without remote workers there is nothing to overlap: batches are sampled and learned from in turns, and a run repeats bit
for bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.impala._batches import Aggregators, Replay, take_batches
from aktis.rllib.execution.learner_thread import LearnerThread
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_TRAINED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_TRAINED,
    SAMPLE_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
)
from aktis.rllib.utils.metrics.learner_info import LearnerInfoBuilder

__all__ = ["Impala", "ImpalaConfig"]

_WAIT_S = 0.02  # for fragments; then results of the learner are looked at


class ImpalaConfig(AlgorithmConfig):
    """Configuration of IMPALA.

    >>> config = ImpalaConfig().environment("CartPole-v1").rollouts(num_rollout_workers=4).training(lr=0.0003)
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or Impala)
        self.vtrace = True
        self.vtrace_clip_rho_threshold: float | None = 1.0
        self.vtrace_clip_pg_rho_threshold: float | None = 1.0
        self.vtrace_drop_last_ts = True
        self.num_multi_gpu_tower_stacks = 1
        self.minibatch_buffer_size = 1
        self.num_sgd_iter = 1
        self.replay_proportion = 0.0
        self.replay_buffer_num_slots = 0
        self.learner_queue_size = 16
        self.learner_queue_timeout = 300
        self.max_requests_in_flight_per_aggregator_worker = 2
        self.timeout_s_sampler_manager = 0.0
        self.timeout_s_aggregator_manager = 0.0
        self.broadcast_interval = 1
        self.num_aggregation_workers = 0
        self.grad_clip: float | None = 40.0
        self.opt_type = "adam"
        self.lr_schedule: Any = None
        self.decay = 0.99
        self.momentum = 0.0
        self.epsilon = 0.1
        self.vf_loss_coeff = 0.5
        self.entropy_coeff = 0.01
        self.entropy_coeff_schedule: Any = None
        self._separate_vf_optimizer = False
        self._lr_vf = 0.0005
        self.after_train_step: Any = None
        # Other defaults than those of all algorithms.
        self.rollout_fragment_length = 50
        self.train_batch_size = 500
        self.num_rollout_workers = 2
        self.lr = 0.0005
        self.min_time_s_per_iteration = 10

    def training(
        self,
        *,
        vtrace: bool = NotProvided,
        vtrace_clip_rho_threshold: float | None = NotProvided,
        vtrace_clip_pg_rho_threshold: float | None = NotProvided,
        vtrace_drop_last_ts: bool = NotProvided,
        num_multi_gpu_tower_stacks: int = NotProvided,
        minibatch_buffer_size: int = NotProvided,
        num_sgd_iter: int = NotProvided,
        replay_proportion: float = NotProvided,
        replay_buffer_num_slots: int = NotProvided,
        learner_queue_size: int = NotProvided,
        learner_queue_timeout: float = NotProvided,
        max_requests_in_flight_per_aggregator_worker: int = NotProvided,
        timeout_s_sampler_manager: float = NotProvided,
        timeout_s_aggregator_manager: float = NotProvided,
        broadcast_interval: int = NotProvided,
        num_aggregation_workers: int = NotProvided,
        grad_clip: float | None = NotProvided,
        opt_type: str = NotProvided,
        lr_schedule: Any = NotProvided,
        decay: float = NotProvided,
        momentum: float = NotProvided,
        epsilon: float = NotProvided,
        vf_loss_coeff: float = NotProvided,
        entropy_coeff: float = NotProvided,
        entropy_coeff_schedule: Any = NotProvided,
        _separate_vf_optimizer: bool = NotProvided,
        _lr_vf: float = NotProvided,
        after_train_step: Any = NotProvided,
        **kwargs: Any,
    ) -> ImpalaConfig:
        """How IMPALA learns.

        Args:
            vtrace: Correct for the policy having changed since a step was sampled; False: A3C's loss, as if it had not.
            vtrace_clip_rho_threshold: rho-bar of the value targets; None: not clipped.
            vtrace_clip_pg_rho_threshold: rho-bar of the policy gradient; None: not clipped.
            vtrace_drop_last_ts: Use the last step of a fragment whose episode goes on only for its value. False: learn
                from it, too, with the value of what follows as the policy that sampled saw it.
            num_multi_gpu_tower_stacks: Accepted for scripts that set it; batches go to one device.
            minibatch_buffer_size: How many batches are learned from in turns.
            num_sgd_iter: How often each batch is learned from.
            replay_proportion: Batches from the replay for each new one: 0.5 is one for every two.
            replay_buffer_num_slots: How many batches the replay keeps; 0: no replay.
            learner_queue_size: Batches that may wait for the learner.
            learner_queue_timeout: Seconds that a batch may wait for a place in the queue; then the learner counts as
                stuck.
            max_requests_in_flight_per_aggregator_worker: Fragments under way to each aggregation worker.
            timeout_s_sampler_manager: Seconds to wait for fragments when none is there.
            timeout_s_aggregator_manager: Seconds to wait for batches of aggregation workers.
            broadcast_interval: Updates between two broadcasts of weights.
            num_aggregation_workers: Actors that put batches together; 0: the algorithm does.
            grad_clip: The largest global norm of gradients; None: no limit.
            opt_type: ``"adam"`` or ``"rmsprop"`` (the paper's).
            lr_schedule: ``[[timestep, lr], ...]``, linear in between; None: ``lr`` always.
            decay: Of RMSProp.
            momentum: Of RMSProp.
            epsilon: Of RMSProp.
            vf_loss_coeff: Weight of the value loss.
            entropy_coeff: Weight of the entropy bonus.
            entropy_coeff_schedule: As ``lr_schedule``.
            _separate_vf_optimizer: The value function has an optimizer of its own (the model must not share layers).
            _lr_vf: Its learning rate.
            after_train_step: Called with the results of each training step.
            **kwargs: Those of ``AlgorithmConfig.training``.
        """
        super().training(**kwargs)
        return self._update(
            vtrace=vtrace,
            vtrace_clip_rho_threshold=vtrace_clip_rho_threshold,
            vtrace_clip_pg_rho_threshold=vtrace_clip_pg_rho_threshold,
            vtrace_drop_last_ts=vtrace_drop_last_ts,
            num_multi_gpu_tower_stacks=num_multi_gpu_tower_stacks,
            minibatch_buffer_size=minibatch_buffer_size,
            num_sgd_iter=num_sgd_iter,
            replay_proportion=replay_proportion,
            replay_buffer_num_slots=replay_buffer_num_slots,
            learner_queue_size=learner_queue_size,
            learner_queue_timeout=learner_queue_timeout,
            max_requests_in_flight_per_aggregator_worker=max_requests_in_flight_per_aggregator_worker,
            timeout_s_sampler_manager=timeout_s_sampler_manager,
            timeout_s_aggregator_manager=timeout_s_aggregator_manager,
            broadcast_interval=broadcast_interval,
            num_aggregation_workers=num_aggregation_workers,
            grad_clip=grad_clip,
            opt_type=opt_type,
            lr_schedule=lr_schedule,
            decay=decay,
            momentum=momentum,
            epsilon=epsilon,
            vf_loss_coeff=vf_loss_coeff,
            entropy_coeff=entropy_coeff,
            entropy_coeff_schedule=entropy_coeff_schedule,
            _separate_vf_optimizer=_separate_vf_optimizer,
            _lr_vf=_lr_vf,
            after_train_step=after_train_step,
        )

    def validate(self) -> None:
        super().validate()
        if self.opt_type not in ("adam", "rmsprop"):
            raise ValueError(f"opt_type must be 'adam' or 'rmsprop', not {self.opt_type!r}")
        if self.entropy_coeff < 0:
            raise ValueError(f"entropy_coeff must not be negative, not {self.entropy_coeff}")
        if self.replay_proportion > 0 and self.replay_buffer_num_slots < 1:
            raise ValueError(
                f"replay_proportion is {self.replay_proportion}, but replay_buffer_num_slots is "
                f"{self.replay_buffer_num_slots}: there is nothing to replay. Set replay_buffer_num_slots"
            )
        for name in ("num_sgd_iter", "minibatch_buffer_size", "learner_queue_size", "broadcast_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        learns = not self.in_evaluation  # an evaluation samples an episode at a time, and nobody learns from that
        if learns and self.vtrace and self.vtrace_drop_last_ts and self.rollout_fragment_length == 1:
            raise ValueError(
                "vtrace_drop_last_ts leaves nothing of fragments of one step: set rollout_fragment_length to 2 or more"
            )


def _sample(worker: Any) -> Any:
    return worker.sample()


class Impala(Algorithm):
    """Importance weighted actor-learner architectures."""

    _learner: LearnerThread | None = None
    _aggregators: Aggregators | None = None

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return ImpalaConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if not config["vtrace"]:
            from aktis.rllib.algorithms.a3c.a3c import A3C

            return A3C.get_default_policy_class(config)
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.impala.impala_torch_policy import ImpalaTorchPolicy

            return ImpalaTorchPolicy
        from aktis.rllib.algorithms.impala.impala_tf_policy import ImpalaTF2Policy

        return ImpalaTF2Policy

    def setup(self, config: Any) -> None:
        super().setup(config)
        settings: Any = self.config
        self._fragments: list[Any] = []  # not yet a batch
        self._replay = Replay(settings.replay_proportion, settings.replay_buffer_num_slots, seed=settings.seed)
        self._aggregators = None
        self._updates_since_broadcast = 0
        self._updates_since_target = 0
        self._delivered: set[int] = set()  # workers that wait for new weights
        if self.workers.num_remote_workers():
            self._learner = LearnerThread(
                self._local,
                minibatch_buffer_size=settings.minibatch_buffer_size,
                num_sgd_iter=settings.num_sgd_iter,
                learner_queue_size=settings.learner_queue_size,
                learner_queue_timeout=settings.learner_queue_timeout,
            )
            self._learner.start()
            if settings.num_aggregation_workers:
                self._aggregators = Aggregators(
                    settings.num_aggregation_workers,
                    settings.train_batch_size,
                    settings.max_requests_in_flight_per_aggregator_worker,
                    remake=settings.recreate_failed_workers,
                )

    def _run_one_training_iteration(self) -> Any:
        """The learner works while there are training steps, and rests while somebody evaluates, saves or acts."""
        if self._learner is None:
            return super()._run_one_training_iteration()
        self._learner.resume()
        try:
            return super()._run_one_training_iteration()
        finally:
            self._learner.pause()

    def training_step(self) -> dict[str, Any]:
        """Fragments in, batches to the learner, results out, weights back."""
        with self._timers[SAMPLE_TIMER]:
            batches = self._batches(self._collect())
        learned = LearnerInfoBuilder()
        updates = 0
        for batch, info in self._learn(batches):
            updates += 1
            self._counters[NUM_ENV_STEPS_TRAINED] += batch.env_steps()
            self._counters[NUM_AGENT_STEPS_TRAINED] += batch.agent_steps()
            learned.add_learn_on_batch_results_multi_agent(info)
        results = learned.finalize()
        if updates:
            self._counters["num_weight_updates"] += updates
            with self._held():
                self._after_updates(results, updates)
            self._updates_since_broadcast += updates
        with self._timers[SYNCH_WORKER_WEIGHTS_TIMER]:
            self._broadcast()
        after: Callable[[dict[str, Any]], None] | None = self.config.after_train_step
        if after is not None:
            after(results)
        return results

    @property
    def _local(self) -> Any:
        return self.workers.local_worker()

    # -- the steps of it

    def _collect(self) -> list[Any]:
        """What workers have sampled since the last time; without remote ones, a fragment of the local worker."""
        if not self.workers.num_remote_workers():
            return [self._local.sample()]
        self.workers.restore_before_sampling(if_none_is_left=True)
        self.workers.foreach_worker_async(_sample, healthy_only=True)
        wait_s = max(self.config.timeout_s_sampler_manager, _WAIT_S)
        found = self.workers.fetch_ready_async_reqs(
            timeout_seconds=wait_s, return_obj_refs=self._aggregators is not None
        )
        self._delivered.update(worker_id for worker_id, _ in found)
        return [fragment for _, fragment in found]

    def _batches(self, fragments: list[Any]) -> list[Any]:
        """Train batches of these fragments, with those of the replay mixed in."""
        config: Any = self.config
        if self._aggregators is not None:
            complete = sampled = self._aggregators.process(fragments, config.timeout_s_aggregator_manager)
        else:
            sampled = fragments
            self._fragments += fragments
            complete = take_batches(self._fragments, config.train_batch_size)
        for batch in sampled:
            self._counters[NUM_ENV_STEPS_SAMPLED] += batch.env_steps()
            self._counters[NUM_AGENT_STEPS_SAMPLED] += batch.agent_steps()
        if sampled:
            with self._held():
                global_vars = {"timestep": self._counters[NUM_AGENT_STEPS_SAMPLED]}
                self._local.set_global_vars(global_vars)
        return [batch for new in complete for batch in self._replay.mix(new)]

    def _learn(self, batches: list[Any]) -> list[tuple[Any, dict[str, Any]]]:
        """(batch, what learning from it gave) of the updates that have been made."""
        if self._learner is not None:
            for batch in batches:
                self._learner.put(batch)
            return self._learner.results()
        learn = self._local.learn_on_batch
        times = self.config.num_sgd_iter
        return [(batch, learn(batch)) for batch in batches for _ in range(times)]

    def _broadcast(self) -> None:
        """New weights to those workers that have delivered since the last time."""
        if self._updates_since_broadcast < self.config.broadcast_interval:
            return
        self._updates_since_broadcast = 0
        global_vars = {"timestep": self._counters[NUM_AGENT_STEPS_SAMPLED]}
        remote = sorted(self._delivered - {0})
        self._delivered.clear()
        if remote:
            self._counters["num_broadcasts"] += 1
            with self._held():
                self.workers.sync_weights(to_worker_indices=remote, global_vars=global_vars)

    def _after_updates(self, results: dict[str, Any], updates: int) -> None:
        """What belongs to updates beside the weights; APPO has target networks."""

    def _held(self) -> Any:
        """The policy, not changing."""
        return contextlib.nullcontext() if self._learner is None else self._learner.lock

    def cleanup(self) -> None:
        try:
            if self._learner is not None:
                self._learner.stop()
            if self._aggregators is not None:
                self._aggregators.stop()
        finally:
            super().cleanup()


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return ImpalaConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
