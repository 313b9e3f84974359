"""Letting a trained algorithm act, from the command line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aktis.rllib.cli import CommandError
from aktis.rllib.cli._experiments import parse_json
from aktis.rllib.cli._recording import counted

__all__ = ["Episode", "Evaluation", "rollout"]

Step = list[Any]  # observation, action, next observation, reward, terminated, truncated, and info where it is asked for

_ALONE = {
    "num_workers": 0, "evaluation_num_workers": 0, "evaluation_interval": None, "num_envs_per_worker": 1,
    "create_env_on_driver": True, "output": None, "input": "sampler",
}  # fmt: skip


@dataclass
class Episode:
    """What happened in an episode."""

    steps: list[Step]
    reward: float
    length: int


@dataclass(frozen=True)
class Evaluation:
    """The command ``rllib evaluate``: its arguments, checked when it runs."""

    checkpoint: Path | None
    algo: str | None
    env: str | None
    config: str | None
    steps: int
    episodes: int
    explore: bool | None
    seed: int | None
    local_mode: bool = False

    def run(
        self,
        out: Path | None,
        save_info: bool,
        use_shelve: bool,
        track_progress: bool,
        render: bool,
        video: Path | None,
    ) -> None:
        """Let the algorithm act, and print a line about each episode."""
        from aktis.rllib.cli._recording import Saver, Screen

        if out is None and (use_shelve or track_progress):
            raise CommandError(f"--{'use-shelve' if use_shelve else 'track-progress'} needs --out FILE")
        if not self.steps and not self.episodes:
            raise CommandError("--steps 0 and --episodes 0 would never end: give one of them")
        algorithm = self._algorithm()
        try:
            explore = self._explores(algorithm)
            with (
                Saver(out, use_shelve, track_progress, self.steps, self.episodes) as saver,
                Screen(video, render) as screen,
            ):
                env = self._environment(algorithm, screen)
                episodes = []
                began = time.monotonic()
                act = _Actor(algorithm, explore)
                keep = out is not None
                for episode in rollout(act, env, self.steps, self.episodes, self.seed, screen.show, keep, save_info):
                    saver.add(episode)
                    episodes.append(episode)
                    print(
                        f"episode {len(episodes)}: return {episode.reward:g}, {counted(episode.length, 'step')}",
                        flush=True,
                    )
                _summary(episodes, time.monotonic() - began)
                if hasattr(env, "close"):
                    env.close()
            for words in (*saver.told, *screen.told):
                print(words)
        finally:
            algorithm.stop()

    def _algorithm(self) -> Any:
        overrides = {**_ALONE, **parse_json(self.config, "--config")}
        if self.env is not None:
            from aktis.rllib.cli._environments import find

            overrides["env"] = find(self.env)
        if self.checkpoint is not None:
            if not self.checkpoint.exists():
                raise CommandError(f"there is no checkpoint {str(self.checkpoint)!r}")
            cls = self._class()
            return cls.from_checkpoint(str(self.checkpoint), config_overrides=overrides)
        if self.algo is None or "env" not in overrides:
            raise CommandError("without a checkpoint, --algo and --env say what is to act (and it has learned nothing)")
        cls = self._class()
        config = cls.get_default_config().copy(copy_frozen=False).update_from_dict(overrides)
        return cls(config=config)

    def _class(self) -> Any:
        from aktis.rllib.algorithms.algorithm import Algorithm

        if self.algo is None:
            return Algorithm
        from aktis.tune.registry import get_trainable_cls

        return get_trainable_cls(self.algo)

    def _explores(self, algorithm: Any) -> bool:
        if self.explore is not None:
            return self.explore
        given = algorithm.config.evaluation_config or {}
        explore = given.get("explore") if hasattr(given, "get") else None
        return bool(algorithm.config.explore if explore is None else explore)

    def _environment(self, algorithm: Any, screen: Any) -> Any:
        """An environment of its own, so that it can be made to show itself."""
        from aktis.rllib.env.env_context import EnvContext
        from aktis.rllib.evaluation._env_setup import EnvMaker

        config = algorithm.config
        settings = dict(config.env_config or {})
        if screen.wanted and isinstance(config.env, str):
            settings.setdefault("render_mode", screen.mode)
        context = EnvContext(settings, worker_index=0)
        env = EnvMaker(algorithm.env_creator, config, context).first()
        if env is None:
            raise CommandError("the checkpoint's configuration has no environment: say which with --env")
        return env


class _Actor:
    """Actions for one environment, whose agents have policies and states."""

    def __init__(self, algorithm: Any, explore: bool) -> None:
        self._algorithm = algorithm
        self._explore = explore
        worker = algorithm.workers.local_worker()
        self._mapping: Callable[..., str] = worker.policy_mapping_fn
        self._worker = worker
        self.reset()

    def reset(self) -> None:
        """A new episode."""
        self._policies: dict[Any, str] = {}
        self._states: dict[Any, list[Any]] = {}

    def __call__(self, agent: Any, observation: Any) -> Any:
        policy_id = self._policies.get(agent)
        if policy_id is None:
            policy_id = self._policy_of(agent)
            self._policies[agent] = policy_id
            self._states[agent] = list(self._algorithm.get_policy(policy_id).get_initial_state())
        state = self._states[agent]
        found = self._algorithm.compute_single_action(
            observation, state or None, policy_id=policy_id, explore=self._explore
        )
        if not state:
            return found
        from aktis.rllib.algorithms._algorithm.actions import next_state

        action, new, _ = found
        self._states[agent] = next_state(state, new)
        return action

    def _policy_of(self, agent: Any) -> str:
        if agent is None:
            return "default_policy"
        return self._mapping(agent, None, worker=self._worker)


def rollout(
    act: _Actor, env: Any, steps: int, episodes: int, seed: int | None = None, show: Callable[[Any], None] | None = None,
    keep: bool = False, save_info: bool = False,
) -> Any:  # fmt: skip
    """Yield episodes until there are enough of them, or enough steps; the last one may be cut off.

    Args:
        act: What acts.
        env: An environment of Gymnasium, or a MultiAgentEnv.
        steps: Steps at most; 0: no limit.
        episodes: Episodes at most; 0: no limit.
        seed: Of the first reset.
        show: Called with the environment after each step, and after each reset.
        keep: Whether episodes have their steps.
        save_info: Whether steps have their info.
    """
    taken = made = 0
    while (not steps or taken < steps) and (not episodes or made < episodes):
        observation, _ = env.reset(seed=seed)
        seed = None
        act.reset()
        several = _is_multi_agent(env)
        if show is not None:
            show(env)
        reward, length, kept, over = 0.0, 0, [], False
        while not over and (not steps or taken < steps):
            action = (
                {agent: act(agent, row) for agent, row in observation.items()} if several else act(None, observation)
            )
            following, gained, terminated, truncated, info = env.step(action)
            if show is not None:
                show(env)
            if keep:
                kept.append(
                    [observation, action, following, gained, terminated, truncated, *([info] if save_info else [])]
                )
            reward += sum(gained.values()) if several else float(gained)
            over = bool(terminated["__all__"] or truncated["__all__"]) if several else bool(terminated or truncated)
            observation = following
            length += 1
            taken += 1
        made += 1
        yield Episode(kept, reward, length)


def _is_multi_agent(env: Any) -> bool:
    from aktis.rllib.env.multi_agent_env import MultiAgentEnv

    return isinstance(env, MultiAgentEnv) or isinstance(getattr(env, "unwrapped", None), MultiAgentEnv)


def _summary(episodes: list[Episode], seconds: float) -> None:
    returns = np.array([episode.reward for episode in episodes])
    steps = sum(episode.length for episode in episodes)
    print(
        f"{counted(len(episodes), 'episode')}, {counted(steps, 'step')} in {seconds:.1f} s: return {returns.mean():g} on average "
        f"(from {returns.min():g} to {returns.max():g})"
    )
