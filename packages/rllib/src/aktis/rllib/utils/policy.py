"""What is done with policies outside of algorithms."""

from __future__ import annotations

from typing import Any

import numpy as np
import tree

from aktis.rllib.utils.typing import ActionConnectorDataType, AgentConnectorDataType

__all__ = ["compute_log_likelihoods_from_input_dict", "local_policy_inference", "validate_policy_id"]


def local_policy_inference(
    policy: Any,
    env_id: Any,
    agent_id: Any,
    obs: Any,
    reward: float | None = None,
    terminated: bool | None = None,
    truncated: bool | None = None,
    info: Any = None,
    explore: bool | None = None,
    timestep: int | None = None,
) -> list[tuple[Any, list[Any], dict[str, Any]]]:
    """Decide for one agent, with a policy and its connectors: what is observed goes in, what the environment is to do comes out.

    Connectors remember earlier steps of each environment and agent (states, previous actions);
    ``policy.reset_connectors(env_id)`` when an
    episode has ended, or say so with ``terminated`` and ``truncated``.

    Args:
        policy: With ``agent_connectors`` and ``action_connectors`` (of a checkpoint, or by ``create_connectors_for_policy``).
        env_id: Of the environment.
        agent_id: Of the agent.
        obs: As the environment gives it.
        reward: The last reward. None: after a reset.
        terminated: Whether the episode has ended.
        truncated: Whether it was cut off.
        info: What came with the observation.
        explore: Whether to explore; by default what the configuration says.
        timestep: The time that exploration goes by.

    Returns:
        (action, states, fetches), as many as the agent connectors ask the policy for (mostly one).

    Raises:
        ValueError: the policy has no connectors.
    """
    if policy.agent_connectors is None:
        raise ValueError(
            "local_policy_inference() needs a policy with connectors: Policy.from_checkpoint() restores them, and "
            "aktis.rllib.connectors.util.create_connectors_for_policy(policy, policy.config) makes them"
        )
    data: dict[str, Any] = {"new_obs": obs}
    given = {"rewards": reward, "terminateds": terminated, "truncateds": truncated, "infos": info}
    data.update({key: value for key, value in given.items() if value is not None})
    outputs = []
    for agent_data in policy.agent_connectors([AgentConnectorDataType(env_id, agent_id, data)]):
        batched = policy.compute_actions_from_input_dict(
            agent_data.data.sample_batch, explore=explore, timestep=timestep
        )
        decided = tree.map_structure(lambda leaf: np.asarray(leaf)[0], tuple(batched))
        passed = ActionConnectorDataType(env_id, agent_id, agent_data.data.raw_dict, decided)
        # What the policy itself decided is what it sees as its previous action, not what becomes of it for the environment.
        policy.agent_connectors.on_policy_output(passed)
        if policy.action_connectors is not None:
            passed = policy.action_connectors(passed)
        outputs.append(passed.output)
    if terminated or truncated:
        policy.agent_connectors.reset(env_id)
    return outputs


def compute_log_likelihoods_from_input_dict(policy: Any, batch: Any) -> Any:
    """Logarithms of the probabilities of a batch's actions under a policy, ``[B]``."""
    states: list[Any] = []
    while f"state_in_{len(states)}" in batch:
        states.append(batch[f"state_in_{len(states)}"])
    return policy.compute_log_likelihoods(
        actions=batch["actions"],
        obs_batch=batch["obs"],
        state_batches=states,
        prev_action_batch=batch.get("prev_actions"),
        prev_reward_batch=batch.get("prev_rewards"),
        actions_normalized=policy.config.get("actions_in_input_normalized", False),
    )


def validate_policy_id(policy_id: str, error: bool = False) -> None:
    """Whether a policy can have this id: checkpoints have a folder of that name.

    Args:
        policy_id: The id.
        error: Whether to raise; otherwise a warning is logged.

    Raises:
        ValueError: it cannot.
    """
    bad = (
        not isinstance(policy_id, str)
        or not policy_id
        or policy_id[0] == "."
        or any(c in policy_id for c in '<>:"/\\|?*')
    )
    if not bad:
        return
    message = f"{policy_id!r} cannot be the id of a policy: checkpoints have a folder of that name. Use letters, digits, - and _"
    if error:
        raise ValueError(message)
    import logging

    logging.getLogger(__name__).warning(message)
