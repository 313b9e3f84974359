"""The other name of episodes: with connectors, callbacks of RLlib get an ``EpisodeV2``; here they are of one kind."""

from __future__ import annotations

from aktis.rllib.evaluation.episode import Episode

__all__ = ["EpisodeV2"]

EpisodeV2 = Episode
