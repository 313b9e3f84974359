"""Recording episodes outside of any algorithm: of people, of scripts, of other libraries' policies."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from aktis.rllib.offline.output_writer import OutputWriter
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["EpisodeRecorder"]


class EpisodeRecorder:
    """Writes episodes step by step; each is one batch of a file.

    >>> with EpisodeRecorder("/tmp/episodes") as recorder:  # doctest: +SKIP
    ...     obs, _ = env.reset()
    ...     recorder.start(obs)
    ...     while recorder.running:
    ...         action = person_decides(obs)
    ...         obs, reward, terminated, truncated, _ = env.step(action)
    ...         recorder.step(action, reward, obs, terminated, truncated)

    Args:
        output: A folder (of JSON lines), or an ``OutputWriter``.
    """

    def __init__(self, output: str | os.PathLike[str] | OutputWriter) -> None:
        if not isinstance(output, OutputWriter):
            from aktis.rllib.offline.json_writer import JsonWriter

            output = JsonWriter(output)
        self.writer = output
        self.episodes = 0
        self.running = False
        self._steps: list[dict[str, Any]] = []
        self._obs: Any = None

    def start(self, obs: Any) -> None:
        """Begin an episode.

        Args:
            obs: The first observation.

        Raises:
            RuntimeError: one is running.
        """
        if self.running:
            raise RuntimeError(
                "an episode is running: end it with step(..., terminated=True) or cut() before the next one starts"
            )
        self._obs = obs
        self._steps = []
        self.running = True

    def step(
        self, action: Any, reward: float, obs: Any, terminated: bool = False, truncated: bool = False, **columns: Any
    ) -> None:
        """Record what was done, and what came of it.

        Args:
            action: As the environment got it.
            reward: For it.
            obs: Observed after it.
            terminated: Whether that was the end.
            truncated: Whether the episode was cut there.
            columns: More of the step, such as ``action_prob``, the probability with which the action was chosen (off-policy
                estimators need it).

        Raises:
            RuntimeError: no episode is running.
        """
        if not self.running:
            raise RuntimeError("no episode is running: start(obs) begins one")
        self._steps.append(
            {
                "obs": self._obs,
                "new_obs": obs,
                "actions": action,
                "rewards": float(reward),
                "terminateds": bool(terminated),
                "truncateds": bool(truncated),
                "eps_id": self.episodes,
                "t": len(self._steps),
                **columns,
            }
        )
        self._obs = obs
        if terminated or truncated:
            self._write()

    def cut(self) -> None:
        """End the running episode as truncated (if it has steps), for example when a person leaves."""
        if self.running and self._steps:
            self._steps[-1]["truncateds"] = True
            self._write()
        self.running = False

    def record(self, env: Any, act: Callable[[Any], Any], episodes: int = 1, seed: int | None = None) -> list[float]:
        """Run and record whole episodes of a Gymnasium environment.

        Args:
            env: It.
            act: ``act(obs)`` returns the action, or (action, dict of more columns).
            episodes: How many.
            seed: Of the first reset.

        Returns:
            The return of each.
        """
        returns = []
        for number in range(episodes):
            obs, _ = env.reset(seed=seed if number == 0 else None)
            self.start(obs)
            total = 0.0
            while self.running:
                chosen = act(obs)
                action, more = (
                    chosen
                    if isinstance(chosen, tuple) and len(chosen) == 2 and isinstance(chosen[1], dict)
                    else (chosen, {})
                )
                obs, reward, terminated, truncated, _ = env.step(action)
                total += float(reward)
                self.step(action, reward, obs, terminated, truncated, **more)
            returns.append(total)
        return returns

    def _write(self) -> None:
        columns = {key: [step[key] for step in self._steps] for key in self._steps[0]}
        batch = SampleBatch(columns)
        batch["rewards"] = np.asarray(batch["rewards"], np.float32)
        self.writer.write(batch)
        self.running = False
        self.episodes += 1

    def close(self) -> None:
        """Cut the running episode, and complete the file."""
        self.cut()
        self.writer.close()

    def __enter__(self) -> EpisodeRecorder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
