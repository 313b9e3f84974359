"""Environments of every kind, and what makes them alike."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

_NAMES = {
    "BaseEnv": "aktis.rllib.env.base_env",
    "EnvContext": "aktis.rllib.env.env_context",
    "ExternalEnv": "aktis.rllib.env.external_env",
    "ExternalMultiAgentEnv": "aktis.rllib.env.external_multi_agent_env",
    "GroupAgentsWrapper": "aktis.rllib.env.wrappers.group_agents_wrapper",
    "MultiAgentEnv": "aktis.rllib.env.multi_agent_env",
    "ParallelPettingZooEnv": "aktis.rllib.env.wrappers.pettingzoo_env",
    "PettingZooEnv": "aktis.rllib.env.wrappers.pettingzoo_env",
    "PolicyClient": "aktis.rllib.env.policy_client",
    "PolicyServerInput": "aktis.rllib.env.policy_server_input",
    "RemoteBaseEnv": "aktis.rllib.env.remote_base_env",
    "TaskSettableEnv": "aktis.rllib.env.apis.task_settable_env",
    "VectorEnv": "aktis.rllib.env.vector_env",
    "make_multi_agent": "aktis.rllib.env.multi_agent_env",
}

__all__ = [
    "BaseEnv",
    "EnvContext",
    "ExternalEnv",
    "ExternalMultiAgentEnv",
    "GroupAgentsWrapper",
    "MultiAgentEnv",
    "ParallelPettingZooEnv",
    "PettingZooEnv",
    "PolicyClient",
    "PolicyServerInput",
    "RemoteBaseEnv",
    "TaskSettableEnv",
    "VectorEnv",
    "make_multi_agent",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
