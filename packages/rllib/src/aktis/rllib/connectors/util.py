"""The connectors of a policy: by its configuration, or as they were written down."""

from __future__ import annotations

import logging
from typing import Any

from aktis.rllib.connectors.action.clip import ClipActionsConnector
from aktis.rllib.connectors.action.immutable import ImmutableActionsConnector
from aktis.rllib.connectors.action.lambdas import ConvertToNumpyConnector
from aktis.rllib.connectors.action.normalize import NormalizeActionsConnector
from aktis.rllib.connectors.action.pipeline import ActionConnectorPipeline
from aktis.rllib.connectors.agent.clip_reward import ClipRewardAgentConnector
from aktis.rllib.connectors.agent.mean_std_filter import (
    ConcurrentMeanStdObservationFilterAgentConnector,
    MeanStdObservationFilterAgentConnector,
)
from aktis.rllib.connectors.agent.obs_preproc import ObsPreprocessorConnector
from aktis.rllib.connectors.agent.pipeline import AgentConnectorPipeline
from aktis.rllib.connectors.agent.state_buffer import StateBufferConnector
from aktis.rllib.connectors.agent.synced_filter import SyncedFilterAgentConnector
from aktis.rllib.connectors.agent.view_requirement import ViewRequirementAgentConnector
from aktis.rllib.connectors.connector import Connector, ConnectorContext
from aktis.rllib.connectors.registry import get_connector

__all__ = [
    "create_connectors_for_policy",
    "get_action_connectors_from_config",
    "get_agent_connectors_from_config",
    "get_synced_filter_connector",
    "maybe_get_filters_for_syncing",
    "restore_connectors_for_policy",
]

logger = logging.getLogger(__name__)


def get_agent_connectors_from_config(ctx: ConnectorContext, config: Any) -> AgentConnectorPipeline:
    """What samplers do with observations and rewards by this configuration, as connectors."""
    connectors: list[Connector] = []
    clip = config.get("clip_rewards")
    if clip is True:
        connectors.append(ClipRewardAgentConnector(ctx, sign=True))
    elif clip:
        connectors.append(ClipRewardAgentConnector(ctx, limit=abs(float(clip))))
    if not config.get("_disable_preprocessor_api"):
        preprocessor = ObsPreprocessorConnector(ctx)
        if not preprocessor.is_identity():
            connectors.append(preprocessor)
    filter_connector = get_synced_filter_connector(ctx)
    if filter_connector is not None:
        connectors.append(filter_connector)
    connectors.extend([StateBufferConnector(ctx), ViewRequirementAgentConnector(ctx)])
    return AgentConnectorPipeline(ctx, connectors)


def get_action_connectors_from_config(ctx: ConnectorContext, config: Any) -> ActionConnectorPipeline:
    """What samplers do with actions by this configuration, as connectors."""
    connectors: list[Connector] = [ConvertToNumpyConnector(ctx)]
    if config.get("normalize_actions", False):
        connectors.append(NormalizeActionsConnector(ctx))
    if config.get("clip_actions", False):
        connectors.append(ClipActionsConnector(ctx))
    connectors.append(ImmutableActionsConnector(ctx))
    return ActionConnectorPipeline(ctx, connectors)


def get_synced_filter_connector(ctx: ConnectorContext) -> SyncedFilterAgentConnector | None:
    """The filter of observations as a connector; None for NoFilter.

    Raises:
        ValueError: there is no such filter.
    """
    name = ctx.config.get("observation_filter") or "NoFilter"
    if name == "NoFilter":
        return None
    if name == "MeanStdFilter":
        return MeanStdObservationFilterAgentConnector(ctx)
    if name == "ConcurrentMeanStdFilter":
        return ConcurrentMeanStdObservationFilterAgentConnector(ctx)
    raise ValueError(
        f"observation_filter={name!r} has no connector: there are 'NoFilter', 'MeanStdFilter' and 'ConcurrentMeanStdFilter'"
    )


def create_connectors_for_policy(policy: Any, config: Any) -> None:
    """Give a policy the connectors of a configuration, as ``agent_connectors`` and ``action_connectors``."""
    ctx = ConnectorContext.from_policy(policy)
    policy.agent_connectors = get_agent_connectors_from_config(ctx, config)
    policy.action_connectors = get_action_connectors_from_config(ctx, config)


def restore_connectors_for_policy(policy: Any, connector_config: Any) -> Connector:
    """The connector (a pipeline, mostly) of a policy that was written down as ``(name, params)``."""
    name, params = connector_config
    return get_connector(name, ConnectorContext.from_policy(policy), params)


def maybe_get_filters_for_syncing(rollout_worker: Any, policy_id: str) -> None:
    """Let a worker keep the filters of a policy's connectors together with those of other workers."""
    connectors = rollout_worker.policy_map[policy_id].agent_connectors
    found = connectors[SyncedFilterAgentConnector] if connectors is not None else []
    if not found:
        return
    if len(found) > 1:
        raise ValueError(
            f"the policy {policy_id!r} has {len(found)} connectors with filters: only one can be kept in step"
        )
    rollout_worker.filters[policy_id] = found[0].filter
