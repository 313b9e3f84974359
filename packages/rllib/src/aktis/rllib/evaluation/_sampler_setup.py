"""Which sampler a worker gets.

The vectorised loop where it will do, else the one that keeps episode objects; or a reader of files.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from aktis.rllib.evaluation._agent_connectors import OwnConnectors
from aktis.rllib.evaluation._observations import Reader
from aktis.rllib.evaluation._seeds import env_seeds
from aktis.rllib.evaluation._steppers import SubEnvStepper
from aktis.rllib.evaluation._vector_runner import SamplerSettings, VectorRunner
from aktis.rllib.evaluation._vector_sampler import VectorSampler
from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID

__all__ = ["make_env_sampler", "make_sampler", "remade_sampler", "sampler_settings"]


def make_sampler(worker: Any) -> Any:
    """What ``worker.sample()`` asks for batches: has ``sample(fragment)``, ``get_metrics()`` and ``close()``."""
    if worker.config.input_ not in (None, "sampler"):
        from aktis.rllib.evaluation._offline_io import make_reading_sampler

        return make_reading_sampler(worker)
    sampler = make_env_sampler(worker)
    # In the algorithm's own process a thread would only take turns with it, and make runs that cannot be repeated.
    if worker.config.sample_async and worker.worker_index > 0:
        from aktis.rllib.evaluation._async_sampler import AsyncSampler

        return AsyncSampler(sampler, worker.policy_lock)
    return sampler


def make_env_sampler(worker: Any) -> Any:
    """The sampler of the worker's environment."""
    if _vectorises(worker):
        return _vector_sampler(worker)
    return _episode_sampler(worker)


def remade_sampler(worker: Any, sampler: Any) -> Any:
    """The sampler of a worker whose policies have changed: another one, if the vectorised loop will not do for them any more.

    Episodes that run are begun anew then; those that have ended are told of.
    """
    inner = getattr(sampler, "sampler", None)
    if inner is not None:  # it samples in a thread
        with worker.policy_lock:
            sampler.sampler = remade_sampler(worker, inner)
        return sampler
    if not isinstance(sampler, VectorSampler):
        settings = getattr(sampler, "settings", None)
        if settings is not None and hasattr(settings, "multi_agent") and _several(worker):
            sampler.settings = replace(settings, multi_agent=True)
        return sampler
    if list(worker.policy_map) == [sampler.policy_id]:
        return sampler
    ended = sampler.get_metrics()
    stepper = sampler.runner.stepper
    for env in stepper.envs[1:] if isinstance(stepper, SubEnvStepper) else stepper.envs:
        env.close()  # the others are made anew
    if not isinstance(stepper, SubEnvStepper):
        worker.env = worker.make_sub_environment(0)
    made = make_env_sampler(worker)
    (made.runner.metrics if isinstance(made, VectorSampler) else made.metrics).extend(ended)
    return made


def _several(worker: Any) -> bool:
    """Whether batches are for policies by id: there are several, or another one than the default one."""
    return worker.config.is_multi_agent() or list(worker.policy_map) != [DEFAULT_POLICY_ID]


def _episode_sampler(worker: Any) -> Any:
    """For whatever has several agents, or policies, or an own idea of time."""
    from aktis.rllib.env.base_env import convert_to_base_env
    from aktis.rllib.evaluation._episode_sampler import EpisodeSampler, EpisodeSamplerSettings

    config = worker.config
    remote = config.remote_worker_envs
    worker.async_env = convert_to_base_env(
        worker.env,
        make_env=worker.env_maker.for_other_process(remote=True).make if remote else worker.make_sub_environment,
        num_envs=config.num_envs_per_worker,
        remote_envs=remote,
        remote_env_batch_wait_ms=config.remote_env_batch_wait_ms,
        worker=worker,
        restart_failed_sub_environments=config.restart_failed_sub_environments,
    )
    settings = EpisodeSamplerSettings(
        multi_agent=_several(worker),
        complete_episodes=config.batch_mode == "complete_episodes",
        count_steps_by=config.count_steps_by,
        clip_rewards=clip_of(worker),
        normalize_actions=config.normalize_actions,
        clip_actions=config.clip_actions,
        update_filter=not config.in_evaluation,
        compress=config.compress_observations,
        check=not config.disable_env_checking,
        observation_fn=config.observation_fn,
        with_policy_ids=config.enable_connectors,
        worker_index=worker.worker_index,
        generation=generation_of(worker),
    )
    seeds = env_seeds(config.seed, worker.worker_index, config.num_envs_per_worker)
    if _has_own_connectors(worker):
        from aktis.rllib.evaluation._connector_sampler import ConnectorSampler

        return ConnectorSampler(worker, worker.async_env, settings, seeds)
    return EpisodeSampler(worker, worker.async_env, settings, seeds)


def _vectorises(worker: Any) -> bool:
    """Whether the vectorised loop will do: one agent, one policy, arrays for observations, nobody who wants to see every step."""
    config = worker.config
    policies = list(worker.policy_map.keys())
    if not worker.is_simple_env or config.remote_worker_envs or len(policies) != 1 or config.observation_fn is not None:
        return False
    if _has_own_connectors(worker):
        return False
    policy_id = policies[0]
    if config._disable_preprocessor_api and not _is_array_space(worker.env.observation_space):
        return False
    if config._disable_action_flattening and not _is_array_space(worker.env.action_space):
        return False
    return policy_id in policies


def _is_array_space(space: Any) -> bool:
    return bool(space.shape is not None and space.dtype is not None)


def _has_own_connectors(worker: Any) -> bool:
    """Whether somebody changed a policy's connectors; the default ones do what the vectorised loop does."""
    if not worker.config.enable_connectors:
        return False
    return any(OwnConnectors(policy).any() for policy in worker.policy_map.values())


def sampler_settings(worker: Any) -> SamplerSettings:
    """How a worker samples, by its configuration."""
    config = worker.config
    return SamplerSettings(
        action_space=worker.env.action_space,
        complete_episodes=config.batch_mode == "complete_episodes",
        clip_rewards=clip_of(worker),
        normalize_actions=config.normalize_actions,
        clip_actions=config.clip_actions,
        update_filter=not config.in_evaluation,
        compress=config.compress_observations,
        worker_index=worker.worker_index,
        generation=generation_of(worker),
        check=not config.disable_env_checking,
    )


def generation_of(worker: Any) -> int:
    """A number below 256 that tells a worker from those that it replaces: 0 for the first one, else by chance."""
    return 1 + os.urandom(1)[0] % 255 if worker.recreated_worker else 0


def clip_of(worker: Any) -> bool | float:
    """How rewards are clipped: by default, those of Atari games to their sign."""
    clip = worker.config.clip_rewards
    if clip is None:
        from aktis.rllib.env.wrappers.atari_wrappers import is_atari

        return bool(worker.config.is_atari if worker.config.is_atari is not None else is_atari(worker.env))
    if isinstance(clip, bool):
        return clip
    return float(clip)


def _vector_sampler(worker: Any) -> VectorSampler:
    from aktis.rllib.algorithms.callbacks import overrides_hook
    from aktis.rllib.evaluation._episode_tracker import HOOKS, EpisodeTracker
    from aktis.rllib.evaluation._sub_envs import SubEnvs

    config = worker.config
    policy_id = next(iter(worker.policy_map.keys()))
    tracked = any(overrides_hook(worker.callbacks, hook) for hook in HOOKS)
    by_trajectory = overrides_hook(worker.callbacks, "on_postprocess_trajectory")
    reader = Reader(worker.env.observation_space, worker.preprocessors[policy_id])
    stepper = _stepper(worker, reader, keep_raw=tracked or by_trajectory)
    worker.async_env = SubEnvs(stepper, worker.env.observation_space, worker.env.action_space)
    tracker = EpisodeTracker(worker, stepper.num_envs) if tracked or by_trajectory else None
    runner = VectorRunner(
        stepper,
        lambda: worker.policy_map[policy_id],
        lambda: active_filter(worker.filters.get(policy_id)),
        sampler_settings(worker),
        env_seeds(config.seed, worker.worker_index, stepper.num_envs),
        tracker,
    )
    return VectorSampler(runner, _trajectory_hook(worker, policy_id) if by_trajectory else None, policy_id)


def active_filter(filter_: Any) -> Any:
    """The filter, or None for one that does nothing."""
    return None if filter_ is None or type(filter_).__name__ == "NoFilter" else filter_


def _stepper(worker: Any, reader: Reader, *, keep_raw: bool) -> Any:
    config = worker.config
    mode = config.gym_env_vectorize_mode
    if mode != "sub_envs":
        from aktis.rllib.evaluation._vector_stepper import make_vector_stepper

        return make_vector_stepper(worker, reader, mode, keep_raw=keep_raw)
    envs = [worker.env, *(worker.make_sub_environment(index) for index in range(1, config.num_envs_per_worker))]
    restart = None
    if config.restart_failed_sub_environments:
        restart = _Restart(worker, envs)
    renderer = None
    if config.render_env:
        from aktis.rllib.evaluation._rendering import Renderer

        renderer = Renderer(envs)
    return SubEnvStepper(
        envs,
        reader,
        restart=restart,
        keep_raw=keep_raw,
        check=not config.disable_env_checking,
        after_step=renderer,
    )


class _Restart:
    """Makes an environment anew that raised."""

    def __init__(self, worker: Any, envs: list[Any]) -> None:
        self._worker = worker
        self._envs = envs

    def __call__(self, index: int) -> Any:
        import contextlib

        with contextlib.suppress(Exception):
            self._envs[index].close()
        env = self._worker.make_sub_environment(index)
        if index == 0:
            self._worker.env = env
        return env


def _trajectory_hook(worker: Any, policy_id: str) -> Any:
    from aktis.rllib.evaluation.episode import AGENT

    def after(episode: Any, processed: Any, original: Any) -> None:
        worker.callbacks.on_postprocess_trajectory(
            worker=worker,
            episode=episode,
            agent_id=AGENT,
            policy_id=policy_id,
            policies=worker.policy_map,
            postprocessed_batch=processed,
            original_batches={AGENT: (policy_id, worker.policy_map[policy_id], original)},
        )

    return after
