"""Which parts of an observation a policy's actions hang on: those of which a permutation over the steps changes many actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aktis.rllib.offline.offline_evaluator import OfflineEvaluator
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, convert_ma_batch_to_sample_batch

__all__ = ["FeatureImportance"]


class FeatureImportance(OfflineEvaluator):
    """Permutation importance (Breiman 2001, "Random forests", section 10) of each number in an observation.

    Args:
        policy: The policy.
        repeat: How many permutations the numbers are means of.
        limit_fraction: Of ``estimate_on_dataset``: so much of the steps is used, drawn at random.
        perturb_fn: ``f(columns [B, features], feature)`` returns them with one feature changed; by default it is permuted.
        seed: Of the permutations.

    Raises:
        ValueError: a setting makes no sense.
    """

    def __init__(
        self,
        policy: Any,
        repeat: int = 1,
        limit_fraction: float = 1.0,
        perturb_fn: Callable[[Any, int], Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(policy)
        if repeat < 1:
            raise ValueError(f"repeat must be at least 1, not {repeat}")
        if not 0.0 < limit_fraction <= 1.0:
            raise ValueError(f"limit_fraction must be above 0 and at most 1, not {limit_fraction}")
        self.repeat = repeat
        self.limit_fraction = limit_fraction
        self.perturb_fn = perturb_fn or self._permuted
        self._rng = np.random.default_rng(seed)

    def _permuted(self, columns: Any, feature: int) -> Any:
        columns = columns.copy()
        self._rng.shuffle(columns[:, feature])
        return columns

    def estimate(self, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> dict[str, Any]:
        """``feature_0``, ...: in how many of the steps (0 to 1) a changed feature leads to another action.

        Args:
            batch: With ``obs``.
        """
        steps = convert_ma_batch_to_sample_batch(batch)
        obs = np.asarray(steps["obs"])
        flat = obs.reshape(len(obs), -1)
        usual = self._actions(obs)
        return {f"feature_{i}": self._of_feature(flat, i, obs.shape, usual) for i in range(flat.shape[1])}

    def _of_feature(self, flat: Any, feature: int, shape: Any, usual: Any) -> float:
        changed = []
        for _ in range(self.repeat):
            other = self._actions(np.asarray(self.perturb_fn(flat.copy(), feature)).reshape(shape))
            changed.append(np.mean(np.any(other != usual, axis=1)))
        return float(np.mean(changed))

    def _actions(self, obs: Any) -> Any:
        """[B, numbers of an action], without exploration."""
        import tree

        actions, _, _ = self.policy.compute_actions(obs, explore=False)
        return np.concatenate([np.asarray(leaf).reshape(len(obs), -1) for leaf in tree.flatten(actions)], axis=1)

    def estimate_on_dataset(self, dataset: Any, *, n_parallelism: int = 1) -> dict[str, Any]:
        """See ``OfflineEvaluator``; of ``limit_fraction`` of the rows, which are steps."""
        rows = list(dataset.iter_rows() if hasattr(dataset, "iter_rows") else dataset)
        if not rows:
            raise ValueError("the dataset has no rows")
        count = max(1, int(len(rows) * self.limit_fraction))
        chosen = (
            sorted(self._rng.choice(len(rows), count, replace=False).tolist())
            if count < len(rows)
            else range(len(rows))
        )
        return super().estimate_on_dataset([rows[i] for i in chosen])
