"""Models, distributions and policies in the manner of well-known scripts for Ray 2.0 to 2.3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402

from aktis.rllib.algorithms.algorithm import Algorithm  # noqa: E402
from aktis.rllib.algorithms.callbacks import DefaultCallbacks, MultiCallbacks  # noqa: E402
from aktis.rllib.algorithms.dqn import DQNConfig  # noqa: E402
from aktis.rllib.algorithms.ppo import PPO, PPOConfig  # noqa: E402
from aktis.rllib.algorithms.ppo.ppo_torch_policy import PPOTorchPolicy  # noqa: E402
from aktis.rllib.evaluation.postprocessing import compute_advantages  # noqa: E402
from aktis.rllib.examples.env.correlated_actions_env import CorrelatedActionsEnv  # noqa: E402
from aktis.rllib.examples.env.two_step_game import TwoStepGame  # noqa: E402
from aktis.rllib.examples.models.autoregressive_action_dist import (  # noqa: E402
    TorchBinaryAutoregressiveDistribution,
)
from aktis.rllib.examples.models.autoregressive_action_model import TorchAutoregressiveActionModel  # noqa: E402
from aktis.rllib.examples.models.batch_norm_model import TorchBatchNormModel  # noqa: E402
from aktis.rllib.examples.models.centralized_critic_models import TorchCentralizedCriticModel  # noqa: E402
from aktis.rllib.examples.models.parametric_actions_model import TorchParametricActionsModel  # noqa: E402
from aktis.rllib.models import ModelCatalog  # noqa: E402
from aktis.rllib.models.modelv2 import restore_original_dimensions  # noqa: E402
from aktis.rllib.models.torch.fcnet import FullyConnectedNetwork  # noqa: E402
from aktis.rllib.models.torch.modules import GRUGate, MultiHeadAttention, SkipConnection  # noqa: E402
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2  # noqa: E402
from aktis.rllib.policy.policy import Policy  # noqa: E402
from aktis.rllib.policy.sample_batch import SampleBatch  # noqa: E402


@pytest.fixture
def built() -> Iterator[Any]:
    made: list[Any] = []

    def build(config: Any, cls: Any = None) -> Any:
        made.append(config.build() if cls is None else cls(config=config))
        return made[-1]

    yield build
    for algorithm in made:
        algorithm.stop()


def ppo(env: Any = "CartPole-v1", **model: Any) -> PPOConfig:
    config = PPOConfig().environment(env).framework("torch").rollouts(num_rollout_workers=0)
    return config.training(
        train_batch_size=32, sgd_minibatch_size=16, num_sgd_iter=1, model={"fcnet_hiddens": [8], **model}
    )


class Masked(gym.Env):  # type: ignore[misc]
    def __init__(self, config: Any = None) -> None:
        self.observation_space = Dict({"action_mask": Box(0, 1, (3,)), "observations": Box(-1, 1, (2,))})
        self.action_space = Discrete(3)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.steps = 0
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._obs(), float(action == 1), self.steps > 4, False, {}

    def _obs(self) -> Any:
        return {"action_mask": np.array([0, 1, 0], np.float32), "observations": np.zeros(2, np.float32)}


class MaskModel(TorchModelV2, nn.Module):  # type: ignore[misc]
    """Hands its keyword arguments on, as the well-known one does; its options are in the model configuration."""

    def __init__(self, obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str, **kw: Any):
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name, **kw)
        nn.Module.__init__(self)
        self.inner = FullyConnectedNetwork(
            obs_space.original_space["observations"], action_space, num_outputs, model_config, name
        )
        assert model_config["custom_model_config"]["no_masking"] is False

    def forward(self, input_dict: Any, state: Any, seq_lens: Any) -> Any:
        for how in (torch, "torch"):  # the module, or its name
            parts = restore_original_dimensions(input_dict["obs_flat"], self.obs_space, tensorlib=how)
            assert torch.equal(parts["action_mask"], input_dict["obs"]["action_mask"])
        logits, _ = self.inner({"obs": input_dict["obs"]["observations"]})
        return logits + torch.clamp(torch.log(input_dict["obs"]["action_mask"]), min=-1e30), state

    def value_function(self) -> Any:
        return self.inner.value_function()


def test_action_masking(built: Any) -> None:
    algorithm = built(ppo(Masked, custom_model=MaskModel, custom_model_config={"no_masking": False}))
    assert algorithm.train()["episode_reward_mean"] == 5.0
    assert algorithm.compute_single_action(Masked().reset()[0]) == 1


class Regularised(FullyConnectedNetwork):
    def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
        self.size = sum((parameter**2).sum() for parameter in self.parameters())
        return [loss + 1e-3 * self.size for loss in policy_loss]

    def metrics(self) -> Any:
        return {"size": self.size.item()}


def test_a_custom_loss_gets_a_list(built: Any) -> None:
    learned = built(ppo(custom_model=Regularised)).train()["info"]["learner"]["default_policy"]
    assert learned["model"]["size"] > 0


def test_memory_is_appended_step_by_step(built: Any) -> None:
    algorithm = built(
        ppo(use_attention=True, max_seq_len=8, attention_dim=8, attention_head_dim=4, attention_memory_inference=6)
    )
    state = [np.zeros([6, 8], np.float32)]
    for _ in range(2):
        _, new, _ = algorithm.compute_single_action(np.ones(4, np.float32), state)
        state = [np.concatenate([state[i], [new[i]]], axis=0)[1:] for i in range(1)]
    assert state[0].shape == (6, 8)
    assert state[0][:4].any() == 0
    assert state[0][4:].any(axis=1).all()
    _, all_new, _ = algorithm.compute_actions({"a": np.ones(4, np.float32)}, state=state)
    assert all_new["a"][0].shape == (8,)


def test_one_action_depends_on_the_other(built: Any) -> None:
    ModelCatalog.register_custom_action_dist("two_in_turn", TorchBinaryAutoregressiveDistribution)
    model = {"custom_model": TorchAutoregressiveActionModel, "custom_action_dist": "two_in_turn"}
    algorithm = built(ppo(CorrelatedActionsEnv, **model))
    algorithm.train()
    observation = algorithm.workers.local_worker().env.observation_space.sample()
    assert algorithm.workers.local_worker().env.action_space.contains(algorithm.compute_single_action(observation))


class Central(PPOTorchPolicy):
    """The value sees what the other agent does. Its function is there only when the constructor is over."""

    def __init__(self, observation_space: Any, action_space: Any, config: Any) -> None:
        PPOTorchPolicy.__init__(self, observation_space, action_space, config)
        self.compute_central_vf = self.model.central_value_function

    def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
        own = model.value_function
        columns = [train_batch[name] for name in ("obs", "opponent_obs", "opponent_action")]
        model.value_function = lambda: self.model.central_value_function(*columns)
        loss = super().loss(model, dist_class, train_batch)
        model.value_function = own
        return loss

    def postprocess_trajectory(self, sample_batch: Any, other_agent_batches: Any = None, episode: Any = None) -> Any:
        if hasattr(self, "compute_central_vf"):
            assert other_agent_batches is not None
            if self.config["enable_connectors"]:
                [(_, _, other)] = list(other_agent_batches.values())
            else:
                [(_, other)] = list(other_agent_batches.values())
            sample_batch["opponent_obs"], sample_batch["opponent_action"] = other["obs"], other["actions"]
        else:
            sample_batch["opponent_obs"] = np.zeros_like(sample_batch["obs"])
            sample_batch["opponent_action"] = np.zeros_like(sample_batch["actions"])
        return compute_advantages(sample_batch, 0.0, self.config["gamma"], self.config["lambda"], use_gae=True)


class CentralPPO(PPO):
    @classmethod
    def get_default_policy_class(cls, config: Any) -> Any:
        return Central


@pytest.mark.parametrize("connectors", [True, False])
def test_a_central_critic(built: Any, connectors: bool) -> None:
    config = ppo(TwoStepGame, custom_model=TorchCentralizedCriticModel)
    config.rollouts(batch_mode="complete_episodes", enable_connectors=connectors)
    config.multi_agent(policies={"a", "b"}, policy_mapping_fn=lambda agent, *args, **kw: "ab"[agent])
    learned = built(config, CentralPPO).train()["info"]["learner"]
    assert set(learned) == {"a", "b"}


class Anything(Policy):
    """Returns a plain list of actions."""

    def compute_actions(self, obs_batch: Any, *args: Any, **kwargs: Any) -> Any:
        return [1 for _ in obs_batch], [], {}

    def learn_on_batch(self, samples: Any) -> Any:
        return {"rows": samples.count}

    def get_weights(self) -> Any:
        return {}

    def set_weights(self, weights: Any) -> None:
        pass


class AnythingAlgorithm(Algorithm):
    @classmethod
    def get_default_policy_class(cls, config: Any) -> Any:
        return Anything


def test_actions_in_a_list(built: Any) -> None:
    config = {"env": "CartPole-v1", "num_workers": 0, "framework": "torch", "rollout_fragment_length": 20}
    algorithm = built({**config, "train_batch_size": 20}, AnythingAlgorithm)
    assert algorithm.train()["info"]["learner"]["default_policy"]["rows"] == 20
    assert algorithm.compute_single_action(np.zeros(4, np.float32)) == 1
    assert algorithm.compute_actions({"a": np.zeros(4, np.float32)}) == {"a": 1}


class Counting(DefaultCallbacks):
    def on_episode_end(self, *, worker: Any, episode: Any, **kwargs: Any) -> None:
        assert worker.policy_config["num_workers"] == 0
        assert episode.last_pi_info_for() is not None
        assert episode._last_infos["agent0"] == episode.last_info_for() == episode._agent_to_last_info["agent0"]
        assert episode.total_env_steps == episode.length
        episode.custom_metrics[type(self).__name__] = episode.length


class More(Counting):
    def __init__(self) -> None:
        self.episodes = 0


def test_several_callbacks_as_an_object(built: Any) -> None:
    metrics = built(ppo().training(train_batch_size=200).callbacks(MultiCallbacks([Counting, More]))).train()
    assert {"Counting_mean", "More_mean"} <= set(metrics["custom_metrics"])


def test_exploration_that_is_sure_at_first(built: Any) -> None:
    config = DQNConfig().environment("CartPole-v1").framework("torch").rollouts(num_rollout_workers=0)
    explore = config.exploration_config
    explore.update({"initial_epsilon": 1.5, "final_epsilon": 0.01, "epsilon_timesteps": 5000})
    config.training(num_steps_sampled_before_learning_starts=10**6, model={"fcnet_hiddens": [4]}, hiddens=[])
    config.exploration(exploration_config=explore).reporting(
        min_sample_timesteps_per_iteration=10, min_time_s_per_iteration=0
    )
    algorithm = built(config)
    algorithm.train()
    assert algorithm.get_policy().exploration.get_state()["cur_epsilon"] > 1.4


def test_example_models_learn(built: Any) -> None:
    from aktis.rllib.examples.env.parametric_actions_cartpole import ParametricActionsCartPole

    built(ppo(custom_model=TorchBatchNormModel)).train()
    config = ppo(ParametricActionsCartPole, custom_model=TorchParametricActionsModel)
    built(config.environment(env_config={"max_avail_actions": 10})).train()


def test_parts_of_networks() -> None:
    x = torch.randn(2, 5, 8)
    attention = SkipConnection(MultiHeadAttention(8, 8, 2, 4), fan_in_layer=GRUGate(8, 2.0))
    out = attention(x)
    assert out.shape == x.shape
    later = x.clone()
    later[:, 3:] = 0.0  # what comes later has no say
    assert torch.allclose(attention(later)[:, :3], out[:, :3], atol=1e-6)


def test_a_policy_on_its_own_learns_from_a_batch_by_hand() -> None:
    env = gym.make("CartPole-v1")
    policy = PPOTorchPolicy(env.observation_space, env.action_space, {**PPOConfig().to_dict(), "framework": "torch"})
    ends = np.array([False] * 9 + [True])
    batch = SampleBatch(
        {"obs": np.ones((10, 4), np.float32), "new_obs": np.ones((10, 4), np.float32), "actions": np.zeros(10, int),
         "rewards": np.ones(10, np.float32), "terminateds": ends, "truncateds": ~ends & False,
         "vf_preds": np.zeros(10, np.float32), "action_dist_inputs": np.zeros((10, 2), np.float32),
         "action_logp": np.full(10, -0.69, np.float32), "eps_id": np.zeros(10, int)}
    )  # fmt: skip
    learned = policy.learn_on_batch(policy.postprocess_trajectory(batch))
    assert learned["learner_stats"]["total_loss"] > 0
    env.close()


@pytest.mark.parametrize("name", ["dqn.dqn_torch_policy:DQNTorchPolicy", "sac.sac_torch_policy:SACTorchPolicy"])
def test_policies_with_updates(name: str) -> None:
    import importlib

    module, cls = name.split(":")
    base = getattr(importlib.import_module(f"aktis.rllib.algorithms.{module}"), cls)
    changed = base.with_updates(name="Changed", postprocess_fn=lambda policy, batch, others, episode: "mine")
    assert issubclass(changed, base) and changed.__name__ == "Changed"
    assert changed.postprocess_trajectory(object.__new__(changed), None) == "mine"
    with pytest.raises(TypeError, match="nothing_like_it"):
        base.with_updates(nothing_like_it=1)


class Checked(PPO):
    def validate_config(self, config: Any) -> None:
        super().validate_config(config)
        if config["gamma"] > 1:
            raise ValueError("gamma is too high")
        config["lambda"] = 0.5


def test_an_algorithm_that_validates_its_configuration(built: Any) -> None:
    assert built(ppo(), Checked).config["lambda"] == 0.5


def test_callbacks_in_an_old_dictionary(built: Any) -> None:
    def ended(info: Any) -> None:
        info["episode"].custom_metrics["ended"] = 1

    old = {"env": "CartPole-v1", "framework": "torch", "num_workers": 0, "train_batch_size": 200, "num_sgd_iter": 1}
    old.update(
        multiagent={
            "policies": {"default_policy": (None, None, None, {})},
            "policy_mapping_fn": lambda agent: "default_policy",
        }
    )
    assert built({**old, "callbacks": {"on_episode_end": ended}}, PPO).train()["custom_metrics"]["ended_mean"] == 1
    assert built({**old, "callbacks": None}, PPO).train()["training_iteration"] == 1
