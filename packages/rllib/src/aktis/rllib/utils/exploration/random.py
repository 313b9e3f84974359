"""Actions without any thought."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tree

from aktis.rllib.utils.exploration.exploration import Exploration

if TYPE_CHECKING:
    import gymnasium as gym


class Random(Exploration):
    """Every action of the space is as likely as any other (normal where it has no bounds). Without `explore`, the
    policy's best action.

    Args:
        action_space: What the policy does.
        model: The policy's model.
        framework: "torch" or "tf2".
        **kwargs: For Exploration.
    """

    def __init__(self, action_space: gym.Space[Any], *, model: Any, framework: str, **kwargs: Any) -> None:
        super().__init__(action_space=action_space, model=model, framework=framework, **kwargs)

    def get_exploration_action(
        self, *, action_distribution: Any, timestep: Any, explore: bool = True
    ) -> tuple[Any, Any]:
        """See Exploration. The logarithm of the probability is 0."""
        rows = batch_size(action_distribution)
        logp = self.ops.zeros((rows,), device=self.device)
        if not explore:
            return action_distribution.deterministic_sample(), logp
        actions = sample_space(self.action_space, rows, self.rng)
        return tree.map_structure(lambda a: self.ops.from_numpy(a, device=self.device), actions), logp


def batch_size(action_distribution: Any) -> int:
    """How many rows a batch of distributions has."""
    first = tree.flatten(action_distribution.inputs)[0]
    return int(first.shape[0])


def sample_space(space: gym.Space[Any], rows: int, rng: np.random.Generator) -> Any:
    """Random actions as policies make them, with `rows` as the first axis, in the structure of the space: whole numbers count from
    0, wherever the space begins."""
    import gymnasium as gym

    if isinstance(space, gym.spaces.Dict):
        return {key: sample_space(inner, rows, rng) for key, inner in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(sample_space(inner, rows, rng) for inner in space.spaces)
    if isinstance(space, gym.spaces.Discrete):
        return rng.integers(space.n, size=rows, dtype=np.int64)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return rng.integers(space.nvec, size=(rows, *space.nvec.shape)).astype(space.dtype)
    if isinstance(space, gym.spaces.MultiBinary):
        return rng.integers(2, size=(rows, *space.shape), dtype=space.dtype)
    if isinstance(space, gym.spaces.Box):
        return _sample_box(space, rows, rng)
    space.seed(int(rng.integers(2**31)))
    return np.stack([np.asarray(space.sample()) for _ in range(rows)])


def _sample_box(space: Any, rows: int, rng: np.random.Generator) -> Any:
    shape = (rows, *space.shape)
    if space.dtype.kind in "iu":
        return rng.integers(space.low, space.high, size=shape, dtype=space.dtype, endpoint=True)
    below, above = np.isfinite(space.low), np.isfinite(space.high)
    drawn = rng.normal(size=shape)
    tail = rng.exponential(size=shape)
    drawn = np.where(below & ~above, np.where(below, space.low, 0) + tail, drawn)
    drawn = np.where(~below & above, np.where(above, space.high, 0) - tail, drawn)
    low, high = np.where(below & above, space.low, 0.0), np.where(below & above, space.high, 1.0)
    drawn = np.where(below & above, rng.uniform(low, high, size=shape), drawn)
    return np.clip(drawn.astype(space.dtype), space.low, space.high)
