"""Datasets of D4RL (Fu et al. 2020, https://arxiv.org/abs/2004.07219)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from aktis.rllib.offline._adapt import adapt
from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["D4RLReader"]


class D4RLReader(InputReader):
    """Reads the transitions of a D4RL dataset.

    Args:
        inputs: The name of its environment, such as ``"hopper-random-v0"``.
        ioctx: The context of the worker.

    Raises:
        ImportError: d4rl (and the gym that it comes with) is not installed.
    """

    adapts = True

    def __init__(self, inputs: str, ioctx: IOContext | None = None) -> None:
        try:
            import gym

            d4rl: Any = importlib.import_module("d4rl")
        except ImportError as error:
            raise ImportError(
                f"the input 'd4rl.{inputs}' needs D4RL, and {error.name or error} is not installed: see "
                "github.com/Farama-Foundation/D4RL"
            ) from error
        self.ioctx = ioctx or IOContext()
        self.name = inputs
        self.env = gym.make(inputs)
        self.dataset: SampleBatch = _as_batch(d4rl.qlearning_dataset(self.env))
        worker = self.ioctx.worker
        self._steps = max(1, int(worker.fragment_length)) if worker is not None else 200
        self._at = 0

    def next(self) -> SampleBatch | MultiAgentBatch:
        """The next steps, as many as a fragment of the worker has."""
        rows = self.dataset.count
        start, end = self._at, min(self._at + self._steps, rows)
        self._at = 0 if end == rows else end
        return adapt(self.dataset.slice(start, end).copy(), self.ioctx, f"d4rl.{self.name}, steps {start} to {end}")

    def close(self) -> None:
        """Close the environment."""
        if hasattr(self.env, "close"):
            self.env.close()


def _as_batch(data: dict[str, Any]) -> SampleBatch:
    terminals = np.asarray(data["terminals"]).astype(bool)
    timeouts = np.asarray(data["timeouts"]).astype(bool) if "timeouts" in data else np.zeros(len(terminals), bool)
    following = np.asarray(data["next_observations"], np.float32)
    obs = np.asarray(data["observations"], np.float32)
    # Transitions that do not follow one another are of different episodes: the dataset leaves the last one out where an
    # episode was cut.
    jump: np.ndarray[Any, Any] = np.append(np.any(obs[1:] != following[:-1], axis=tuple(range(1, obs.ndim))), False)
    ends = terminals | timeouts | jump
    return SampleBatch(
        {
            "obs": obs,
            "new_obs": following,
            "actions": np.asarray(data["actions"], np.float32),
            "rewards": np.asarray(data["rewards"], np.float32).reshape(-1),
            "terminateds": terminals,
            "truncateds": ends & ~terminals,
            "eps_id": np.cumsum(np.append(False, ends[:-1])).astype(np.int64),
        }
    )
