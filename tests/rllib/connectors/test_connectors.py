"""Connectors do, step by step, what samplers do in batches; and what users put between."""

from __future__ import annotations

import json
from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.helpers.rollouts import Counter, CountingStatePolicy, LeanPolicy, RandomPolicy, config_of, worker_of

from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.rllib.connectors.action.lambdas import register_lambda_action_connector
from aktis.rllib.connectors.agent.clip_reward import ClipRewardAgentConnector
from aktis.rllib.connectors.agent.lambdas import register_lambda_agent_connector
from aktis.rllib.connectors.connector import ConnectorContext
from aktis.rllib.connectors.registry import get_connector, register_connector
from aktis.rllib.connectors.util import create_connectors_for_policy, restore_connectors_for_policy
from aktis.rllib.evaluation._connector_sampler import ConnectorSampler
from aktis.rllib.policy.view_requirement import ViewRequirement
from aktis.rllib.utils.policy import local_policy_inference, validate_policy_id
from aktis.rllib.utils.typing import AgentConnectorDataType


class Valve(gymnasium.Env):
    """Structured observations, actions in [0, 10]; truncated after 4 steps; the reward is what was done."""

    def __init__(self, config: Any) -> None:
        spaces = gymnasium.spaces
        self.observation_space = spaces.Dict(
            {"level": spaces.Box(-100, 100, (1,), np.float32), "mode": spaces.Discrete(3)}
        )
        self.action_space = spaces.Box(0, 10, (1,), np.float32)

    def _obs(self) -> Any:
        return {"level": np.array([self.t * 3.0], np.float32), "mode": self.t % 3}

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.t += 1
        return self._obs(), float(action[0]), False, self.t == 4, {}


class Follows(LeanPolicy):
    """Deterministic, in its inputs; remembers them."""

    def init_view_requirements(self) -> None:
        super().init_view_requirements()
        self.view_requirements["prev_actions"] = ViewRequirement("actions", shift=-1, space=self.action_space)
        self.view_requirements["prev_rewards"] = ViewRequirement("rewards", shift=-1)
        self.view_requirements["window"] = ViewRequirement("obs", shift="-1:0", space=self.observation_space)
        self.view_requirements["state_in_0"] = ViewRequirement("state_out_0", shift=-1)
        self.inputs: list[Any] = []

    def get_initial_state(self) -> list[Any]:
        return [np.zeros(1, np.float32)]

    def is_recurrent(self) -> bool:
        return True

    def compute_actions_from_input_dict(self, input_dict: Any, *args: Any, **kwargs: Any) -> Any:
        self.inputs.append({key: np.array(value) for key, value in input_dict.items() if key != "seq_lens"})
        state = input_dict["state_in_0"] + 1
        action = np.tanh(input_dict["obs"].sum(axis=1, keepdims=True) + input_dict["prev_rewards"][:, None] + state)
        return action.astype(np.float32), [state.astype(np.float32)], {}


def test_the_default_connectors_give_a_policy_what_the_sampler_gives_it() -> None:
    config = config_of(Valve, observation_filter="MeanStdFilter", num_envs_per_worker=1, rollout_fragment_length=9)
    worker = worker_of(config.environment(clip_rewards=1.0), Follows)
    worker.sample()
    sampled = worker.get_policy().inputs
    worker.stop()

    policy = Follows(worker.get_policy().observation_space, worker.get_policy().action_space, config)
    create_connectors_for_policy(policy, config)
    env = Valve({})
    told: dict[str, Any] = {}
    obs, _ = env.reset()
    for _ in range(9):
        ((action, states, _),) = local_policy_inference(policy, "env", "agent", obs, **told)
        assert env.action_space.contains(action) and not action.flags.writeable and states[0].shape == (1,)
        obs, reward, _, truncated, _ = env.step(action)
        told = {"reward": reward}
        if truncated:
            policy.reset_connectors("env")
            told, (obs, _) = {}, env.reset()
    assert len(policy.inputs) == len(sampled) == 9
    for one, other in zip(sampled, policy.inputs, strict=True):
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, err_msg=name)


def test_pipelines_are_written_down_in_json_and_made_again() -> None:
    config = config_of(Valve, observation_filter="MeanStdFilter").environment(clip_rewards=True, clip_actions=True)
    worker = worker_of(config)
    worker.sample()
    policy = worker.get_policy()
    filter_ = worker.filters["default_policy"]
    for pipeline in (policy.agent_connectors, policy.action_connectors):
        state = json.loads(json.dumps(pipeline.to_state()))
        again = restore_connectors_for_policy(policy, state)
        assert [type(part) for part in again.connectors] == [type(part) for part in pipeline.connectors]
        assert json.dumps(again.to_state()) == json.dumps(pipeline.to_state())
    found = policy.agent_connectors["MeanStdObservationFilterAgentConnector"][0]
    assert (
        found.filter is filter_ and filter_.running_stats.n > 0
    )  # the sampler's filter goes into the policy's checkpoint
    other = RandomPolicy(policy.observation_space, policy.action_space, config)
    other.restore_connectors(policy.get_state())
    assert (
        other.agent_connectors["MeanStdObservationFilterAgentConnector"][0].filter.running_stats.n
        == filter_.running_stats.n
    )
    worker.stop()


def test_a_restored_policy_brings_its_filter_into_the_worker() -> None:
    config = config_of("CartPole-v1", observation_filter="MeanStdFilter")
    one, other = worker_of(config), worker_of(config)
    one.sample()
    other.get_policy().set_state(one.get_policy().get_state())
    assert other.filters["default_policy"].running_stats.n == one.filters["default_policy"].running_stats.n > 0
    other.sample()
    assert other.filters["default_policy"].running_stats.n == 2 * one.filters["default_policy"].running_stats.n
    one.stop()
    other.stop()


def double_observations(data: Any) -> Any:
    return {**data, "new_obs": data["new_obs"] * 2}


Doubled = register_lambda_agent_connector("Doubled", double_observations)
NoAction = register_lambda_action_connector("NoAction", lambda action, states, extra: (np.int64(0), states, extra))


class Customised(DefaultCallbacks):
    """Puts connectors of its own into policies."""

    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        ctx = ConnectorContext.from_policy(policy)
        policy.agent_connectors.prepend(Doubled(ctx))
        policy.action_connectors.insert_before("ImmutableActionsConnector", NoAction(ctx))


class Acted(Counter):
    def step(self, action: Any) -> Any:
        obs, *rest, info = super().step(action)
        return (obs, *rest, {**info, "action": action})


@pytest.mark.parametrize("mode", ["truncate_episodes", "complete_episodes"])
def test_connectors_of_users_are_sampled_through(mode: str) -> None:
    config = config_of(Acted, {"length": 5}, batch_mode=mode).callbacks(Customised).debugging(seed=2)
    worker = worker_of(config)
    assert isinstance(worker.sampler, ConnectorSampler)
    batch, second = worker.sample(), worker.sample()
    metrics = worker.get_metrics()
    worker.stop()
    assert [int(step) for step in batch["obs"][:5, 1]] == [0, 2, 4, 6, 8]
    assert batch["new_obs"][4, 1] == 10 and batch["terminateds"][:5].tolist() == [False] * 4 + [True]
    assert {info["action"] for info in batch["infos"]} == {0} and set(batch["actions"].tolist()) == {0, 1, 2}
    assert {m.episode_length for m in metrics} == {5} and {m.episode_reward for m in metrics} == {15.0}
    if mode == "complete_episodes":
        assert batch.count == 10 and batch["terminateds"].sum() == 2
    else:
        assert batch.count == 14 and second["t"][:3].tolist() == [2, 3, 4]
    assert not set(batch["unroll_id"].tolist()) & set(second["unroll_id"].tolist())


def test_with_customised_connectors_the_rest_is_as_without() -> None:
    class Nothing(DefaultCallbacks):
        def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
            nothing = register_lambda_agent_connector("Nothing", lambda data: data)
            policy.agent_connectors.prepend(nothing(ConnectorContext.from_policy(policy)))

    class Policy(CountingStatePolicy, LeanPolicy):
        def postprocess_rollout(self, rollout: Any) -> None:
            rollout.columns["length"] = np.full(rollout.columns["rewards"].shape, rollout.columns["rewards"].shape[1])
            self.__dict__.setdefault("cuts", []).append(
                (rollout.cut_obs.tolist(), [s.tolist() for s in rollout.cut_states])
            )

    batches, cuts = [], []
    for callbacks in (DefaultCallbacks, Nothing):
        config = config_of(env_config={"length": 5, "truncate": True}, num_envs_per_worker=1).callbacks(callbacks)
        worker = worker_of(config.debugging(seed=1), Policy)
        batches.append([worker.sample(), worker.sample()])
        cuts.append(worker.get_policy().cuts)
        worker.stop()
    for one, other in zip(*batches, strict=True):
        for name in ("obs", "actions", "rewards", "truncateds", "t", "state_in_0", "vf_preds"):
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert [row for obs, _ in cuts[0] for row in obs] == [row for obs, _ in cuts[1] for row in obs]
    assert [row for _, states in cuts[0] for row in states[0]] == [row for _, states in cuts[1] for row in states[0]]


def test_pipelines_change() -> None:
    worker = worker_of(config_of())
    pipeline = worker.get_policy().agent_connectors
    names = [type(part).__name__ for part in pipeline.connectors]
    assert names == ["StateBufferConnector", "ViewRequirementAgentConnector"] and not pipeline.changed
    clip = ClipRewardAgentConnector(ConnectorContext(), limit=1.0)
    pipeline.insert_after("StateBufferConnector", clip)
    assert pipeline.connectors[1] is clip and pipeline[ClipRewardAgentConnector] == [clip] and pipeline.changed
    pipeline.remove("ClipRewardAgentConnector")
    with pytest.raises(
        ValueError, match="no connector 'ClipRewardAgentConnector' in this pipeline: there are StateBuffer"
    ):
        pipeline.remove("ClipRewardAgentConnector")
    worker.stop()


def test_rewards_are_clipped() -> None:
    ctx = ConnectorContext()
    for connector, expected in (
        (ClipRewardAgentConnector(ctx, sign=True), -1.0),
        (ClipRewardAgentConnector(ctx, limit=2), -2.0),
    ):
        (out,) = connector([AgentConnectorDataType(0, 0, {"rewards": -3.0})])
        assert out.data["rewards"] == expected
        (out,) = connector([AgentConnectorDataType(0, 0, {"obs": 1})])
        assert "rewards" not in out.data
    with pytest.raises(ValueError, match="not both"):
        ClipRewardAgentConnector(ctx, sign=True, limit=2)


def test_unknown_connectors_and_policies_without_any() -> None:
    with pytest.raises(NameError, match="no connector 'StateBufferConector'; did you mean 'StateBufferConnector'"):
        get_connector("StateBufferConector", ConnectorContext())
    with pytest.raises(TypeError, match="subclass of Connector"):
        register_connector("x", int)  # type: ignore[arg-type]
    policy = RandomPolicy(Counter().observation_space, Counter().action_space, {})
    with pytest.raises(ValueError, match="needs a policy with connectors"):
        local_policy_inference(policy, 0, 0, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="'a:b' cannot be the id of a policy"):
        validate_policy_id("a:b", error=True)
    with pytest.raises(TypeError, match="takes a list"):
        ClipRewardAgentConnector(ConnectorContext())(AgentConnectorDataType(0, 0, {}))  # type: ignore[arg-type]
