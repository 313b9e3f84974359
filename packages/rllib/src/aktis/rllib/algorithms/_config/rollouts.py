"""Section rollouts()."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RolloutsSection"]

VECTORIZE_MODES = ("sub_envs", "sync", "async", "vector_entry_point")
BATCH_MODES = ("truncate_episodes", "complete_episodes")
FILTERS = ("NoFilter", "MeanStdFilter", "ConcurrentMeanStdFilter")


class RolloutsSection(ConfigBase):
    """Workers, and how they sample."""

    def __init__(self) -> None:
        super().__init__()
        self.num_rollout_workers: int = 0
        self.num_envs_per_worker: int = 1
        self.gym_env_vectorize_mode: str = "sub_envs"
        self.create_env_on_local_worker: bool = False
        self.sample_collector: type[Any] | None = None
        self.sample_async: bool = False
        self.enable_connectors: bool = True
        self.rollout_fragment_length: int | str = 200
        self.batch_mode: str = "truncate_episodes"
        self.remote_worker_envs: bool = False
        self.remote_env_batch_wait_ms: float = 0
        self.validate_workers_after_construction: bool = True
        self.ignore_worker_failures: bool = False
        self.recreate_failed_workers: bool = False
        self.restart_failed_sub_environments: bool = False
        self.num_consecutive_worker_failures_tolerance: int = 100
        self.preprocessor_pref: str | None = "deepmind"
        self.observation_filter: str | Any = "NoFilter"
        self.synchronize_filters: bool = True
        self.compress_observations: bool = False
        self.enable_tf1_exec_eagerly: bool = False
        self.sampler_perf_stats_ema_coef: float | None = None
        self.worker_health_probe_timeout_s: float = 60
        self.worker_restore_timeout_s: float = 1800

    @section
    def rollouts(
        self,
        *,
        num_rollout_workers: int = NotProvided,
        num_envs_per_worker: int = NotProvided,
        gym_env_vectorize_mode: str = NotProvided,
        create_env_on_local_worker: bool = NotProvided,
        sample_collector: type[Any] | None = NotProvided,
        sample_async: bool = NotProvided,
        enable_connectors: bool = NotProvided,
        rollout_fragment_length: int | str = NotProvided,
        batch_mode: str = NotProvided,
        remote_worker_envs: bool = NotProvided,
        remote_env_batch_wait_ms: float = NotProvided,
        validate_workers_after_construction: bool = NotProvided,
        ignore_worker_failures: bool = NotProvided,
        recreate_failed_workers: bool = NotProvided,
        restart_failed_sub_environments: bool = NotProvided,
        num_consecutive_worker_failures_tolerance: int = NotProvided,
        preprocessor_pref: str | None = NotProvided,
        observation_filter: str | Any = NotProvided,
        synchronize_filter: bool = NotProvided,
        synchronize_filters: bool = NotProvided,
        compress_observations: bool = NotProvided,
        enable_tf1_exec_eagerly: bool = NotProvided,
        sampler_perf_stats_ema_coef: float | None = NotProvided,
        worker_health_probe_timeout_s: float = NotProvided,
        worker_restore_timeout_s: float = NotProvided,
        horizon: Any = NotProvided,
        soft_horizon: Any = NotProvided,
        no_done_at_end: Any = NotProvided,
    ) -> Self:
        """Workers, and how they sample.

        Args:
            num_rollout_workers: Processes that sample. 0: the algorithm's own process does.
            num_envs_per_worker: Environments of each, whose observations go through the policy together.
            gym_env_vectorize_mode: How the environments of a worker step together. "sub_envs": one after the other, in our own
                loop, which is faster than Gymnasium's "sync"; "async": each in a process, for slow ones; "vector_entry_point":
                environments that come vectorised themselves (CartPole does), which are the fastest by far.
            create_env_on_local_worker: Have an environment in the algorithm's own process, too, though there are workers.
            sample_collector: Taken, and without effect: batches are made as columns.
            sample_async: A remote worker samples on in a thread while its last batch is learned from.
            enable_connectors: Observations go to the policy, and actions to the environment, through the policy's connectors.
            rollout_fragment_length: Steps of each environment for one batch of a worker. "auto": what makes a training
                batch in one round.
            batch_mode: "truncate_episodes": batches of that length, and episodes go on in the next;
                "complete_episodes": episodes to their end, until there are as many steps.
            remote_worker_envs: Each environment of a worker has a process of its own.
            remote_env_batch_wait_ms: How long to wait for further ones of them, so that a batch for the policy is larger.
            validate_workers_after_construction: Ask each new worker whether it is well.
            ignore_worker_failures: Go on without a worker that died.
            recreate_failed_workers: Make a worker that died anew.
            restart_failed_sub_environments: Make an environment that raised an error anew; its episode is dropped.
            num_consecutive_worker_failures_tolerance: After so many failures in a row it is an error all the same.
            preprocessor_pref: "deepmind" or "rllib": what is done with images and Atari games; None: nothing.
            observation_filter: "NoFilter"; "MeanStdFilter": observations with mean 0 and deviation 1, as seen so far.
            synchronize_filters: Workers share what their filters have seen, after each iteration.
            synchronize_filter: The same.
            compress_observations: Compress observations in batches.
            enable_tf1_exec_eagerly: Taken, and without effect: TensorFlow 1 is no more.
            sampler_perf_stats_ema_coef: Weight of the past in the times of ``sampler_perf``; None: the mean of all.
            worker_health_probe_timeout_s: How long to wait for a worker to say that it is well.
            worker_restore_timeout_s: How long to wait for a worker that was made anew.
            horizon: No more: wrap the environment in ``gymnasium.wrappers.TimeLimit``.
            soft_horizon: No more.
            no_done_at_end: No more.
        """
        self.update_from_dict(
            {
                key: value
                for key, value in (
                    ("horizon", horizon),
                    ("soft_horizon", soft_horizon),
                    ("no_done_at_end", no_done_at_end),
                )
                if value is not NotProvided
            }
        )
        return self._update(
            num_rollout_workers=num_rollout_workers,
            num_envs_per_worker=num_envs_per_worker,
            gym_env_vectorize_mode=gym_env_vectorize_mode,
            create_env_on_local_worker=create_env_on_local_worker,
            sample_collector=sample_collector,
            sample_async=sample_async,
            enable_connectors=enable_connectors,
            rollout_fragment_length=rollout_fragment_length,
            batch_mode=batch_mode,
            remote_worker_envs=remote_worker_envs,
            remote_env_batch_wait_ms=remote_env_batch_wait_ms,
            validate_workers_after_construction=validate_workers_after_construction,
            ignore_worker_failures=ignore_worker_failures,
            recreate_failed_workers=recreate_failed_workers,
            restart_failed_sub_environments=restart_failed_sub_environments,
            num_consecutive_worker_failures_tolerance=num_consecutive_worker_failures_tolerance,
            preprocessor_pref=preprocessor_pref,
            observation_filter=observation_filter,
            synchronize_filters=synchronize_filter if synchronize_filters is NotProvided else synchronize_filters,
            compress_observations=compress_observations,
            enable_tf1_exec_eagerly=enable_tf1_exec_eagerly,
            sampler_perf_stats_ema_coef=sampler_perf_stats_ema_coef,
            worker_health_probe_timeout_s=worker_health_probe_timeout_s,
            worker_restore_timeout_s=worker_restore_timeout_s,
        )

    def _validate_rollouts(self) -> None:
        _check_count("num_rollout_workers", self.num_rollout_workers, 0)
        _check_count("num_envs_per_worker", self.num_envs_per_worker, 1)
        _check_count("num_consecutive_worker_failures_tolerance", self.num_consecutive_worker_failures_tolerance, 0)
        if self.rollout_fragment_length != "auto":
            if isinstance(self.rollout_fragment_length, str):
                raise ValueError(
                    f"rollout_fragment_length must be a number or 'auto', not {self.rollout_fragment_length!r}"
                )
            _check_count("rollout_fragment_length", self.rollout_fragment_length, 1)
        if self.batch_mode not in BATCH_MODES:
            raise ValueError(f"batch_mode must be one of {', '.join(map(repr, BATCH_MODES))}, not {self.batch_mode!r}")
        if self.gym_env_vectorize_mode not in VECTORIZE_MODES:
            raise ValueError(
                f"gym_env_vectorize_mode must be one of {', '.join(map(repr, VECTORIZE_MODES))}, "
                f"not {self.gym_env_vectorize_mode!r}"
            )
        if self.preprocessor_pref not in ("deepmind", "rllib", None):
            raise ValueError(f"preprocessor_pref must be 'deepmind', 'rllib' or None, not {self.preprocessor_pref!r}")
        if isinstance(self.observation_filter, str) and self.observation_filter not in FILTERS:
            raise ValueError(f"observation_filter must be one of {', '.join(FILTERS)}, not {self.observation_filter!r}")
        if self.ignore_worker_failures and self.recreate_failed_workers:
            raise ValueError("ignore_worker_failures and recreate_failed_workers cannot both be True: a worker that died is either "
                             "left out or made anew")  # fmt: skip


def _check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")
