"""A worker that samples: environments, policies and filters in one process, in the algorithm's or as an actor."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from aktis.rllib.env.env_context import EnvContext
from aktis.rllib.env.utils import close_envs
from aktis.rllib.evaluation import _worker_learning
from aktis.rllib.evaluation._env_setup import EnvMaker, creator_of, is_simple_env, whole_config
from aktis.rllib.evaluation._policies import PolicyTable
from aktis.rllib.evaluation._sampler_setup import make_sampler, remade_sampler
from aktis.rllib.evaluation._seeds import worker_seed
from aktis.rllib.evaluation._worker_requests import WithContext
from aktis.rllib.policy._neural.blas import one_thread
from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID, MultiAgentBatch, SampleBatch
from aktis.rllib.utils._logs import set_log_level

if TYPE_CHECKING:
    import gymnasium

    from aktis.rllib.evaluation.metrics import RolloutMetrics
    from aktis.rllib.policy.policy import Policy

__all__ = ["RolloutWorker"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class RolloutWorker:
    """Samples environments with policies, and learns where it is asked to.

    Args:
        env_creator: ``f(EnvContext)`` makes an environment. None (or what it returns is None): no environment; ``spaces`` or the
            configuration say what policies observe and do.
        validate_env: ``f(env, EnvContext)`` raises where the environment will not do.
        config: The algorithm's configuration.
        worker_index: 0 in the process of the algorithm, 1 and on for actors.
        num_workers: How many actors there are.
        recreated_worker: Whether it stands in for one that died.
        log_dir: Where files of offline output go.
        spaces: By policy id (and ``"__env__"``): observation and action space, where there is no environment to ask.
        default_policy_class: The class of policies for which ``config.policies`` names none.
        dataset_shards: What a dataset reader of this worker reads.

    Attributes:
        env: The first environment. None: this worker has none.
        policy_map: Policies by id.
        filters: Filters of observations by policy id.
        preprocessors: Preprocessors by policy id (None: observations are arrays as they are).
        callbacks: The object of the user's callbacks class.
        async_env: All environments, as a BaseEnv.
    """

    @classmethod
    def as_remote(
        cls,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        memory: int | None = None,
        resources: dict[str, float] | None = None,
    ) -> Any:
        """This class as an actor's."""
        import aktis

        options = {"num_cpus": num_cpus, "num_gpus": num_gpus, "memory": memory, "resources": resources}
        return aktis.remote(**{key: value for key, value in options.items() if value is not None} or {"num_cpus": 1})(
            cls
        )

    def __init__(
        self,
        *,
        env_creator: Callable[[EnvContext], Any] | None = None,
        validate_env: Callable[[Any, EnvContext], None] | None = None,
        config: Any = None,
        worker_index: int = 0,
        num_workers: int | None = None,
        recreated_worker: bool = False,
        log_dir: str | None = None,
        spaces: Mapping[str, tuple[Any, Any]] | None = None,
        default_policy_class: type[Policy] | None = None,
        dataset_shards: list[Any] | None = None,
    ) -> None:
        config = whole_config(config)
        self._creation_args = {
            "env_creator": env_creator,
            "validate_env": validate_env,
            "config": config,
            "worker_index": worker_index,
            "num_workers": num_workers,
            "recreated_worker": recreated_worker,
            "log_dir": log_dir,
            "spaces": spaces,
            "default_policy_class": default_policy_class,
        }
        self.config = config
        self.worker_index = worker_index
        self.num_workers = config.num_rollout_workers if num_workers is None else num_workers
        self.recreated_worker = recreated_worker
        self.log_dir = log_dir
        self.dataset_shards = dataset_shards
        self.env_context = EnvContext(
            config.env_config, worker_index, num_workers=self.num_workers, recreated_worker=recreated_worker
        )
        self.callbacks = config.callbacks_class()
        self.global_vars: dict[str, Any] = {"timestep": 0, "num_grad_updates_per_policy": {}}
        self.weights_seq_no: int | None = None
        self._lock = threading.Lock()
        self.policy_lock = threading.RLock()  # held while a thread samples (sample_async), and while weights change
        self._seed_globals()
        if worker_index:
            set_log_level(config.log_level)
        for name, value in (config.extra_python_environs_for_worker if worker_index else {}).items():
            os.environ[name] = str(value)

        creator = env_creator if env_creator is not None else creator_of(config)
        self.env_maker = EnvMaker(
            creator, config, self.env_context, validate=validate_env, created=self._sub_environment_created
        )
        self.env: Any = self.env_maker.first()
        self.is_simple_env = self.env is not None and is_simple_env(self.env)
        self.policies = PolicyTable(self, spaces, default_policy_class)
        self.async_env: Any = None
        self.sampler: Any = None if self.env is None and not _reads(config) else make_sampler(self)
        self._first_batch: SampleBatch | MultiAgentBatch | None = None  # with fake_sampler
        self._policies_of_samples: set[str] = set()

    # Sampling -------------------------------------------------------------------------------------------------------

    def sample(self, **kwargs: Any) -> SampleBatch | MultiAgentBatch:
        """The next batch of experience.

        In ``"truncate_episodes"`` mode, ``rollout_fragment_length`` steps of each environment; in
        ``"complete_episodes"`` mode, whole
        episodes that have at least ``rollout_fragment_length`` steps together.

        Raises:
            ValueError: the worker has no environment.
        """
        if self.sampler is None:
            raise ValueError(
                f"worker {self.worker_index} has no environment to sample: with remote workers, the local one gets one only if "
                "config.rollouts(create_env_on_local_worker=True)"
            )
        if self._first_batch is not None:
            return self._first_batch.copy()
        with one_thread():
            batch: SampleBatch | MultiAgentBatch = self.sampler.sample(self.fragment_length)
        self.callbacks.on_sample_end(worker=self, samples=batch)
        writer = self._output_writer()
        if writer is not None:
            writer.write(batch)
        if self.config.fake_sampler:
            self._first_batch = batch.copy()
        return batch

    @property
    def fragment_length(self) -> int:
        """Steps of each environment for one batch."""
        return int(self.config.get_rollout_fragment_length(worker_index=self.worker_index))

    def sample_with_count(self) -> tuple[SampleBatch | MultiAgentBatch, int]:
        """The next batch, and its number of environment steps."""
        batch = self.sample()
        return batch, batch.count

    def sample_and_learn(
        self,
        expected_batch_size: int,
        num_sgd_iter: int,
        sgd_minibatch_size: int,
        standardize_fields: list[str],
    ) -> tuple[dict[str, Any], int]:
        """Sample so many steps, and learn from them at once.

        Args:
            expected_batch_size: How many environment steps the batch must have.
            num_sgd_iter: How often the whole batch is gone through.
            sgd_minibatch_size: Rows of each update.
            standardize_fields: Columns to bring to mean 0 and deviation 1 first.

        Returns:
            What the policies tell of their learning, and the number of steps.
        """
        return _worker_learning.sample_and_learn(
            self, expected_batch_size, num_sgd_iter, sgd_minibatch_size, standardize_fields
        )

    def get_metrics(self) -> list[RolloutMetrics]:
        """The episodes that have ended since the last call (each is told of once), and estimates of offline data."""
        return [] if self.sampler is None else list(self.sampler.get_metrics())

    def _output_writer(self) -> Any:
        if self.config.output is None:
            return None
        if not hasattr(self, "_writer"):
            from aktis.rllib.evaluation._offline_io import make_writer

            self._writer = make_writer(self)
        return self._writer

    # Learning -------------------------------------------------------------------------------------------------------

    def learn_on_batch(self, samples: SampleBatch | MultiAgentBatch) -> dict[str, Any]:
        """One update of each policy that is to be trained, with its part of the batch.

        Returns:
            By policy id: what it tells (``{"learner_stats": ...}``).
        """
        return _worker_learning.learn_on_batch(self, samples)

    def compute_gradients(
        self, samples: SampleBatch | MultiAgentBatch, single_agent: bool | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Gradients of each policy to train (by its id; of a SampleBatch with ``single_agent``, those alone), and what it tells."""
        return _worker_learning.compute_gradients(self, samples, single_agent)

    def apply_gradients(self, grads: Any) -> None:
        """Apply what :meth:`compute_gradients` gave, here or in another worker."""
        _worker_learning.apply_gradients(self, grads)

    # Policies -------------------------------------------------------------------------------------------------------

    @property
    def policy_config(self) -> Any:
        """The algorithm's configuration, by the name that callbacks know it by."""
        return self.config

    @property
    def policy_map(self) -> Any:
        """Policies by id."""
        return self.policies.map

    @property
    def policy_dict(self) -> dict[str, Any]:
        """How each policy was asked for: its PolicySpec by id."""
        return self.policies.specs

    @property
    def filters(self) -> dict[str, Any]:
        """Filters of observations by policy id."""
        return self.policies.filters

    @property
    def preprocessors(self) -> dict[str, Any]:
        """Preprocessors of observations by policy id; None for arrays that are used as they are."""
        return self.policies.preprocessors

    @property
    def policy_mapping_fn(self) -> Callable[..., str]:
        """``f(agent_id, episode, worker=...)`` says which policy acts for an agent."""
        return self.policies.mapping_fn

    @property
    def is_policy_to_train(self) -> Callable[..., bool]:
        """``f(policy_id, batch=None)`` says whether a policy is to be trained."""
        decides: Callable[..., bool] = self.policies.is_to_train
        return decides

    def get_policy(self, policy_id: str = DEFAULT_POLICY_ID) -> Any:
        """The policy of that id, or None."""
        return self.policy_map.get(policy_id)

    def for_policy(self, func: Callable[..., T], policy_id: str | None = DEFAULT_POLICY_ID, **kwargs: Any) -> T:
        """``func(policy, **kwargs)`` of the policy of that id."""
        return func(self.get_policy(policy_id or DEFAULT_POLICY_ID), **kwargs)

    def foreach_policy(self, func: Callable[..., T], **kwargs: Any) -> list[T]:
        """``func(policy, policy_id, **kwargs)`` of each policy."""
        return [func(self.policy_map[policy_id], policy_id, **kwargs) for policy_id in list(self.policy_map)]

    def foreach_policy_to_train(self, func: Callable[..., T], **kwargs: Any) -> list[T]:
        """The same, of each policy that is to be trained."""
        chosen = [policy_id for policy_id in list(self.policy_map) if self.is_policy_to_train(policy_id, None)]
        return [func(self.policy_map[policy_id], policy_id, **kwargs) for policy_id in chosen]

    def get_policies_to_train(self, batch: Any = None) -> set[str]:
        """The ids of the policies that are to be trained (with this batch)."""
        return {policy_id for policy_id in self.policy_map if self.is_policy_to_train(policy_id, batch)}

    def set_policy_mapping_fn(self, policy_mapping_fn: Callable[..., str] | None = None) -> None:
        """Map agents to policies otherwise, from the next episodes on. None: leave it."""
        self.policies.set_mapping_fn(policy_mapping_fn)
        if policy_mapping_fn is not None and self.sampler is not None:
            self.sampler = remade_sampler(self, self.sampler)

    def set_is_policy_to_train(self, is_policy_to_train: Container[str] | Callable[..., bool] | None) -> None:
        """Say anew which policies are to be trained: ids, or ``f(policy_id, batch)``."""
        self.policies.set_to_train(is_policy_to_train)

    def add_policy(
        self,
        policy_id: str,
        policy_cls: type[Policy] | None = None,
        policy: Policy | None = None,
        *,
        observation_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        config: Any = None,
        policy_state: dict[str, Any] | None = None,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Container[str] | Callable[..., bool] | None = None,
    ) -> Policy:
        """One policy more: of a class, or one that is there already.

        Args:
            policy_id: Its id.
            policy_cls: Its class; the algorithm's, if neither this nor ``policy`` is given.
            policy: The policy itself.
            observation_space: What it observes; asked of the environment by default.
            action_space: What it does.
            config: What is different from the algorithm's configuration.
            policy_state: Of ``policy.get_state()``, to begin with.
            policy_mapping_fn: The new mapping of agents to policies. None: as before.
            policies_to_train: Which policies are to be trained now. None: as before.

        Raises:
            KeyError: there is a policy of that id already.
            ValueError: both, ``policy_cls`` and ``policy``, or an id that cannot be a folder's name.
        """
        made: Policy = self.policies.add(
            policy_id,
            policy_cls,
            policy,
            observation_space=observation_space,
            action_space=action_space,
            config=config,
            policy_state=policy_state,
        )
        self.set_policy_mapping_fn(policy_mapping_fn)
        self.set_is_policy_to_train(policies_to_train)
        return made

    def remove_policy(
        self,
        *,
        policy_id: str = DEFAULT_POLICY_ID,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Container[str] | Callable[..., bool] | None = None,
    ) -> None:
        """One policy less; episodes that run with it are played to their end."""
        self.policies.remove(policy_id)
        if self.sampler is not None:
            self.sampler = remade_sampler(self, self.sampler)
        self.set_policy_mapping_fn(policy_mapping_fn)
        self.set_is_policy_to_train(policies_to_train)

    # Environments ---------------------------------------------------------------------------------------------------

    def foreach_env(self, func: Callable[[Any], T]) -> list[T]:
        """``func(env)`` of each sub-environment (in its actor, where it is one)."""
        actors = self._env_actors()
        if actors:
            import aktis

            return list(aktis.get([actor.call.remote(func) for actor in actors]))
        return [func(env) for env in self._sub_environments()]

    def foreach_env_with_context(self, func: Callable[[Any, EnvContext], T]) -> list[T]:
        """``func(env, env_context)`` of each sub-environment."""
        count = len(self._env_actors() or self._sub_environments())
        contexts = [self.env_context.copy_with_overrides(vector_index=index) for index in range(count)]
        actors = self._env_actors()
        if actors:
            import aktis

            each = [WithContext(func, context.copy_with_overrides(remote=True)) for context in contexts]
            return list(aktis.get([actor.call.remote(own) for actor, own in zip(actors, each, strict=True)]))
        return [func(env, context) for env, context in zip(self._sub_environments(), contexts, strict=True)]

    def _env_actors(self) -> list[Any]:
        """The actors of sub-environments, with ``remote_worker_envs``."""
        return list(getattr(self.async_env, "actors", None) or []) if self.config.remote_worker_envs else []

    def make_sub_environment(self, index: int) -> Any:
        """A new environment, as the one of that index was made."""
        return self.env_maker.make(index)

    def _sub_environments(self) -> list[Any]:
        if self.async_env is None:
            return [] if self.env is None else [self.env]
        envs = list(self.async_env.get_sub_environments())
        return envs or [self.async_env]

    def _sub_environment_created(self, env: Any, context: EnvContext, index: int) -> None:
        self.callbacks.on_sub_environment_created(
            worker=self, sub_environment=env, env_context=context, env_index=index
        )

    # State ----------------------------------------------------------------------------------------------------------

    def get_weights(self, policies: Container[str] | None = None) -> dict[str, Any]:
        """Weights by policy id: of all policies, or of those."""
        chosen = [name for name in self.policy_map if policies is None or name in policies]
        return {policy_id: self.policy_map[policy_id].get_weights() for policy_id in chosen}

    def set_weights(
        self,
        weights: Any,
        global_vars: dict[str, Any] | None = None,
        weights_seq_no: int | None = None,
    ) -> None:
        """Take over weights.

        Args:
            weights: By policy id, or a reference to such. Policies that this worker does not have are passed over.
            global_vars: Global variables to take over with them.
            weights_seq_no: A number of these weights: if it is that of the last ones, nothing is done to them.
        """
        if weights_seq_no is None or weights_seq_no != self.weights_seq_no:
            fetched = _fetched(weights)
            with self.policy_lock:
                for policy_id, new in fetched.items():
                    if policy_id in self.policy_map:
                        self.policy_map[policy_id].set_weights(new)
        self.weights_seq_no = weights_seq_no
        if global_vars:
            self.set_global_vars(global_vars)

    def get_global_vars(self) -> dict[str, Any]:
        """The global variables: ``timestep`` and ``num_grad_updates_per_policy``."""
        return self.global_vars

    def set_global_vars(self, global_vars: dict[str, Any], policy_ids: Container[str] | None = None) -> None:
        """Take over global variables, and tell the policies (all, or those) of them."""
        updates = self.global_vars["num_grad_updates_per_policy"] | global_vars.get("num_grad_updates_per_policy", {})
        self.global_vars = {**self.global_vars, **global_vars, "num_grad_updates_per_policy": updates}
        for policy_id in list(self.policy_map):
            if policy_ids is None or policy_id in policy_ids:
                own = {**global_vars, "num_grad_updates": updates.get(policy_id)}
                self.policy_map[policy_id].on_global_var_update(own)

    def get_filters(self, flush_after: bool = False) -> dict[str, Any]:
        """Copies of the filters by policy id; with ``flush_after``, what they collected since the last time is forgotten here."""
        found = {}
        with self.policy_lock:
            for policy_id, filter_ in self.filters.items():
                found[policy_id] = filter_.as_serializable()
                if flush_after:
                    filter_.reset_buffer()
        return found

    def sync_filters(self, new_filters: dict[str, Any]) -> None:
        """Take over filters by policy id.

        Raises:
            KeyError: a filter of this worker is not among them.
        """
        missing = [policy_id for policy_id in self.filters if policy_id not in new_filters]
        if missing:
            raise KeyError(
                f"sync_filters() got filters for {sorted(new_filters)}, but this worker also filters for {missing}"
            )
        with self.policy_lock:
            for policy_id, filter_ in self.filters.items():
                filter_.sync(new_filters[policy_id])

    def get_state(self) -> dict[str, Any]:
        """Everything that makes a worker go on where this one is: policies, filters, mapping."""
        return self.policies.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` gave; policies that are not here are made, where the state says how."""
        self.policies.set_state(state)

    # Life -----------------------------------------------------------------------------------------------------------

    def apply(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """``func(worker, *args, **kwargs)``."""
        return func(self, *args, **kwargs)

    def ping(self) -> str:
        """ "pong", if it is well."""
        return "pong"

    def assert_healthy(self) -> None:
        """Raise if it is not whole."""
        if not hasattr(self, "_policies_of_samples"):
            raise RuntimeError(f"worker {self.worker_index} was not made completely")

    def lock(self) -> None:
        """Keep others out until :meth:`unlock`."""
        self._lock.acquire()

    def unlock(self) -> None:
        """Let others in again."""
        self._lock.release()

    def creation_args(self) -> dict[str, Any]:
        """What it was made with."""
        return dict(self._creation_args)

    def get_host(self) -> str:
        """The name of its machine."""
        return socket.gethostname()

    def get_node_ip(self) -> str:
        """The address of its machine."""
        with contextlib.suppress(OSError):
            return socket.gethostbyname(socket.gethostname())
        return "127.0.0.1"

    def find_free_port(self) -> int:
        """A port of its machine that nobody uses."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return int(probe.getsockname()[1])

    def stop(self) -> None:
        """Close environments, writers and samplers. Twice is once."""
        sampler, self.sampler = self.sampler, None
        env, self.env = self.env, None
        writer = self.__dict__.pop("_writer", None)
        try:
            if sampler is not None:
                sampler.close()
            elif env is not None:
                close_envs([env])
        finally:
            if writer is not None and hasattr(writer, "close"):
                writer.close()

    def _seed_globals(self) -> None:
        """Ours use generators of their own; what users write (environments, policies) may use the global ones."""
        seed = worker_seed(self.config.seed, self.worker_index)
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)


def _reads(config: Any) -> bool:
    """Whether experience comes from elsewhere than an environment."""
    return config.input_ not in (None, "sampler")


def _fetched(value: Any) -> Any:
    import aktis

    return aktis.get(value) if isinstance(value, aktis.ObjectRef) else value
