"""Connectors one at a time, and the functions that choose them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.connectors.action.lambdas import ConvertToNumpyConnector
from aktis.rllib.connectors.agent.env_sampling import EnvSamplingAgentConnector
from aktis.rllib.connectors.agent.lambdas import FlattenDataAgentConnector, flatten_data
from aktis.rllib.connectors.agent.mean_std_filter import (
    ConcurrentMeanStdObservationFilterAgentConnector,
    MeanStdObservationFilterAgentConnector,
)
from aktis.rllib.connectors.agent.pipeline import AgentConnectorPipeline
from aktis.rllib.connectors.agent.synced_filter import SyncedFilterAgentConnector
from aktis.rllib.connectors.connector import ActionConnector, AgentConnector, ConnectorContext, ConnectorPipeline
from aktis.rllib.connectors.registry import get_connector
from aktis.rllib.connectors.util import (
    get_action_connectors_from_config,
    get_agent_connectors_from_config,
    get_synced_filter_connector,
    maybe_get_filters_for_syncing,
)
from aktis.rllib.utils.filter import MeanStdFilter
from aktis.rllib.utils.typing import ActionConnectorDataType, AgentConnectorDataType, AgentConnectorsOutput

FILTERS = [MeanStdObservationFilterAgentConnector, ConcurrentMeanStdObservationFilterAgentConnector]


def context(space: Any = None, **config: Any) -> ConnectorContext:
    return ConnectorContext(
        config={**PPOConfig().to_dict(), **config},
        observation_space=space or spaces.Box(-1, 1, (2,)),
        action_space=spaces.Box(-2, 2, (1,)),
    )


def names(pipeline: Any) -> list[str]:
    return [type(connector).__name__ for connector in pipeline.connectors]


@pytest.mark.parametrize(
    ("config", "space", "wanted"),
    [
        ({}, spaces.Box(-1, 1, (2,)), []),
        ({"clip_rewards": True}, spaces.Box(-1, 1, (2,)), ["ClipRewardAgentConnector"]),
        ({"clip_rewards": 0.5}, spaces.Discrete(3), ["ClipRewardAgentConnector", "ObsPreprocessorConnector"]),
        ({"_disable_preprocessor_api": True}, spaces.Discrete(3), []),
        (
            {"observation_filter": "MeanStdFilter"},
            spaces.Box(-1, 1, (2,)),
            ["MeanStdObservationFilterAgentConnector"],
        ),
    ],
)
def test_agent_connectors_of_a_configuration(config: dict[str, Any], space: Any, wanted: list[str]) -> None:
    ctx = context(space, **config)
    pipeline = get_agent_connectors_from_config(ctx, ctx.config)
    assert names(pipeline) == [*wanted, "StateBufferConnector", "ViewRequirementAgentConnector"]
    for connector in pipeline["ClipRewardAgentConnector"]:
        (clipped,) = connector([AgentConnectorDataType(0, 0, {"rewards": -3.0})])
        assert clipped.data["rewards"] == (-1.0 if config["clip_rewards"] is True else -0.5)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("clip", [False, True])
def test_action_connectors_of_a_configuration(normalize: bool, clip: bool) -> None:
    ctx = context(normalize_actions=normalize, clip_actions=clip)
    pipeline = get_action_connectors_from_config(ctx, ctx.config)
    between = ["NormalizeActionsConnector"] * normalize + ["ClipActionsConnector"] * clip
    assert names(pipeline) == ["ConvertToNumpyConnector", *between, "ImmutableActionsConnector"]
    # The space is [-2, 2]: what is normalised is stretched to it, what is clipped kept within it.
    for decided, done in ((0.5, 1.0 if normalize else 0.5), (3.0, 2.0 if normalize or clip else 3.0)):
        action = np.array([decided], np.float32)
        passed = pipeline(ActionConnectorDataType(0, "a", {}, (action, [], {}))).output[0]
        assert passed.tolist() == [done] and not passed.flags.writeable


def test_tensors_become_arrays() -> None:
    class Tensor:
        def __init__(self, value: Any) -> None:
            self.value = value

        def detach(self) -> Any:
            return self

        cpu = detach

        def numpy(self) -> Any:
            return np.asarray(self.value)

    connector = ConvertToNumpyConnector(context())
    fetches = {"vf": Tensor(1)}
    output = ({"a": Tensor([1, 2]), "b": 3}, [Tensor([0.5])], fetches)
    action, states, kept = connector(ActionConnectorDataType(0, 0, {}, output)).output
    assert action["a"].tolist() == [1, 2] and action["b"] == 3 and isinstance(action["b"], np.ndarray)
    assert isinstance(states[0], np.ndarray) and kept is fetches
    with pytest.raises(TypeError, match="needs \\(action, states, fetches\\)"):
        connector(ActionConnectorDataType(0, 0, {}, [1, 2]))  # type: ignore[arg-type]


def test_a_connector_that_passes_everything_on() -> None:
    data = AgentConnectorDataType(0, "a", {"obs": 1})
    connector = EnvSamplingAgentConnector(context())
    assert connector([data])[0] is data
    name, params = connector.to_state()
    assert isinstance(get_connector(name, context(), params), EnvSamplingAgentConnector)
    with pytest.raises(TypeError, match="takes a list"):
        connector(data)  # type: ignore[arg-type]


def test_structured_columns_are_flattened() -> None:
    raw = {
        "new_obs": {"a": np.ones((2, 2)), "b": (np.zeros(1), 3.0)},
        "rewards": 1.0,
        "infos": {"x": 1},
        "actions": (1, 2),
        "state_out_0": {"h": 1},
    }
    sample_batch = object()
    flat = flatten_data(AgentConnectorsOutput(raw, sample_batch))
    assert flat.raw_dict["new_obs"].tolist() == [1, 1, 1, 1, 0, 3]
    assert flat.sample_batch is sample_batch
    for key in ("rewards", "infos", "actions", "state_out_0"):
        assert flat.raw_dict[key] == raw[key]
    connector = FlattenDataAgentConnector(context())
    (out,) = connector([AgentConnectorDataType(3, "a", AgentConnectorsOutput(raw, None))])
    assert (out.env_id, out.agent_id) == (3, "a") and out.data.raw_dict["new_obs"].shape == (6,)


@pytest.mark.parametrize("cls", FILTERS)
def test_filters_learn_only_in_training_and_are_kept_in_step(cls: Any) -> None:
    rows = np.random.default_rng(0).normal(3.0, 2.0, (50, 2))
    connector, plain = cls(context()), MeanStdFilter((2,))

    def through(row: Any) -> Any:
        (out,) = connector([AgentConnectorDataType(0, 0, {"new_obs": row})])
        return out.data["new_obs"]

    for row in rows:
        np.testing.assert_allclose(through(row), plain(row))
    connector.in_eval()
    before = through(rows[0])
    np.testing.assert_allclose(before, plain(rows[0], update=False))
    np.testing.assert_allclose(through(rows[0]), before)
    # Another worker's connector: first the same as ours, and then ours takes over what it saw.
    other = cls(context())
    other.sync(connector)
    connector.reset_state()
    other.reset_buffer()
    for row in rows + 1.0:
        other([AgentConnectorDataType(0, 0, {"obs": row})])
        plain(row)
    connector.apply_changes(other)
    np.testing.assert_allclose(through(rows[0]), plain(rows[0], update=False))
    np.testing.assert_allclose(connector.as_serializable()(rows[0], update=False), plain(rows[0], update=False))
    np.testing.assert_allclose(connector.copy()(rows[0], update=False), plain(rows[0], update=False))
    restored = get_connector(*_with_context(connector.to_state()))
    assert type(restored) is cls
    restored.in_eval()
    (out,) = restored([AgentConnectorDataType(0, 0, {"obs": rows[0]})])
    np.testing.assert_allclose(out.data["obs"], plain(rows[0], update=False))


def _with_context(state: tuple[str, Any]) -> tuple[str, ConnectorContext, Any]:
    return state[0], context(), state[1]


def test_the_filter_of_a_configuration() -> None:
    assert get_synced_filter_connector(context(observation_filter="NoFilter")) is None
    assert get_synced_filter_connector(context(observation_filter=None)) is None
    for name, cls in zip(("MeanStdFilter", "ConcurrentMeanStdFilter"), FILTERS, strict=True):
        made = get_synced_filter_connector(context(observation_filter=name))
        assert type(made) is cls and isinstance(made, SyncedFilterAgentConnector)
    with pytest.raises(ValueError, match="'Median' has no connector"):
        get_synced_filter_connector(context(observation_filter="Median"))


def test_a_worker_takes_the_filter_of_a_policys_connectors() -> None:
    def worker_with(*connectors: Any) -> Any:
        policy = SimpleNamespace(agent_connectors=AgentConnectorPipeline(context(), list(connectors)))
        return SimpleNamespace(policy_map={"p": policy}, filters={})

    one = FILTERS[0](context())
    worker = worker_with(EnvSamplingAgentConnector(context()), one)
    maybe_get_filters_for_syncing(worker, "p")
    assert worker.filters["p"] is one.filter
    worker = worker_with(EnvSamplingAgentConnector(context()))
    maybe_get_filters_for_syncing(worker, "p")
    assert worker.filters == {}
    with pytest.raises(ValueError, match="2 connectors with filters"):
        maybe_get_filters_for_syncing(worker_with(one, FILTERS[1](context())), "p")
    without = SimpleNamespace(policy_map={"p": SimpleNamespace(agent_connectors=None)}, filters={})
    maybe_get_filters_for_syncing(without, "p")
    assert without.filters == {}


def test_connectors_of_ones_own_and_pipelines_of_them() -> None:
    class Doubles(AgentConnector):
        def transform(self, ac_data: AgentConnectorDataType) -> AgentConnectorDataType:
            return AgentConnectorDataType(ac_data.env_id, ac_data.agent_id, 2 * ac_data.data)

    class Adds(ActionConnector):
        def transform(self, ac_data: ActionConnectorDataType) -> ActionConnectorDataType:
            action, *rest = ac_data.output
            return ActionConnectorDataType(ac_data.env_id, ac_data.agent_id, ac_data.input_dict, (action + 1, *rest))

    doubles = Doubles(context())
    assert [d.data for d in doubles([AgentConnectorDataType(0, i, i) for i in range(3)])] == [0, 2, 4]
    assert Adds(context())(ActionConnectorDataType(0, 0, {}, (1, [], {}))).output[0] == 2
    for unfinished in (AgentConnector(context()), ActionConnector(context())):
        with pytest.raises(NotImplementedError, match="must define"):
            unfinished.transform(None)  # type: ignore[attr-defined]
        with pytest.raises(NotImplementedError, match="to_state"):
            unfinished.to_state()
    pipeline = ConnectorPipeline(context(), [doubles])
    pipeline.in_eval()
    assert not doubles._is_training and not pipeline.changed
    pipeline.in_training()
    assert doubles._is_training
    pipeline.insert_before("Doubles", EnvSamplingAgentConnector(context()))
    assert names(pipeline) == ["EnvSamplingAgentConnector", "Doubles"] and pipeline.changed
    assert str(pipeline).splitlines() == ["ConnectorPipeline", "    EnvSamplingAgentConnector", "    Doubles"]
    assert pipeline[Doubles] == pipeline["Doubles"] == pipeline[1] == [doubles]
    with pytest.raises(ValueError, match="no connector 'Halves'"):
        pipeline.remove("Halves")
