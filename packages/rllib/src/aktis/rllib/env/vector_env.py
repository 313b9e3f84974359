"""Environments that step together: the interface of users' own vectorised environments, and Gymnasium ones behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import gymnasium

__all__ = ["VectorEnv"]


class VectorEnv:
    """Several copies of one environment that take each step together. Subclass it to vectorise an environment yourself.

    Args:
        observation_space: Of one of them.
        action_space: Of one of them.
        num_envs: How many there are.
    """

    def __init__(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], num_envs: int
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.num_envs = num_envs

    @staticmethod
    def vectorize_gym_envs(
        make_env: Callable[[int], Any] | None = None,
        existing_envs: list[Any] | None = None,
        num_envs: int = 1,
        action_space: gymnasium.Space[Any] | None = None,
        observation_space: gymnasium.Space[Any] | None = None,
        restart_failed_sub_environments: bool = False,
        env_config: Any = None,
        policy_config: Any = None,
    ) -> VectorEnv:
        """Gymnasium environments behind this interface.

        Args:
            make_env: ``make_env(index)`` makes the environments that are missing in ``existing_envs``.
            existing_envs: Environments that are there already.
            num_envs: How many there will be.
            action_space: Of one of them; asked of the first one by default.
            observation_space: Of one of them; asked of the first one by default.
            restart_failed_sub_environments: Whether what an environment raises is returned in place of its observation,
                for the caller
                to restart it, instead of raised.
            env_config: Has no meaning any more.
            policy_config: Has no meaning any more.
        """
        return _VectorizedGymEnv(
            make_env=make_env,
            existing_envs=existing_envs or [],
            num_envs=num_envs,
            observation_space=observation_space,
            action_space=action_space,
            restart_failed_sub_environments=restart_failed_sub_environments,
        )

    def vector_reset(
        self, *, seeds: list[int | None] | None = None, options: list[dict[str, Any] | None] | None = None
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        """Begin an episode in all of them: observations and infos."""
        raise NotImplementedError(f"{type(self).__name__} must define vector_reset()")

    def reset_at(
        self, index: int | None = None, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]] | Exception:
        """Begin an episode in one of them: observation and info."""
        raise NotImplementedError(f"{type(self).__name__} must define reset_at()")

    def restart_at(self, index: int | None = None) -> None:
        """Make one of them anew, after it raised."""
        raise NotImplementedError(f"{type(self).__name__} must define restart_at()")

    def vector_step(
        self, actions: list[Any]
    ) -> tuple[list[Any], list[float], list[bool], list[bool], list[dict[str, Any]]]:
        """One step of all of them.

        Observations, rewards, terminateds, truncateds, infos. Episodes that end are begun anew by the caller.
        """
        raise NotImplementedError(f"{type(self).__name__} must define vector_step()")

    def get_sub_environments(self) -> list[Any]:
        """The environments, where there is an object for each."""
        return []

    def try_render_at(self, index: int | None = None) -> Any:
        """What one of them shows; None where there is nothing to be seen."""
        return None

    def to_base_env(
        self,
        make_env: Callable[[int], Any] | None = None,
        num_envs: int = 1,
        remote_envs: bool = False,
        remote_env_batch_wait_ms: int = 0,
        restart_failed_sub_environments: bool = False,
    ) -> Any:
        """These environments as a BaseEnv."""
        from aktis.rllib.env.base_env import convert_to_base_env

        return convert_to_base_env(
            self,
            make_env=make_env,
            num_envs=num_envs,
            remote_envs=remote_envs,
            remote_env_batch_wait_ms=remote_env_batch_wait_ms,
            restart_failed_sub_environments=restart_failed_sub_environments,
        )


class _VectorizedGymEnv(VectorEnv):
    """Gymnasium environments, one after the other."""

    def __init__(
        self,
        *,
        make_env: Callable[[int], Any] | None,
        existing_envs: list[Any],
        num_envs: int,
        observation_space: gymnasium.Space[Any] | None,
        action_space: gymnasium.Space[Any] | None,
        restart_failed_sub_environments: bool,
    ) -> None:
        self.envs = list(existing_envs)
        self.make_env = make_env
        self.restart_failed_sub_environments = restart_failed_sub_environments
        while len(self.envs) < num_envs:
            if make_env is None:
                raise ValueError(
                    f"vectorize_gym_envs() has {len(self.envs)} of {num_envs} environments, and no make_env= for the others"
                )
            self.envs.append(make_env(len(self.envs)))
        first = self.envs[0]
        super().__init__(observation_space or first.observation_space, action_space or first.action_space, num_envs)

    def vector_reset(
        self, *, seeds: list[int | None] | None = None, options: list[dict[str, Any] | None] | None = None
    ) -> tuple[list[Any], list[dict[str, Any]]]:
        """Begin an episode in all of them; one that cannot be reset is made anew once, if so asked."""
        observations, infos = [], []
        for index in range(self.num_envs):
            given: dict[str, Any] = {
                "seed": seeds[index] if seeds else None,
                "options": options[index] if options else None,
            }
            result = self.reset_at(index, **given)
            if isinstance(result, Exception):
                self.restart_at(index)
                result = self.reset_at(index, **given)
            if isinstance(result, Exception):
                raise result
            observations.append(result[0])
            infos.append(result[1])
        return observations, infos

    def reset_at(
        self, index: int | None = None, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]] | Exception:
        """Begin an episode in one of them."""
        try:
            observation, info = self.envs[index or 0].reset(seed=seed, options=options)
        except Exception as error:
            if self.restart_failed_sub_environments:
                return error
            raise
        return observation, info

    def restart_at(self, index: int | None = None) -> None:
        """Make one of them anew."""
        index = index or 0
        with contextlib.suppress(Exception):
            self.envs[index].close()
        if self.make_env is None:
            raise ValueError(
                f"sub-environment {index} cannot be made anew: vectorize_gym_envs() was given no make_env="
            )
        self.envs[index] = self.make_env(index)

    def vector_step(
        self, actions: list[Any]
    ) -> tuple[list[Any], list[float], list[bool], list[bool], list[dict[str, Any]]]:
        """One step of all of them."""
        results: list[tuple[Any, float, bool, bool, dict[str, Any]]] = []
        for env, action in zip(self.envs, actions, strict=True):
            try:
                results.append(env.step(action))
            except Exception as error:
                if not self.restart_failed_sub_environments:
                    raise
                results.append((error, 0.0, True, False, {}))
        observations, rewards, terminateds, truncateds, infos = (list(part) for part in zip(*results, strict=True))
        return observations, rewards, terminateds, truncateds, infos

    def get_sub_environments(self) -> list[Any]:
        """The environments."""
        return self.envs

    def try_render_at(self, index: int | None = None) -> Any:
        """What one of them shows."""
        return self.envs[index or 0].render()
