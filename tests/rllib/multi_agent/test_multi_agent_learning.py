"""Several agents learn: to the returns that their environments are known for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.env.multi_agent_env import make_multi_agent
from aktis.rllib.examples.env.multi_agent import MultiAgentCartPole
from aktis.rllib.examples.env.repeat_after_me_env import RepeatAfterMeEnv
from aktis.rllib.examples.env.two_step_game import TwoStepGame

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(400)]


def shared(*args: Any, **kwargs: Any) -> str:
    return "p"


def by_agent(agent_id: Any, *args: Any, **kwargs: Any) -> str:
    return f"p{agent_id}"


def best(config: PPOConfig, enough: float, iterations: int) -> float:
    """The best mean return within so many iterations; ends as soon as it is enough."""
    algorithm = config.build()
    reached = float("-inf")
    try:
        for _ in range(iterations):
            reached = max(reached, algorithm.train()["episode_reward_mean"])
            if reached >= enough:
                break
    finally:
        algorithm.stop()
    return reached


@pytest.mark.parametrize(("policies", "mapping"), [({"p"}, shared), ({"p0", "p1"}, by_agent)])
def test_two_agent_cartpole_is_solved(policies: set[str], mapping: Callable[..., str]) -> None:
    config = (
        PPOConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": 2})
        .framework("torch")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=8)
        .training(
            train_batch_size=2048, sgd_minibatch_size=256, num_sgd_iter=10, lr=1e-3, lambda_=0.95, gamma=0.98,
            kl_coeff=0.0, clip_param=0.2, grad_clip=0.5, vf_loss_coeff=0.5, model={"fcnet_hiddens": [64, 64]},
        )
        .debugging(seed=1)
        .multi_agent(policies=policies, policy_mapping_fn=mapping)
    )  # fmt: skip
    assert best(config, 950.0, 80) >= 950.0  # the most that two agents can get is 1000


def test_two_step_game() -> None:
    config = (
        PPOConfig()
        .environment(TwoStepGame)
        .framework("torch")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=8)
        .training(train_batch_size=512, sgd_minibatch_size=128, num_sgd_iter=8, lr=1e-3, entropy_coeff=0.01)
        .debugging(seed=0)
        .multi_agent(policies={"p0", "p1"}, policy_mapping_fn=by_agent)
    )
    assert best(config, 6.9, 40) >= 6.9  # 7 is safe, 8 only if both dare


def test_memory_of_two_agents() -> None:
    config = (
        PPOConfig()
        .environment(make_multi_agent(lambda config: RepeatAfterMeEnv({"episode_len": 50})), env_config={"num_agents": 2})
        .framework("torch")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=8)
        .training(
            train_batch_size=1600, sgd_minibatch_size=400, num_sgd_iter=8, lr=3e-3, gamma=0.5, lambda_=0.9,
            model={"use_lstm": True, "lstm_cell_size": 32, "max_seq_len": 10, "fcnet_hiddens": [16]},
        )
        .debugging(seed=0)
        .multi_agent(policies={"p"}, policy_mapping_fn=shared)
    )  # fmt: skip
    # Without memory the best is 0 on average; with it, 2 agents times 50 steps.
    assert best(config, 90.0, 60) >= 90.0
