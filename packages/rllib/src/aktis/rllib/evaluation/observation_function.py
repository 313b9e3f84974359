"""Observations that are made of those of all agents."""

from __future__ import annotations

from typing import Any

__all__ = ["ObservationFunction"]


class ObservationFunction:
    """What ``config.multi_agent(observation_fn=...)`` is: an object like this, or a function with the same arguments."""

    def __call__(
        self, agent_obs: dict[Any, Any], worker: Any, base_env: Any, policies: dict[str, Any], episode: Any, **kw: Any
    ) -> dict[Any, Any]:
        """The observations that agents get instead.

        Args:
            agent_obs: Observations by agent.
            worker: The worker that samples.
            base_env: Its environments.
            policies: Policies by id.
            episode: The episode.
            kw: For what comes later.
        """
        return agent_obs
