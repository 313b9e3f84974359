"""What all off-policy estimators have in common.

The behaviour policy mu recorded episodes s_0, a_0, r_0, s_1, ... with the probabilities mu(a_t | s_t); asked is the value of
another policy pi.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from aktis.rllib.offline._adapt import split_trajectories
from aktis.rllib.offline.offline_evaluator import OfflineEvaluator
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, convert_ma_batch_to_sample_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aktis.rllib.policy.policy import Policy

__all__ = ["OffPolicyEstimator"]


class OffPolicyEstimator(OfflineEvaluator):
    """Derive from it and define ``estimate_on_single_episode`` and ``estimate_on_single_step_samples``.

    Args:
        policy: The policy pi that is judged.
        gamma: Discount of a step.
        epsilon_greedy: pi as it would act with this probability of a random action (discrete actions only).

    Raises:
        ValueError: gamma or epsilon_greedy are not from 0 to 1.
    """

    def __init__(self, policy: Policy, gamma: float = 0.0, epsilon_greedy: float = 0.0) -> None:
        super().__init__(policy)
        for name, value in (("gamma", gamma), ("epsilon_greedy", epsilon_greedy)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1, not {value!r}")
        if epsilon_greedy and not isinstance(policy.action_space, gymnasium.spaces.Discrete):
            raise ValueError(
                f"epsilon_greedy needs a discrete action space, and that of the policy is {policy.action_space}"
            )
        self.gamma = gamma
        self.epsilon_greedy = epsilon_greedy

    # -- to be defined

    @abstractmethod
    def estimate_on_single_episode(self, episode: SampleBatch) -> dict[str, float]:
        """``v_behavior`` and ``v_target``, the discounted returns of an episode by mu and pi.

        Args:
            episode: Steps [T] in order of time.
        """

    @abstractmethod
    def estimate_on_single_step_samples(self, batch: SampleBatch) -> dict[str, Any]:
        """The same for steps that are each an episode of its own (bandits): arrays [B].

        Args:
            batch: Steps [B].
        """

    def on_before_split_batch_by_episode(self, sample_batch: SampleBatch) -> SampleBatch:
        """Called with the whole batch; what it returns is split."""
        return sample_batch

    def on_after_split_batch_by_episode(self, all_episodes: list[SampleBatch]) -> list[SampleBatch]:
        """Called with all episodes; those that it returns are judged."""
        return all_episodes

    def peek_on_single_episode(self, episode: SampleBatch) -> None:
        """Called with each episode before any is judged."""

    # -- the estimate

    def estimate(
        self, batch: SampleBatch | MultiAgentBatch, split_batch_by_episode: bool = True, **kwargs: Any
    ) -> dict[str, Any]:
        """Judge the policy by a batch.

        Args:
            batch: With ``action_prob`` (or ``action_logp``), the probabilities of mu.
            split_batch_by_episode: Whether steps are of episodes; False: each is one of its own.

        Returns:
            ``v_behavior``, ``v_target``: means over episodes; ``..._std``: their deviations; ``v_gain``: their quotient;
            ``v_delta``: their difference.

        Raises:
            ValueError: the batch does not say how probable actions were, or is empty.
        """
        steps = _decompressed(batch)
        if not steps.count:
            raise ValueError("a batch without steps says nothing of a policy")
        self.check_action_prob_in_batch(steps)
        if split_batch_by_episode:
            steps = self.on_before_split_batch_by_episode(steps)
            episodes = self.on_after_split_batch_by_episode(_episodes(steps))
            for episode in episodes:
                self.peek_on_single_episode(episode)
            found = [self.estimate_on_single_episode(episode) for episode in episodes]
            values = {key: np.array([float(one[key]) for one in found]) for key in found[0]}
        else:
            values = {
                key: np.asarray(value, np.float64) for key, value in self.estimate_on_single_step_samples(steps).items()
            }
        return self._summary(values)

    @staticmethod
    def _summary(values: dict[str, NDArray[Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, column in values.items():
            made[key] = float(column.mean())
            made[f"{key}_std"] = float(column.std())
        made["v_gain"] = made["v_target"] / max(made["v_behavior"], 1e-8)
        made["v_delta"] = made["v_target"] - made["v_behavior"]
        return made

    def check_action_prob_in_batch(self, batch: SampleBatch | MultiAgentBatch) -> None:
        """Raise a ValueError where a batch does not say how probable its actions were."""
        steps = convert_ma_batch_to_sample_batch(batch)
        if "action_prob" not in steps and "action_logp" not in steps:
            raise ValueError(
                "off-policy estimates need the column 'action_prob': the probability with which each action was chosen. A "
                "policy that acts "
                "greedily has none; record with one that explores by chance (exploration_config={'type': 'SoftQ'} for "
                "DQN), or turn "
                "estimates off (off_policy_estimation_methods={})"
            )

    # -- probabilities

    def behavior_probs(self, batch: SampleBatch) -> NDArray[np.float64]:
        """mu(a_t | s_t), [B]."""
        if "action_prob" in batch:
            return np.asarray(batch["action_prob"], np.float64)
        return np.exp(np.asarray(batch["action_logp"], np.float64))

    def compute_action_probs(self, batch: SampleBatch) -> NDArray[np.float64]:
        """pi(a_t | s_t), [B]."""
        logp = log_likelihoods(self.policy, batch["obs"], batch["actions"], batch)
        probs = np.exp(np.asarray(logp, np.float64))
        if self.epsilon_greedy:
            choices = int(self.policy.action_space.n)
            probs = probs * (1.0 - self.epsilon_greedy) + self.epsilon_greedy / choices
        return probs

    def ratios(self, batch: SampleBatch) -> NDArray[np.float64]:
        """pi(a_t | s_t) / mu(a_t | s_t), [B]."""
        return self.compute_action_probs(batch) / np.maximum(self.behavior_probs(batch), 1e-12)

    def discounts(self, steps: int) -> NDArray[np.float64]:
        """gamma^t, [T]."""
        return np.asarray(self.gamma ** np.arange(steps), np.float64)


def log_likelihoods(policy: Any, obs: Any, actions: Any, batch: SampleBatch | None = None) -> NDArray[Any]:
    """log pi(a | s), [B], as an array.

    Args:
        policy: pi.
        obs: [B, ...].
        actions: [B, ...], as the policy makes them.
        batch: Where recurrent states and earlier actions are, if the policy reads them.
    """
    states: list[Any] = []
    while batch is not None and f"state_in_{len(states)}" in batch:
        states.append(batch[f"state_in_{len(states)}"])
    more = {}
    if batch is not None:
        more = {
            f"{name}_batch": batch[column]
            for name, column in (("prev_action", "prev_actions"), ("prev_reward", "prev_rewards"))
            if column in batch
        }
    found = policy.compute_log_likelihoods(
        actions=actions, obs_batch=obs, state_batches=states or None, actions_normalized=True, in_training=False, **more
    )
    return np.asarray(found.detach().cpu() if hasattr(found, "detach") else found)


def _decompressed(batch: SampleBatch | MultiAgentBatch) -> SampleBatch:
    steps = convert_ma_batch_to_sample_batch(batch).copy(shallow=True)
    return steps.decompress_if_needed(list(steps))


def _episodes(batch: SampleBatch) -> list[SampleBatch]:
    """One batch for each episode; fragments of one that are far apart are put together."""
    if "eps_id" in batch and "t" in batch:
        ids, t = np.asarray(batch["eps_id"]), np.asarray(batch["t"])
        _, first, number = np.unique(ids, return_index=True, return_inverse=True)
        number = number.reshape(-1)
        if len(np.unique(np.stack([number, t]), axis=1).T) == len(t):  # no two steps have the same place
            order = np.lexsort((t, first[number]))
            if np.any(order[1:] < order[:-1]):
                import tree

                batch = SampleBatch(
                    {key: tree.map_structure(lambda leaf: leaf[order], column) for key, column in batch.items()}
                )
            ids = np.asarray(batch["eps_id"])
            cuts = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), batch.count]
            return [batch.slice(start, end) for start, end in zip(cuts, cuts[1:], strict=False)]
    return split_trajectories(batch)
