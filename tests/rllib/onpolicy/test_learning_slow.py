"""The tuned examples reach what they say."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest

pytest.importorskip("torch")

import yaml

from aktis.rllib.algorithms.registry import get_algorithm_class
from aktis.rllib.env.multi_agent_env import make_multi_agent

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(600)]


def experiment(name: str) -> dict[str, Any]:
    text = (files("aktis.rllib") / "tuned_examples" / f"{name}.yaml").read_text(encoding="utf-8")
    (found,) = yaml.safe_load(text).values()
    return dict(found)


def config_of(found: dict[str, Any], **changes: Any) -> Any:
    _, config = get_algorithm_class(found["run"], return_config=True)
    config.update_from_dict({**found["config"], "env": found["env"], "seed": 0, **changes})
    return config


def best_return(config: Any, target: float, steps: int) -> float:
    algorithm = config.build()
    best, sampled = float("-inf"), 0
    try:
        while sampled < steps and best < target:
            result = algorithm.train()
            sampled = result["num_env_steps_sampled"]
            best = max(best, result["episode_reward_mean"]) if sampled > 1000 else best
    finally:
        algorithm.stop()
    return best


@pytest.mark.parametrize(
    "name",
    ["ppo/cartpole-ppo", "ppo/pendulum-ppo", "pg/cartpole-pg", "a2c/cartpole-a2c", "impala/cartpole-impala", "appo/cartpole-appo"],
)  # fmt: skip
def test_a_tuned_example_passes(name: str) -> None:
    found = experiment(name)
    criteria = found["pass_criteria"]
    target = criteria["episode_reward_mean"]
    assert best_return(config_of(found), target, criteria["timesteps_total"]) >= target


@pytest.mark.parametrize("separate", [False, True])
def test_two_agents_balance_a_pole_each(separate: bool) -> None:
    config = config_of(
        experiment("ppo/cartpole-ppo"), env=make_multi_agent("CartPole-v1"), env_config={"num_agents": 2},
        num_envs_per_worker=4,
    )  # fmt: skip
    if separate:
        config.multi_agent(policies={"p0", "p1"}, policy_mapping_fn=lambda agent_id, *args, **kwargs: f"p{agent_id}")
    assert best_return(config, 800.0, 150_000) >= 800.0


def test_ppo_with_memory_learns_what_it_cannot_see() -> None:
    """CartPole without velocities: an LSTM has to estimate them."""
    import gymnasium

    class Hidden(gymnasium.ObservationWrapper):
        def __init__(self, config: Any) -> None:
            super().__init__(gymnasium.make("CartPole-v1"))
            low, high = self.env.observation_space.low[[0, 2]], self.env.observation_space.high[[0, 2]]
            self.observation_space = gymnasium.spaces.Box(low, high)

        def observation(self, observation: Any) -> Any:
            return observation[[0, 2]]

    config = config_of(
        experiment("ppo/cartpole-ppo"),
        env=Hidden,
        num_sgd_iter=20,
        lr_schedule=[[0, 0.001], [100_000, 0.0]],
        model={
            "use_lstm": True, "fcnet_hiddens": [64], "lstm_cell_size": 64, "max_seq_len": 32, "vf_share_layers": True,
            "fcnet_weights_initializer": "orthogonal",
        },
    )  # fmt: skip
    assert best_return(config, 100.0, 60_000) >= 100.0
