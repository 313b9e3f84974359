"""A whole rollout and each trajectory by itself give the same advantages, with memories of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from aktis.rllib.algorithms.callbacks import DefaultCallbacks  # noqa: E402
from aktis.rllib.algorithms.ppo import PPOConfig  # noqa: E402
from aktis.rllib.connectors.agent.lambdas import register_lambda_agent_connector  # noqa: E402
from aktis.rllib.connectors.connector import ConnectorContext  # noqa: E402
from aktis.rllib.evaluation.rollout_worker import RolloutWorker  # noqa: E402


class Looks(DefaultCallbacks):
    """Wants to see each trajectory."""

    def on_postprocess_trajectory(self, **kwargs: Any) -> None:
        pass


class Customised(DefaultCallbacks):
    """Has a connector of its own, which does nothing."""

    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        same = register_lambda_agent_connector("Same", lambda data: data)
        policy.agent_connectors.prepend(same(ConnectorContext.from_policy(policy)))


MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lstm": {"use_lstm": True, "lstm_cell_size": 8, "lstm_use_prev_action": True, "lstm_use_prev_reward": True},
    "attention": {
        "use_attention": True,
        "attention_dim": 8,
        "attention_head_dim": 8,
        "attention_memory_inference": 4,
        "attention_memory_training": 4,
        "attention_use_n_prev_actions": 2,
    },
}


@pytest.mark.parametrize("other", [Looks, Customised])
@pytest.mark.parametrize("mode", ["truncate_episodes", "complete_episodes"])
@pytest.mark.parametrize("model", MODELS)
def test_the_same_advantages(model: str, mode: str, other: type[DefaultCallbacks]) -> None:
    batches = []
    for callbacks in (DefaultCallbacks, other):
        config = (
            PPOConfig()
            .environment("CartPole-v1", env_config={"max_episode_steps": 12})
            .framework("torch")
            .rollouts(num_envs_per_worker=1, rollout_fragment_length=40, batch_mode=mode)
            .training(model={"fcnet_hiddens": [8], **MODELS[model]})
            .callbacks(callbacks)
            .debugging(seed=3)
        )
        worker = RolloutWorker(config=config)
        batches.append([worker.sample(), worker.sample()])
        worker.stop()
    for one, other_batch in zip(*batches, strict=True):
        assert one["truncateds"].any()
        for name in set(one) - {"infos", "eps_id", "unroll_id"}:
            np.testing.assert_allclose(one[name], other_batch[name], atol=2e-5, err_msg=name)
