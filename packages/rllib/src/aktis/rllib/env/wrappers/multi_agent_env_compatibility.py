"""Environments of several agents as before Gymnasium: reset() without infos, step() with one kind of end."""

from __future__ import annotations

from typing import Any

from aktis.rllib.env.multi_agent_env import MultiAgentEnv

__all__ = ["MultiAgentEnvCompatibility"]


class MultiAgentEnvCompatibility(MultiAgentEnv):
    """Makes an old environment one of today.

    Args:
        old_env: Its ``reset()`` returns observations, its ``step()`` observations, rewards, dones and infos.
        render_mode: What ``render()`` asks it for.
    """

    def __init__(self, old_env: Any, render_mode: str | None = None) -> None:
        self.env = old_env
        self.observation_space = old_env.observation_space
        self.action_space = old_env.action_space
        self._agent_ids = set(getattr(old_env, "_agent_ids", ()) or ())
        self.metadata = getattr(old_env, "metadata", {"render_modes": []})
        self.reward_range = getattr(old_env, "reward_range", None)
        self.render_mode = render_mode
        super().__init__()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[Any, Any]]:
        """The observations, and no infos."""
        if seed is not None and hasattr(self.env, "seed"):
            self.env.seed(seed)
        obs = self.env.reset()
        return obs, {agent: {} for agent in obs}

    def step(self, action_dict: dict[Any, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """An agent that is done is terminated, unless its info says that it was the time (``TimeLimit.truncated``)."""
        obs, rewards, dones, infos = self.env.step(action_dict)
        cut = {agent: bool(infos.get(agent, {}).get("TimeLimit.truncated", False)) for agent in dones}
        agents = [agent for agent in dones if agent != "__all__"]
        if dones.get("__all__") and agents:  # the episode was cut if somebody was
            cut["__all__"] = any(cut[agent] for agent in agents)
        terminateds = {agent: bool(done) and not cut[agent] for agent, done in dones.items()}
        return obs, rewards, terminateds, cut, infos

    def render(self) -> Any:
        """What the old environment shows."""
        return self.env.render(mode=self.render_mode) if self.render_mode else self.env.render()

    def close(self) -> None:
        """Close it."""
        if hasattr(self.env, "close"):
            self.env.close()
