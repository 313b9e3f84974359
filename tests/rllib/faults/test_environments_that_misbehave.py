"""What environments do wrong is an error that names them, the step and the rule; nothing wrong gets into a batch."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from tests.helpers.rollouts import RandomPolicy, config_of, worker_of

from aktis.rllib.env.multi_agent_env import make_multi_agent
from aktis.rllib.evaluation._observations import EnvError
from aktis.rllib.models.catalog import ModelCatalog
from aktis.rllib.utils.error import UnsupportedSpaceException


class Faulty(gym.Env[Any, Any]):
    """Episodes of 5 steps. From step `at` of its life on, `fault` is what its steps give instead of the right thing."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, config: Any = None) -> None:
        self.config = dict(config or {})
        self.life = self.step_ = 0
        self.closed = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.step_ = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        self.life += 1
        self.step_ += 1
        told = {"obs": np.zeros(3, np.float32), "reward": 1.0}
        if self.life >= self.config.get("at", 30):
            told.update(self.config["fault"])
        return told["obs"], told["reward"], self.step_ >= 5, False, {}

    def close(self) -> None:
        self.closed += 1


FAULTS = {
    "nan reward": ({"reward": float("nan")}, "the reward is nan"),
    "infinite reward": ({"reward": float("inf")}, "the reward is inf"),
    "no reward": ({"reward": None}, "the reward (is nan|must be a number)"),
    "text for a reward": ({"reward": "much"}, "the reward must be a number, not 'much'"),
    "two rewards": ({"reward": np.ones(2)}, "the reward must be a number, not array"),
    "nan observed": ({"obs": np.array([0, np.nan, 0], np.float32)}, "the observation has nan"),
    "nothing observed": ({"obs": None}, "observation"),
    "another shape": ({"obs": np.zeros(4, np.float32)}, r"shape \(3,\) is needed, and it is \(4,\)"),
    "text observed": ({"obs": np.array(["a", "b", "c"])}, "an array of numbers is needed"),
}


@pytest.mark.parametrize("agents", ["one agent", "several agents"])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(fault: str, agents: str) -> None:
    if fault == "nothing observed" and agents == "several agents":
        pytest.skip("an agent that observes nothing waits")
    given, words = FAULTS[fault]
    env: Any = Faulty if agents == "one agent" else make_multi_agent(lambda config: Faulty(config))
    settings = {"fault": given} if agents == "one agent" else {"fault": given, "num_agents": 2}
    worker = worker_of(config_of(env, settings, rollout_fragment_length=40))
    try:
        with pytest.raises(EnvError, match=words) as raised:
            worker.sample()
        assert "step" in str(raised.value) and "sub-environment" in str(raised.value)
    finally:
        worker.stop()


def test_nan_is_let_through_where_checks_are_off() -> None:
    config = config_of(Faulty, {"fault": {"obs": np.full(3, np.nan)}}, rollout_fragment_length=40)
    worker = worker_of(config.environment(disable_env_checking=True))
    assert np.isnan(worker.sample()["obs"]).any()
    worker.stop()


class WontClose(Faulty):
    def close(self) -> None:
        super().close()
        raise OSError("the simulator hangs on to its window")


def test_all_environments_are_closed_whatever_one_raises(caplog: pytest.LogCaptureFixture) -> None:
    made: list[Any] = []

    def make(config: Any) -> Any:
        made.append(WontClose(config))
        return made[-1]

    worker = worker_of(config_of(make, num_envs_per_worker=3))
    worker.stop()
    worker.stop()
    assert [env.closed for env in made] == [1, 1, 1]
    assert len([record for record in caplog.records if record.name == "aktis.rllib.env.utils"]) == 3


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (0,), np.float32), spaces.Text(3)])
@pytest.mark.torch
def test_action_spaces_that_nothing_can_be_chosen_from(space: Any) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UnsupportedSpaceException, match=r"nothing to choose|No action can be chosen"):
        ModelCatalog.get_action_dist(space, {}, framework="torch")


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (0,), np.float32), spaces.Dict({}), spaces.Text(3)])
def test_observation_spaces_that_show_nothing(space: Any) -> None:
    with pytest.raises(UnsupportedSpaceException, match=r"is empty|No network can be given"):
        ModelCatalog.get_preprocessor_for_space(space)


def test_policies_count_from_0_wherever_the_space_begins() -> None:
    seen: list[int] = []

    class From5(Faulty):
        action_space = spaces.Discrete(3, start=5)

        def step(self, action: Any) -> Any:
            seen.append(int(action))
            return super().step(action)

    class Ones(RandomPolicy):
        def compute_actions(self, obs_batch: Any, state_batches: Any = None, **kwargs: Any) -> Any:
            return np.ones(len(obs_batch), np.int64), [], {}

    worker = worker_of(config_of(From5), Ones)
    seen.clear()  # what the check of the environment did
    assert set(worker.sample()["actions"].tolist()) == {1}
    assert set(seen) == {6}
    worker.stop()


class Endless(Faulty):
    """Ends when it is told to."""

    def step(self, action: Any) -> Any:
        obs, reward, _, _, info = super().step(action)
        return obs, reward, self.life >= 95, False, info


@pytest.mark.parametrize("agents", ["one agent", "several agents"])
def test_who_waits_for_the_end_of_an_episode_is_told(
    agents: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aktis.rllib.evaluation._endless.FIRST_WARNING", 20)
    env: Any = Endless if agents == "one agent" else make_multi_agent(lambda config: Endless(config))
    config = config_of(env, {"at": 1000, "num_agents": 2}, batch_mode="complete_episodes", num_envs_per_worker=1)
    worker = worker_of(config)
    worker.sample()
    worker.stop()
    told = [record.getMessage() for record in caplog.records if "no episode has ended" in record.getMessage()]
    assert [int(message.split(" in ")[1].split()[0]) for message in told] == [20, 40, 80]
    assert "TimeLimit" in told[0]
