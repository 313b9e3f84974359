"""Off-policy estimators, against values that are known.

The process: in state 0 action a gives the reward a and leads to state 1, where it gives 2 a and ends the episode. The behaviour
policy throws a coin, and the policy that is judged prefers 1 with the probability 0.8. With each of the four episodes once, sums
over the batch are expectations, so that estimators without bias are exactly right.
"""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.offline.estimators import (
    DirectMethod,
    DoublyRobust,
    FeatureImportance,
    ImportanceSampling,
    WeightedImportanceSampling,
)
from aktis.rllib.offline.estimators._setup import estimates, make_estimators
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

GAMMA = 0.9
V_TARGET = 0.8 + GAMMA * 1.6
V_BEHAVIOR = 0.5 + GAMMA * 1.0


class Prefers:
    """Chooses 1 with a probability."""

    observation_space = gym.spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space: Any = gym.spaces.Discrete(2)

    def __init__(self, probability: float = 0.8, seed: int | None = 0) -> None:
        self.probability = probability
        self.config = {"seed": seed}

    def compute_log_likelihoods(self, actions: Any, obs_batch: Any, **kwargs: Any) -> Any:
        return np.log(np.where(np.asarray(actions) == 1, self.probability, 1 - self.probability))

    def compute_actions(self, obs: Any, explore: bool = True) -> Any:
        return (np.asarray(obs)[:, 0] > 0.5).astype(np.int64), [], {}

    def get_state(self) -> dict[str, Any]:
        return {"probability": self.probability}

    def set_state(self, state: dict[str, Any]) -> None:
        self.probability = state["probability"]


class Table:
    """The Q function of the policy, or one that is wrong everywhere."""

    def __init__(self, policy: Any, gamma: float, wrong: float = 0.0) -> None:
        self.policy, self.wrong = policy, wrong
        self.q = np.array([[0.0, 1.0], [0.0, 2.0]])
        self.q[0] += gamma * policy.probability * 2.0
        self.q += wrong
        self.trained = 0

    def train(self, batch: Any) -> list[float]:
        self.trained += 1
        return [1.0, 2.0]

    def estimate_q(self, batch: Any) -> Any:
        return self.q[np.argmax(batch["obs"], axis=1), batch["actions"]]

    def estimate_v(self, batch: Any) -> Any:
        return self.q[np.argmax(batch["obs"], axis=1)] @ np.array(
            [1 - self.policy.probability, self.policy.probability]
        )


def every_episode() -> SampleBatch:
    choices = list(itertools.product((0, 1), repeat=2))
    rows = len(choices) * 2
    states = np.tile(np.eye(2, dtype=np.float32), (len(choices), 1))
    actions = np.array(choices).reshape(-1)
    return SampleBatch(
        obs=states,
        new_obs=np.tile(np.eye(2, dtype=np.float32)[::-1], (len(choices), 1)),
        actions=actions,
        rewards=(actions * np.tile([1.0, 2.0], len(choices))).astype(np.float32),
        terminateds=np.tile([False, True], len(choices)),
        truncateds=np.zeros(rows, bool),
        action_prob=np.full(rows, 0.5, np.float32),
        eps_id=np.repeat(np.arange(len(choices)), 2),
        t=np.tile([0, 1], len(choices)),
    )


def made(kind: Any, **kwargs: Any) -> Any:
    return kind(policy=Prefers(), gamma=GAMMA, **kwargs)


@pytest.mark.parametrize(
    "estimator",
    [
        made(ImportanceSampling),
        made(WeightedImportanceSampling),
        made(DirectMethod, q_model_config={"type": Table}),
        made(DoublyRobust, q_model_config={"type": Table}),
        made(DoublyRobust, q_model_config={"type": Table, "wrong": -3.0}),
    ],
)
def test_the_value_of_the_policy_is_found(estimator: Any) -> None:
    found = estimator.estimate(every_episode())
    assert found["v_behavior"] == pytest.approx(V_BEHAVIOR, rel=1e-6)
    assert found["v_target"] == pytest.approx(V_TARGET, rel=1e-6)
    assert found["v_gain"] == pytest.approx(V_TARGET / V_BEHAVIOR, rel=1e-6)
    assert found["v_delta"] == pytest.approx(V_TARGET - V_BEHAVIOR, rel=1e-6)
    assert found["v_behavior_std"] == pytest.approx(np.std([0, 1.8, 1, 2.8]), rel=1e-6)


def test_a_good_model_leaves_little_to_chance() -> None:
    deviations = [
        made(kind, **config).estimate(every_episode())["v_target_std"]
        for kind, config in (
            (DirectMethod, {"q_model_config": {"type": Table}}),
            (DoublyRobust, {"q_model_config": {"type": Table}}),
            (ImportanceSampling, {}),
        )
    ]
    assert deviations[0] == 0 and deviations == sorted(deviations)


# 3, 2 and 4 steps; what RLlib 2.3 says of them with gamma=0.9 is below
LOGP = [
    -0.8176446557,
    -0.8173255324,
    -0.8173255324,
    -0.8173255324,
    -0.5826997161,
    -0.5826981068,
    -0.5826019049,
    -0.8176594973,
    -0.8170640469,
]
REWARDS = [
    0.6437388062,
    1.1886000633,
    0.6758224368,
    0.7832379937,
    1.7805486917,
    0.4543151855,
    1.2463742495,
    0.1680306941,
    1.6652883291,
]
PROBS = [
    0.7722589970,
    0.4436216652,
    0.8258905411,
    0.3351408243,
    0.5016702414,
    0.3901676834,
    0.5702036023,
    0.7777945399,
    0.4383853376,
]


class Given(Prefers):
    """Its probabilities are given."""

    def compute_log_likelihoods(self, actions: Any, obs_batch: Any, **kwargs: Any) -> Any:
        return np.array(LOGP)[np.asarray(obs_batch)[:, 0].astype(int)]


def three_episodes() -> SampleBatch:
    ends = np.isin(np.arange(9), [2, 4, 8])
    return SampleBatch(
        obs=np.arange(9)[:, None],
        actions=np.zeros(9, int),
        rewards=np.array(REWARDS),
        action_prob=np.array(PROBS),
        terminateds=ends,
        eps_id=np.repeat([0, 1, 2], [3, 2, 4]),
        t=np.array([0, 1, 2, 0, 1, 0, 1, 2, 3]),
    )


@pytest.mark.parametrize(
    ("kind", "split", "target", "deviation"),
    [
        (ImportanceSampling, True, 2.6098684596, 1.0374950590),
        (ImportanceSampling, False, 0.9523019791, 0.5994910002),
        (WeightedImportanceSampling, True, 2.5069789426, 0.9608003641),
        (WeightedImportanceSampling, False, 1.0061510801, 0.6333899498),
    ],
)
def test_the_same_as_rllib(kind: Any, split: bool, target: float, deviation: float) -> None:
    found = kind(policy=Given(), gamma=GAMMA).estimate(three_episodes(), split_batch_by_episode=split)
    assert found["v_target"] == pytest.approx(target, rel=1e-6)
    assert found["v_target_std"] == pytest.approx(deviation, rel=1e-6)
    assert found["v_behavior"] == pytest.approx(2.5242596392 if split else 0.9562173486, rel=1e-6)


def test_episodes_that_are_over_may_count() -> None:
    """Action 0 ends the episode at once, 1 only after another step; each step gives 1. So the length is all that counts."""
    batch = SampleBatch(
        obs=np.zeros((6, 2)),
        actions=np.array([0, 0, 1, 0, 1, 1]),
        rewards=np.ones(6),
        action_prob=np.full(6, 0.5),
        eps_id=np.array([0, 1, 2, 2, 3, 3]),
        t=np.array([0, 0, 0, 1, 0, 1]),
    )
    assert made(ImportanceSampling).estimate(batch)["v_target"] == pytest.approx(1 + GAMMA * 0.8)
    assert made(WeightedImportanceSampling, count_ended=True).estimate(batch)["v_target"] == pytest.approx(
        1 + GAMMA * 0.8
    )
    assert made(WeightedImportanceSampling).estimate(batch)["v_gain"] == pytest.approx(1.0)  # as RLlib has it


def test_with_a_probability_of_random_actions() -> None:
    found = ImportanceSampling(policy=Given(), gamma=GAMMA, epsilon_greedy=0.1).estimate(three_episodes())
    assert found["v_target"] == pytest.approx(2.6139932833, rel=1e-6)


def test_episodes_in_pieces_are_put_together() -> None:
    batch = three_episodes()
    order = np.array([3, 0, 5, 4, 6, 1, 2, 7, 8])  # of environments side by side
    mixed = SampleBatch({key: column[order] for key, column in batch.items()})
    one, other = (ImportanceSampling(policy=Given(), gamma=GAMMA).estimate(b) for b in (batch, mixed))
    assert one == pytest.approx(other)
    twice = SampleBatch(
        {key: np.concatenate([column, column]) for key, column in batch.items()}
    )  # the same numbers of another file
    assert ImportanceSampling(policy=Given(), gamma=GAMMA).estimate(twice) == pytest.approx(one)


def test_single_steps_by_the_models() -> None:
    batch = every_episode()
    direct = made(DirectMethod, q_model_config={"type": Table}).estimate(batch, split_batch_by_episode=False)
    assert direct["v_target"] == pytest.approx((V_TARGET + 1.6) / 2)
    robust = made(DoublyRobust, q_model_config={"type": Table}).estimate(batch, split_batch_by_episode=False)
    assert robust["v_target"] == pytest.approx((0.8 + 1.6) / 2)  # a step is all there is
    rows = list(batch.rows())
    assert made(DoublyRobust, q_model_config={"type": Table}).estimate_on_dataset(rows)["v_target"] == pytest.approx(
        V_TARGET
    )


def test_probabilities_are_needed_and_may_be_logarithms() -> None:
    batch = every_episode()
    batch["action_logp"] = np.log(batch["action_prob"])
    del batch["action_prob"]
    whole = MultiAgentBatch({"default_policy": batch}, batch.count)
    assert made(ImportanceSampling).estimate(whole)["v_target"] == pytest.approx(V_TARGET, rel=1e-6)
    del batch["action_logp"]
    with pytest.raises(ValueError, match="'action_prob'"):
        made(ImportanceSampling).estimate(batch)
    made(DirectMethod, q_model_config={"type": Table}).estimate(batch)  # which needs none
    with pytest.raises(ValueError, match="without steps"):
        made(ImportanceSampling).estimate(SampleBatch())


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"gamma must be from 0 to 1, not 2"):
        ImportanceSampling(Prefers(), gamma=2)  # type: ignore[arg-type]
    continuous = Prefers()
    continuous.action_space = gym.spaces.Box(-1, 1, (1,))
    with pytest.raises(ValueError, match="discrete"):
        ImportanceSampling(continuous, gamma=1, epsilon_greedy=0.1)  # type: ignore[arg-type]
    for wrong in ({"repeat": 0}, {"limit_fraction": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FeatureImportance(Prefers(), **wrong)


def test_feature_importance() -> None:
    obs = np.random.default_rng(0).random((200, 3))
    found = FeatureImportance(Prefers(), repeat=4, seed=1).estimate(SampleBatch(obs=obs))
    assert list(found) == ["feature_0", "feature_1", "feature_2"]
    assert 0.4 < found["feature_0"] < 0.6  # half of the signs are others after a permutation
    assert found["feature_1"] == found["feature_2"] == 0
    half = FeatureImportance(Prefers(), limit_fraction=0.5, seed=1)
    assert half.estimate_on_dataset([{"obs": row} for row in obs])["feature_1"] == 0


def test_estimators_of_a_configuration() -> None:
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

    config = AlgorithmConfig().training(gamma=GAMMA)
    config.evaluation(
        off_policy_estimation_methods={
            "by name": {"type": "ImportanceSampling"},
            "short": {"type": "wis", "gamma": 0.5},
            "model": {"type": DirectMethod, "q_model_config": {"type": Table}},
            "features": {"type": FeatureImportance},
        }
    )
    estimators = make_estimators(config, Prefers())
    assert estimators["by name"].gamma == GAMMA and estimators["short"].gamma == 0.5
    found = estimates(estimators, [every_episode(), every_episode()], split_batch_by_episode=True)
    assert found["by name"]["v_target"] == pytest.approx(V_TARGET, rel=1e-6)
    assert found["model"]["train_loss"] == 1.5 and estimators["model"].model.trained == 1
    assert "feature_0" in found["features"]
    for wrong in ({"x": {}}, {"x": {"type": "Guessing"}}):
        with pytest.raises(ValueError, match=r"'type'|Guessing"):
            make_estimators(config.copy(copy_frozen=False).evaluation(off_policy_estimation_methods=wrong), Prefers())
