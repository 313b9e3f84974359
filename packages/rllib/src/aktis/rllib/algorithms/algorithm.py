"""Algorithms: what trains, evaluates, saves and restores policies; a trainable of aktis.tune."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._algorithm.actions import ActionsPart
from aktis.rllib.algorithms._algorithm.checkpoints import CheckpointsPart
from aktis.rllib.algorithms._algorithm.evaluation import EvaluationPart
from aktis.rllib.algorithms._algorithm.iteration import Iteration
from aktis.rllib.algorithms._algorithm.names import EnvCreator
from aktis.rllib.algorithms._algorithm.policies import PoliciesPart
from aktis.rllib.algorithms._algorithm.resources import bundles_of, check_resources, wants_evaluation_workers
from aktis.rllib.algorithms._algorithm.results import ResultsPart
from aktis.rllib.algorithms._algorithm.usage import Usage
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.utils._logs import set_log_level
from aktis.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED,
    SAMPLE_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TRAINING_ITERATION_TIMER,
)
from aktis.rllib.utils.metrics.timers import Timer
from aktis.tune.trainable import Trainable

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory
    from aktis.rllib.evaluation.worker_set import WorkerSet
    from aktis.rllib.policy.policy import Policy

__all__ = ["Algorithm", "AlgorithmConfig"]

logger = logging.getLogger(__name__)


class Algorithm(ActionsPart, EvaluationPart, ResultsPart, PoliciesPart, CheckpointsPart, Trainable):
    """Base of algorithms. A subclass says what is different: :meth:`get_default_config`, :meth:`get_default_policy_class` and
    :meth:`training_step`.

    ::

        algorithm = PPOConfig().environment("CartPole-v1").build()
        for _ in range(10):
            print(algorithm.train()["episode_reward_mean"])
        path = algorithm.save()
        algorithm.stop()

    Args:
        config: An AlgorithmConfig, or a dict with what is different from the default one.
        env: The environment, instead of that of the configuration.
        logger_creator: ``f(config)`` makes what results are logged with.
        kwargs: For :class:`aktis.tune.Trainable`.

    Raises:
        KeyError: a setting that does not exist.
        ValueError: a setting that makes no sense.
    """

    _stopped = False

    def __init__(
        self,
        config: AlgorithmConfig | Mapping[str, Any] | None = None,
        env: Any = None,
        logger_creator: Callable[[Any], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        made = self._as_config(config)
        if env is not None:
            made.env = env
        made.validate()
        made.freeze()
        self._config_dict = made.to_dict()
        self.evaluation_workers = None
        self.evaluation_config = None
        self.local_replay_buffer = None
        self.reward_estimators = {}
        creator = logger_creator or made.logger_creator or _logger_of(made.logger_config)
        try:
            super().__init__(made, creator, **kwargs)  # type: ignore[arg-type]  # what it says of dicts holds for it
        except BaseException:
            self.cleanup()
            raise

    @classmethod
    def _as_config(cls, config: AlgorithmConfig | Mapping[str, Any] | None) -> AlgorithmConfig:
        default = cls.get_default_config()
        if isinstance(config, AlgorithmConfig):
            missing = (
                [name for name in default._fields() if not config._has(name)]
                if isinstance(default, AlgorithmConfig)
                else []
            )
            if missing:
                raise TypeError(
                    f"{cls.__name__} needs a {type(default).__name__}: {type(config).__name__} has no {missing[0]!r}"
                )
            made = config if not config._is_frozen else config.copy(copy_frozen=False)
        else:
            if not isinstance(default, AlgorithmConfig):  # a dict, in algorithms of users
                default = AlgorithmConfig().update_from_dict(default)
            made = default.copy(copy_frozen=False).update_from_dict(config or {})
        if made.algo_class is None:
            made.algo_class = cls
        return made

    # -- what an algorithm is --------------------------------------------------------------------------

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        """The configuration with its defaults. A subclass returns its own."""
        return AlgorithmConfig(algo_class=cls)

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> type[Policy] | None:
        """The class of policies that have none of their own.

        Args:
            config: It may depend on the framework, for example.
        """
        return None

    def training_step(self) -> dict[str, Any]:
        """Sample, learn, and give the workers the new weights: one round of them, which an iteration is made of.

        Returns:
            What learning reports, by policy.
        """
        from aktis.rllib.execution.rollout_ops import synchronous_parallel_sample
        from aktis.rllib.execution.train_ops import multi_gpu_train_one_step, train_one_step

        config = self.config
        agents = config.count_steps_by == "agent_steps"
        size: dict[str, Any] = {"max_agent_steps" if agents else "max_env_steps": config.train_batch_size}
        with self._timers[SAMPLE_TIMER]:
            sampled: Any = synchronous_parallel_sample(worker_set=self.workers, **size)
        batch = sampled.as_multi_agent()
        self._counters[NUM_AGENT_STEPS_SAMPLED] += batch.agent_steps()
        self._counters[NUM_ENV_STEPS_SAMPLED] += batch.env_steps()

        simple = config.get("simple_optimizer", True)
        results: dict[str, Any] = (train_one_step if simple else multi_gpu_train_one_step)(self, batch)

        with self._timers[SYNCH_WORKER_WEIGHTS_TIMER]:
            policies = list(results) or None
            self.workers.sync_weights(policies=policies, global_vars=self._global_vars())
        return results

    @staticmethod
    def validate_env(env: Any, env_context: Any) -> None:
        """For algorithms: raise an error if an environment is not one for them.

        Args:
            env: It.
            env_context: What it was made from.
        """

    def validate_config(self, config: Any) -> None:
        """For algorithms as they were written before ``AlgorithmConfig.validate()``: check settings, or change them.

        Args:
            config: Of this algorithm; also to be read and written as a dictionary.
        """

    # -- set-up --------------------------------------------------------------------------------------------

    def setup(self, config: Any) -> None:
        """Make workers, policies and whatever training needs.

        Args:
            config: The configuration.
        """
        self.config: Any = self._frozen(config)
        self._stopped = False
        self._counters = defaultdict(int)
        self._timers = defaultdict(Timer)
        self._episode_history = []
        self._episodes_to_be_collected = []
        self.evaluation_metrics = {}
        self._usage = Usage() if self.config.log_sys_usage else None
        os.environ.update({name: str(value) for name, value in self.config.extra_python_environs_for_driver.items()})
        set_log_level(self.config.log_level)
        self.callbacks = self.config.callbacks_class()
        self.env_creator = self._env_creator(self.config.env)
        check_resources(self.config)
        self.workers = self._make_workers(self.config, self.config.num_rollout_workers)
        self.local_replay_buffer = self._create_local_replay_buffer_if_necessary(self.config)
        if wants_evaluation_workers(self.config):
            self._make_evaluation_workers()
        self._make_estimators()
        self.callbacks.on_algorithm_init(algorithm=self)

    def _frozen(self, config: Any) -> AlgorithmConfig:
        if not isinstance(config, AlgorithmConfig):  # an algorithm of a user, whose own __init__ calls Trainable's
            config = self._as_config(config)
            config.validate()
        made: AlgorithmConfig = config
        if type(self).validate_config is not Algorithm.validate_config:  # it may change settings
            made = made.copy(copy_frozen=False)
            self.validate_config(made)
        made.freeze()
        self._config_dict = made.to_dict()
        return made

    def _env_creator(self, env: Any) -> Callable[[Any], Any]:
        from aktis.rllib.env.utils import get_env_creator

        return EnvCreator(get_env_creator(env))

    def _make_workers(self, config: AlgorithmConfig, num_workers: int) -> WorkerSet:
        from aktis.rllib.evaluation.worker_set import WorkerSet

        creator = self.env_creator if config.env == self.config.env else self._env_creator(config.env)
        return WorkerSet(
            env_creator=creator,
            validate_env=self.validate_env,
            default_policy_class=self.get_default_policy_class(config),
            config=config,
            num_workers=num_workers,
            local_worker=True,
            logdir=self.logdir if config.output == "logdir" or self.trial_id != "default" else None,
        )

    def _make_evaluation_workers(self) -> None:
        """Workers of the evaluation: a set of its own, which never samples for training."""
        config = self.config.get_evaluation_config_object()
        config.validate()
        config.freeze()
        self.evaluation_config = config
        self.evaluation_workers = self._make_workers(config, config.num_rollout_workers)

    def _make_estimators(self) -> None:
        """Estimators of ``off_policy_estimation_methods``, of the policy that learns."""
        if not self.config.off_policy_estimation_methods:
            return
        from aktis.rllib.offline.estimators._setup import make_estimators

        self.reward_estimators = make_estimators(self.config, self.get_policy())

    def _create_local_replay_buffer_if_necessary(self, config: AlgorithmConfig) -> Any:
        """The replay buffer of algorithms whose configuration describes one."""
        described = config.get("replay_buffer_config")
        if not described or described.get("no_local_replay_buffer") or described.get("type") is None:
            return None
        from aktis.rllib.utils import replay_buffers
        from aktis.rllib.utils.from_config import from_config

        kind = described["type"]
        if isinstance(kind, str) and "." not in kind:
            kind = getattr(replay_buffers, kind)
        return from_config(None, {**described, "type": kind})

    # -- an iteration ----------------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """One iteration: calls of :meth:`training_step` until it is long enough, and evaluation when it is due.

        Returns:
            The result.
        """
        self._require_running("train()")
        self.restore_workers(self.workers)
        evaluates = self._evaluates_this_iteration()
        if evaluates and self.config.evaluation_parallel_to_training:
            results, iteration = self._run_one_training_iteration_and_evaluation_in_parallel()
        else:
            results, iteration = self._run_one_training_iteration()
        self._sync_filters_if_needed(
            from_worker=self._local,
            workers=self.workers,
            timeout_seconds=self.config.sync_filters_on_rollout_workers_timeout_s,
        )
        if evaluates and not self.config.evaluation_parallel_to_training:
            results.update(self.evaluate())
        elif not evaluates and self.config.always_attach_evaluation_results:
            results.update(self.evaluation_metrics)
        made = self._compile_iteration_results(
            episodes_this_iter=self._new_episodes(), step_ctx=iteration, iteration_results=results
        )
        self._set_tasks(made)
        return made

    def _run_one_training_iteration(self) -> tuple[dict[str, Any], Iteration]:
        iteration = Iteration(self._counters, self.config)
        results: dict[str, Any] = {}
        with self._timers[TRAINING_ITERATION_TIMER]:
            while True:
                results = self.training_step() or results
                if iteration.is_over():
                    return dict(results), iteration

    def _set_tasks(self, result: dict[str, Any]) -> None:
        """A curriculum: ask ``env_task_fn`` for the task of each environment, and set those that are new."""
        task_of = self.config.env_task_fn
        if task_of is None:
            return
        from aktis.rllib.algorithms._algorithm.tasks import SetTask

        self.workers.foreach_env_with_context(SetTask(task_of, result))

    # -- life ------------------------------------------------------------------------------------------------

    def log_result(self, result: dict[str, Any]) -> None:
        """Called with each complete result."""
        result["config"] = self._config_dict
        self.callbacks.on_train_result(algorithm=self, result=result)
        super().log_result(result)

    def get_config(self) -> Any:
        """The configuration."""
        return self.config

    def _require_running(self, what: str) -> None:
        """Raise where somebody goes on with an algorithm that was stopped."""
        if self._stopped:
            raise RuntimeError(
                f"{what} was called after stop(): this {type(self).__name__} has no workers any more. Build another one, or make "
                "one from a checkpoint (Algorithm.from_checkpoint)"
            )

    def cleanup(self) -> None:
        """End all workers."""
        self._stopped = True
        with contextlib.ExitStack() as stack:  # all of them, whatever one of them raises
            for name in ("workers", "evaluation_workers"):
                worker_set = self.__dict__.get(name)
                if worker_set is not None:
                    stack.callback(worker_set.stop)

    def reset_config(self, new_config: Any) -> bool:
        """Become the algorithm of another configuration: all is made anew, in the same process."""
        self.cleanup()
        self.evaluation_workers = None
        self.reward_estimators = {}
        made = self._as_config(new_config)
        made.validate()
        self.setup(made.copy(copy_frozen=False))
        return True

    def _restored_from(self, directory: str) -> None:
        from aktis.tune.trainable import Trainable as Base

        Base.restore(self, directory)

    def _export_model(self, export_formats: Any, export_dir: str) -> dict[str, str]:
        paths: dict[str, str] = {}
        for kind in export_formats:
            if kind not in ("model", "checkpoint", "onnx"):
                raise ValueError(f"there is no export format {kind!r}: 'model', 'checkpoint' and 'onnx' are")
            path = os.path.join(export_dir, kind)
            if kind == "checkpoint":
                self.export_policy_checkpoint(path)
            else:
                self.export_policy_model(path, onnx=17 if kind == "onnx" else None)
            paths[kind] = path
        return paths

    # -- resources -------------------------------------------------------------------------------------------

    @classmethod
    def default_resource_request(cls, config: Any) -> PlacementGroupFactory:
        """What a trial takes: the algorithm's process, each rollout worker, each worker of the evaluation.

        Args:
            config: An AlgorithmConfig, or a dict.
        """
        from aktis.air.placement import PlacementGroupFactory

        made = cls._as_config(copy.copy(config) if isinstance(config, dict) else config)
        return PlacementGroupFactory(bundles_of(made), strategy=made.placement_strategy)

    @classmethod
    def resource_help(cls, config: Any) -> str:
        """Advice for when the resources of a trial cannot be had."""
        return (
            "\n\nWhat an algorithm takes is in its configuration: num_rollout_workers, num_cpus_per_worker, num_gpus_per_worker, "
            "num_cpus_for_local_worker, num_gpus and evaluation_num_workers."
        )

    @classmethod
    def merge_trainer_configs(
        cls, config1: Mapping[str, Any], config2: Mapping[str, Any], _allow_unknown_configs: bool | None = None
    ) -> dict[str, Any]:
        """The settings of ``config1`` with those of ``config2`` over them.

        Args:
            config1: Settings.
            config2: Settings.
            _allow_unknown_configs: Also those that ``config1`` does not have.
        """
        merged = copy.deepcopy(dict(config1))
        for key, value in config2.items():
            if key not in merged and not _allow_unknown_configs:
                raise KeyError(f"there is no setting {key!r}")
            both = isinstance(merged.get(key), dict) and isinstance(value, Mapping)
            merged[key] = {**merged[key], **value} if both else value
        return merged


def _logger_of(described: Mapping[str, Any] | None) -> Callable[[Any], Any] | None:
    """What ``logger_config`` describes."""
    if not described:
        return None
    from aktis.rllib.utils.from_config import from_config

    arguments = dict(described)

    def create(config: Any) -> Any:
        return from_config(None, {**arguments, "config": dict(config.items())})

    return create
