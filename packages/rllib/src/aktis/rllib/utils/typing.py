"""Names for what goes from one part to another; and the records that connectors pass on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = [
    "ActionConnectorDataType",
    "AgentConnectorDataType",
    "AgentConnectorsOutput",
    "AgentID",
    "AlgorithmConfigDict",
    "EnvActionType",
    "EnvConfigDict",
    "EnvCreator",
    "EnvID",
    "EnvInfoDict",
    "EnvObsType",
    "EnvType",
    "EpisodeID",
    "FileType",
    "GradInfoDict",
    "LearnerStatsDict",
    "ModelConfigDict",
    "ModelGradients",
    "ModelWeights",
    "MultiAgentDict",
    "MultiEnvDict",
    "PartialAlgorithmConfigDict",
    "PartialTrainerConfigDict",
    "PolicyID",
    "PolicyState",
    "ResultDict",
    "SampleBatchType",
    "StateBatches",
    "TensorShape",
    "TensorStructType",
    "TensorType",
    "TrainerConfigDict",
    "UnrollID",
]

AgentID: TypeAlias = Any
EnvID: TypeAlias = int | str
PolicyID: TypeAlias = str
EnvType: TypeAlias = Any
EnvObsType: TypeAlias = Any
EnvActionType: TypeAlias = Any
EnvInfoDict: TypeAlias = dict[str, Any]
EnvConfigDict: TypeAlias = dict[str, Any]
EnvCreator: TypeAlias = Callable[[Any], Any]
ModelConfigDict: TypeAlias = dict[str, Any]
ModelGradients: TypeAlias = Any
ModelWeights: TypeAlias = dict[str, Any]
AlgorithmConfigDict: TypeAlias = dict[str, Any]
PartialAlgorithmConfigDict: TypeAlias = dict[str, Any]
MultiAgentDict: TypeAlias = dict[Any, Any]
MultiEnvDict: TypeAlias = dict[Any, dict[Any, Any]]
PolicyState: TypeAlias = dict[str, Any]
ResultDict: TypeAlias = dict[str, Any]
SampleBatchType: TypeAlias = Any
StateBatches: TypeAlias = list[list[Any]]
TensorType: TypeAlias = Any
TrainerConfigDict: TypeAlias = dict[str, Any]
PartialTrainerConfigDict: TypeAlias = dict[str, Any]
EpisodeID: TypeAlias = int | str
UnrollID: TypeAlias = int
FileType: TypeAlias = Any
GradInfoDict: TypeAlias = dict[str, Any]
LearnerStatsDict: TypeAlias = dict[str, Any]
TensorStructType: TypeAlias = Any
TensorShape: TypeAlias = tuple[int, ...]


@dataclass
class AgentConnectorDataType:
    """What an agent has experienced, on its way to its policy.

    Attributes:
        env_id: Of the environment.
        agent_id: Of the agent.
        data: A dict (``new_obs``, ``rewards``, ``terminateds``, ...), or whatever the last connector made of it.
    """

    env_id: Any
    agent_id: Any
    data: Any


@dataclass
class ActionConnectorDataType:
    """What a policy has decided, on its way to the environment.

    Attributes:
        env_id: Of the environment.
        agent_id: Of the agent.
        input_dict: What the policy was given.
        output: ``(action, states, extra fetches)``, without an axis for the batch.
    """

    env_id: Any
    agent_id: Any
    input_dict: dict[str, Any]
    output: tuple[Any, list[Any], dict[str, Any]]


@dataclass
class AgentConnectorsOutput:
    """What the connectors of an agent end with.

    Attributes:
        raw_dict: What belongs in a training batch.
        sample_batch: What its policy gets, a batch of one row.
    """

    raw_dict: dict[str, Any]
    sample_batch: Any
