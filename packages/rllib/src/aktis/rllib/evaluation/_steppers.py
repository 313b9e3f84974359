"""The environments' half of a rollout: N environments that take one step together.

A stepper keeps what was observed in arrays that it uses again in the next step; who wants to keep them copies. An
episode that ends is
begun anew within the same step: ``obs`` is always what the next actions are for, and the final observation is in ``final_obs``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from aktis.rllib.env.utils import close_envs
from aktis.rllib.evaluation._observations import EnvError, Reader

__all__ = ["Stepper", "SubEnvStepper"]

Array: TypeAlias = Any  # np.ndarray

# Observations are checked in this many steps after the start, and then in one step of so many.
FIRST_CHECKS = 20
CHECK_EVERY = 100


class Stepper(Protocol):
    """N environments that step together."""

    num_envs: int
    takes_batches: bool  # whether actions come as one batch, or as a list with one for each environment
    monitors: list[Any] | None  # where episodes are parts of games: who keeps account of games
    envs: list[Any]  # the environments themselves, where there is one object each
    obs: Array  # [N, ...] what the next actions are for
    rewards: Array  # [N] float64, of the last step
    terminateds: Array  # [N] bool
    truncateds: Array  # [N] bool
    infos: list[dict[str, Any]]  # of the last step (where an episode ended: of its last step)
    reset_infos: dict[int, dict[str, Any]]  # of the resets in the last step
    ended: list[int]  # which episodes ended with the last step
    begun: list[int]  # of which environments ``obs`` is the first observation of an episode, since the last step
    final_obs: dict[int, Array]  # what was observed at their ends
    skipped: Array | None  # [N] bool: environments for which the last step did not count (they were only reset)
    failed: list[tuple[int, BaseException]]  # environments that raised, and were made anew
    raw_obs: list[Any]  # the unprocessed observations behind ``obs``, if asked to keep them
    raw_final_obs: dict[int, Any]

    def reset(self, seeds: Sequence[int | None]) -> None:
        """Begin an episode in each environment; a seed of None leaves its randomness as it is."""
        ...

    def step(self, actions: Any) -> None:
        """Do one action in each environment."""
        ...

    def close(self) -> None:
        """Close all environments."""
        ...


class SubEnvStepper:
    """Our own loop over environments: no copies beyond one write of each observation.

    Args:
        envs: The environments.
        reader: Checks and preprocesses observations.
        restart: Makes the environment of an index anew, after it raised. None: what it raises is the user's to see.
        keep_raw: Whether ``raw_obs`` is kept up (callbacks want it).
        check: Whether observations are checked.
        after_step: Called with the index of each environment after its step (rendering).
    """

    takes_batches = False

    def __init__(
        self,
        envs: list[Any],
        reader: Reader,
        *,
        restart: Callable[[int], Any] | None = None,
        keep_raw: bool = False,
        check: bool = True,
        after_step: Callable[[int], None] | None = None,
    ) -> None:
        self.envs = envs
        self.num_envs = len(envs)
        self._reader = reader
        self._restart = restart
        self._keep_raw = keep_raw
        self._check = check
        self._after_step = after_step
        count = self.num_envs
        self.obs: Array = np.zeros((count, *reader.shape), reader.dtype)
        self.rewards: Array = np.zeros(count, np.float64)
        self.terminateds: Array = np.zeros(count, bool)
        self.truncateds: Array = np.zeros(count, bool)
        self.infos: list[dict[str, Any]] = [{} for _ in envs]
        self.reset_infos: dict[int, dict[str, Any]] = {}
        self.raw_obs: list[Any] = [None] * count
        self.raw_final_obs: dict[int, Any] = {}
        self.ended: list[int] = []
        self.begun: list[int] = []
        self.final_obs: dict[int, Array] = {}
        self.failed: list[tuple[int, BaseException]] = []
        self.skipped: Array | None = None
        self.steps = 0
        self._step_of = [env.step for env in envs]
        self.monitors = _monitors(envs)

    def reset(self, seeds: Sequence[int | None]) -> None:
        """Begin an episode in each environment; a seed of None leaves its randomness as it is."""
        self._forget_ends()
        for index, seed in enumerate(seeds):
            self._begin(index, seed)

    def step(self, actions: Sequence[Any]) -> None:
        """Do one action in each environment."""
        if self.begun:
            self._forget_ends()
        self.steps += 1
        obs, reader, identity = self.obs, self._reader, self._reader.identity
        checking = self._check and (self.steps <= FIRST_CHECKS or not self.steps % CHECK_EVERY)
        watched = checking or self._keep_raw or self._after_step is not None
        rewards: list[Any] = []
        infos: list[dict[str, Any]] = []
        add_reward, add_info = rewards.append, infos.append
        for index, (step, action) in enumerate(zip(self._step_of, actions, strict=True)):
            try:
                observation, reward, terminated, truncated, info = step(action)
            except Exception as error:
                self._fail(index, error)
                add_reward(0.0)
                add_info({})
                continue
            add_reward(reward)
            add_info(info)
            if watched:
                self._watch(index, observation, checking)
            try:
                if terminated or truncated:
                    self._end(index, observation, bool(terminated), bool(truncated))
                elif identity:
                    obs[index] = observation
                else:
                    reader.write(obs, index, observation)
            except (TypeError, ValueError, KeyError, IndexError):
                reader.check(observation, self._where(index))  # says what is wrong with it, if that is what it was
                raise
        self.infos = infos
        self._take_rewards(rewards)

    def close(self) -> None:
        """Close all environments."""
        close_envs(self.envs)

    # One environment ------------------------------------------------------------------------------------------------

    def _watch(self, index: int, observation: Any, checking: bool) -> None:
        if checking:
            self._reader.check(observation, self._where(index))
        if self._keep_raw:
            self.raw_obs[index] = observation
        if self._after_step is not None:
            self._after_step(index)

    def _end(self, index: int, observation: Any, terminated: bool, truncated: bool) -> None:
        self.terminateds[index] = terminated
        self.truncateds[index] = truncated
        self.final_obs[index] = self._reader.row(observation)
        if self._keep_raw:
            self.raw_final_obs[index] = observation
        self.ended.append(index)
        try:
            self._begin(index, None)
        except Exception as error:
            self._recreate(index, error)

    def _begin(self, index: int, seed: int | None) -> None:
        env = self.envs[index]
        result = env.reset() if seed is None else env.reset(seed=seed)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
            raise EnvError(
                f"{self._where(index)}: reset() must return (observation, info), with info a dictionary; it returned "
                f"{result!r:.200}"
            )
        observation, info = result
        if self._check and self.steps <= FIRST_CHECKS:
            self._reader.check(observation, self._where(index))
        if self._keep_raw:
            self.raw_obs[index] = observation
        self.reset_infos[index] = info
        self.begun.append(index)
        self._reader.write(self.obs, index, observation)

    def _fail(self, index: int, error: Exception) -> None:
        """An environment raised in its step: made anew, or an error of the user's."""
        if (
            isinstance(error, (ValueError, TypeError))
            and error.__traceback__ is not None
            and error.__traceback__.tb_next is None
        ):
            # It was not the environment that raised: what it returned could not be taken apart.
            raise EnvError(
                f"{self._where(index)}: step() must return (observation, reward, terminated, truncated, info): "
                f"{error}. Environments "
                "of the old Gym API (four values) are wrapped if config.environment(auto_wrap_old_gym_envs=True)"
            ) from error
        self._recreate(index, error)

    def _recreate(self, index: int, error: Exception) -> None:
        if self._restart is None or isinstance(error, EnvError):
            raise error
        self.envs[index] = self._restart(index)
        self._step_of[index] = self.envs[index].step
        self.monitors = _monitors(self.envs)
        self.failed.append((index, error))
        self._begin(index, None)

    # All of them ----------------------------------------------------------------------------------------------------

    def _forget_ends(self) -> None:
        self.ended, self.begun, self.failed = [], [], []
        self.final_obs, self.raw_final_obs, self.reset_infos = {}, {}, {}
        self.terminateds[:] = False
        self.truncateds[:] = False

    def _take_rewards(self, rewards: list[Any]) -> None:
        try:
            total = sum(rewards)
            self.rewards[:] = rewards
            if total - total == 0.0:  # neither nan nor infinite
                return
        except (TypeError, ValueError):
            pass
        for index, reward in enumerate(rewards):
            self.rewards[index] = self._number(index, reward)

    def _number(self, index: int, reward: Any) -> float:
        try:
            value = float(np.asarray(reward, np.float64).reshape(()))
        except (TypeError, ValueError):
            raise EnvError(f"{self._where(index)}: the reward must be a number, not {reward!r:.200}") from None
        if not np.isfinite(value):
            raise EnvError(
                f"{self._where(index)}: the reward is {value}. Nothing can be learned from it: find out in the "
                "environment where it comes from"
            )
        return value

    def _where(self, index: int) -> str:
        env = self.envs[index]
        name = getattr(getattr(env, "spec", None), "id", None) or type(getattr(env, "unwrapped", env)).__name__
        return f"environment {name} (sub-environment {index}, step {self.steps})"


def _monitors(envs: list[Any]) -> list[Any] | None:
    from aktis.rllib.env.wrappers.atari_wrappers import MonitorEnv, get_wrapper_by_cls

    found = [get_wrapper_by_cls(env, MonitorEnv) for env in envs]
    return found if all(monitor is not None for monitor in found) else None
