"""What a worker tells of an episode that ended."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["RolloutMetrics"]


class RolloutMetrics(NamedTuple):
    """One episode (or, with ``episode_faulty``, one that was lost with its environment).

    Attributes:
        episode_length: Environment steps.
        episode_reward: Sum of rewards of all agents, before clipping.
        agent_rewards: By (agent, policy).
        custom_metrics: What callbacks put into ``episode.custom_metrics``.
        perf_stats: Milliseconds per step: environment, inference, processing.
        hist_data: What callbacks put into ``episode.hist_data``: lists of numbers.
        media: What callbacks put into ``episode.media``.
        episode_faulty: The environment raised; length and reward say nothing.
        connector_metrics: Milliseconds of connectors.
    """

    episode_length: int
    episode_reward: float
    agent_rewards: dict[Any, float] = {}
    custom_metrics: dict[str, Any] = {}
    perf_stats: dict[str, float] = {}
    hist_data: dict[str, list[Any]] = {}
    media: dict[str, Any] = {}
    episode_faulty: bool = False
    connector_metrics: dict[str, float] = {}
