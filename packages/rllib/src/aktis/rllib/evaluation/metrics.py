"""What episodes report, gathered from workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aktis.rllib.utils.metrics import LEARNER_STATS_KEY

if TYPE_CHECKING:
    from aktis.rllib.evaluation.worker_set import WorkerSet

__all__ = [
    "RolloutMetrics",
    "collect_episodes",
    "collect_metrics",
    "get_learner_stats",
    "summarize_episodes",
    "with_history",
]


class RolloutMetrics(NamedTuple):
    """An episode that ended."""

    episode_length: int
    episode_reward: float
    agent_rewards: Mapping[tuple[Any, str], float] = {}
    """Sum of the rewards by (agent id, policy id); empty where there is one agent."""
    custom_metrics: Mapping[str, Any] = {}
    perf_stats: Mapping[str, float] = {}
    """Times of the sampler, in ms."""
    hist_data: Mapping[str, Sequence[Any]] = {}
    media: Mapping[str, Any] = {}
    episode_faulty: bool = False
    """The environment raised an error; the rest says nothing."""
    connector_metrics: Mapping[str, float] = {}


def collect_episodes(
    workers: WorkerSet, remote_worker_ids: list[int] | None = None, timeout_seconds: float = 180
) -> list[RolloutMetrics]:
    """The episodes that ended since the last call, each of them once.

    Args:
        workers: Who is asked: the local worker and the remote ones.
        remote_worker_ids: Of the remote ones only these.
        timeout_seconds: How long to wait for them.
    """
    lists = workers.foreach_worker(
        lambda worker: worker.get_metrics(),
        local_worker=True,
        remote_worker_ids=remote_worker_ids,
        timeout_seconds=timeout_seconds,
    )
    return [episode for episodes in lists for episode in episodes]


def collect_metrics(
    workers: WorkerSet,
    remote_worker_ids: list[int] | None = None,
    timeout_seconds: float = 180,
    keep_custom_metrics: bool = False,
) -> dict[str, Any]:
    """Metrics of the episodes that ended since the last call. Arguments as for :func:`collect_episodes` and
    :func:`summarize_episodes`."""
    episodes = collect_episodes(workers, remote_worker_ids, timeout_seconds)
    return summarize_episodes(episodes, episodes, keep_custom_metrics)


def get_learner_stats(grad_info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The statistics in what ``learn_on_batch`` or ``compute_gradients`` of a policy, or of several, returned."""
    if LEARNER_STATS_KEY in grad_info:
        found: Mapping[str, Any] = grad_info[LEARNER_STATS_KEY]
        return found
    return {
        policy_id: get_learner_stats(info)
        for policy_id, info in grad_info.items()
        if policy_id != "batch_count" and isinstance(info, Mapping)
    }


def with_history(
    new: list[RolloutMetrics], history: list[RolloutMetrics], smoothing: int
) -> tuple[list[RolloutMetrics], list[RolloutMetrics]]:
    """The window that means are of: all new episodes; and, as long as they are fewer than ``smoothing``, the latest before them.

    Returns:
        (the window, oldest first; what is to be kept for the next time)
    """
    missing = max(smoothing - len(new), 0)
    window = [*history[len(history) - min(missing, len(history)) :], *new]
    return window, window[max(len(window) - smoothing, 0) :]


def summarize_episodes(
    episodes: Sequence[RolloutMetrics],
    new_episodes: Sequence[RolloutMetrics] | None = None,
    keep_custom_metrics: bool = False,
) -> dict[str, Any]:
    """Statistics of episodes.

    Args:
        episodes: Those that statistics are of.
        new_episodes: Those of them that ended in this iteration; all, if None.
        keep_custom_metrics: Custom metrics as the values of all episodes, not as their mean, least and greatest.

    Returns:
        ``episode_reward_mean`` and so on, NaN without episodes.
    """
    new = episodes if new_episodes is None else new_episodes
    sound = [episode for episode in episodes if not episode.episode_faulty]
    rewards = [episode.episode_reward for episode in sound]
    lengths = [episode.episode_length for episode in sound]
    histograms: dict[str, list[Any]] = {"episode_reward": rewards, "episode_lengths": lengths}
    policy_rewards: dict[str, list[float]] = {}
    custom: dict[str, list[Any]] = {}
    media: dict[str, list[Any]] = {}
    for episode in sound:
        for (_agent, policy_id), reward in episode.agent_rewards.items():
            if policy_id != "default_policy":
                policy_rewards.setdefault(policy_id, []).append(reward)
        _gather(custom, episode.custom_metrics)
        _gather(media, episode.media)
        for name, values in episode.hist_data.items():
            histograms.setdefault(name, []).extend(values)
    for policy_id, values in policy_rewards.items():
        histograms[f"policy_{policy_id}_reward"] = values
    return {
        "episode_reward_max": float(np.max(rewards)) if rewards else float("nan"),
        "episode_reward_min": float(np.min(rewards)) if rewards else float("nan"),
        "episode_reward_mean": float(np.mean(rewards)) if rewards else float("nan"),
        "episode_len_mean": float(np.mean(lengths)) if lengths else float("nan"),
        "episode_media": media,
        "episodes_this_iter": sum(not episode.episode_faulty for episode in new),
        "policy_reward_min": {policy_id: float(np.min(values)) for policy_id, values in policy_rewards.items()},
        "policy_reward_max": {policy_id: float(np.max(values)) for policy_id, values in policy_rewards.items()},
        "policy_reward_mean": {policy_id: float(np.mean(values)) for policy_id, values in policy_rewards.items()},
        "custom_metrics": custom if keep_custom_metrics else _spread(custom),
        "hist_stats": histograms,
        "sampler_perf": _means([episode.perf_stats for episode in sound]),
        "num_faulty_episodes": sum(episode.episode_faulty for episode in new),
        "connector_metrics": _means([episode.connector_metrics for episode in sound]),
    }


def _gather(into: dict[str, list[Any]], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        into.setdefault(name, []).append(value)


def _means(all_values: list[Mapping[str, float]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    for values in all_values:  # a hundred episodes in each iteration: plain numbers are faster than arrays here
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + float(value)
            counts[name] = counts.get(name, 0) + 1
    return {name: total / counts[name] for name, total in totals.items()}


def _spread(custom: dict[str, list[Any]]) -> dict[str, Any]:
    """``k`` as ``k_mean``, ``k_min``, ``k_max``; what is no number is left out of them, and NaN where nothing is left."""
    made: dict[str, Any] = {}
    for name, values in custom.items():
        numbers = [float(number) for value in values for number in _numbers(value)]
        made[f"{name}_mean"] = float(np.mean(numbers)) if numbers else float("nan")
        made[f"{name}_min"] = float(np.min(numbers)) if numbers else float("nan")
        made[f"{name}_max"] = float(np.max(numbers)) if numbers else float("nan")
    return made


def _numbers(value: Any) -> Any:
    try:
        return np.asarray(value, np.float64).ravel()
    except (TypeError, ValueError):
        return ()
