"""AlgorithmConfig: sections, attributes and dictionaries say the same thing, and typing errors are errors at once."""

from __future__ import annotations

import pickle
import threading

import pytest

from aktis import tune
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.callbacks import DefaultCallbacks


class Own(AlgorithmConfig):
    """As algorithms do it: a field, and a section method that knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.lambda_ = 1.0
        self.lr = 5e-5
        self.num_steps_sampled_before_learning_starts = 100
        self.replay_buffer_config = {"type": "MultiAgentPrioritizedReplayBuffer", "capacity": 50000}

    def training(self, *, lambda_=None, **kwargs):
        super().training(**kwargs)
        if lambda_ is not None:
            self.lambda_ = lambda_
        return self


def test_sections_chain_and_set_only_what_is_given():
    config = AlgorithmConfig()
    made = (
        config.environment("CartPole-v1", env_config={"size": 3})
        .rollouts(num_rollout_workers=2, observation_filter="MeanStdFilter")
        .training(lr=0.01)
        .resources(num_cpus_per_worker=0.5)
        .evaluation(evaluation_interval=3)
        .debugging(seed=7)
    )
    assert made is config
    assert (config.env, config.num_rollout_workers, config.lr, config.seed) == ("CartPole-v1", 2, 0.01, 7)
    assert config.gamma == AlgorithmConfig().gamma
    assert config.evaluation_duration == 10


def test_none_is_a_value_and_not_what_was_not_given():
    config = AlgorithmConfig().environment(clip_rewards=True).environment(clip_rewards=None)
    assert config.clip_rewards is None
    assert AlgorithmConfig().environment(clip_rewards=True).environment(env="x").clip_rewards is True


def test_old_keys_mean_new_attributes_in_each_form():
    config = Own.from_dict(
        {"num_workers": 3, "lambda": 0.9, "framework": "torch", "min_iter_time_s": 4, "learning_starts": 7}
    )
    assert (config.num_rollout_workers, config.lambda_, config.min_time_s_per_iteration) == (3, 0.9, 4)
    assert config.num_steps_sampled_before_learning_starts == 7
    assert config["num_workers"] == config.num_workers == 3
    config["num_workers"] = 1
    config.num_workers += 1
    assert config.num_rollout_workers == 2
    assert "lambda" in config and config.get("lambda") == 0.9
    assert config.get("nothing", 5) == 5


def test_dictionary_has_ray_spellings_and_comes_back_the_same():
    config = (
        Own()
        .rollouts(num_rollout_workers=2)
        .training(lambda_=0.8)
        .multi_agent(policies={"a", "b"}, policy_mapping_fn=_map)
    )
    as_dict = config.to_dict()
    assert {"num_workers", "lambda", "framework", "callbacks", "input", "multiagent"} <= as_dict.keys()
    assert not {"num_rollout_workers", "lambda_", "_is_frozen"} & as_dict.keys()
    assert as_dict["multiagent"]["policies"] == {"a", "b"}
    again = Own.from_dict(as_dict)
    assert again.to_dict() == as_dict
    assert again.policy_mapping_fn is _map


def _map(agent_id, episode, worker, **kwargs):
    return "a"


@pytest.mark.parametrize(
    ("spoil", "error", "hint"),
    [
        (lambda c: c.training(lrr=1), TypeError, "did you mean 'lr'"),
        (lambda c: c.rollouts(num_rolout_workers=1), TypeError, "num_rollout_workers"),
        (lambda c: setattr(c, "gama", 1), AttributeError, "gamma"),
        (lambda c: c.gama, AttributeError, "gamma"),
        (lambda c: c.update_from_dict({"num_worker": 1}), KeyError, "num_workers"),
        (lambda c: c["trainbatch_size"], KeyError, "train_batch_size"),
        (lambda c: c.__setitem__("trainbatch_size", 1), KeyError, "train_batch_size"),
        (lambda c: c.training(model={"fcnet_hidden": [3]}), KeyError, "fcnet_hiddens"),
        (lambda c: c.update_from_dict({"horizon": 100}), ValueError, "TimeLimit"),
        (lambda c: c.update_from_dict({"monitor": True}), ValueError, "RecordVideo"),
        (lambda c: type(c).overrides(gama=1), KeyError, "gamma"),
    ],
)
def test_unknown_setting_is_an_error_that_names_the_nearest(spoil, error, hint):
    with pytest.raises(error, match=hint):
        spoil(Own())


def test_settings_of_earlier_releases_that_do_nothing_are_taken():
    config = Own.from_dict(
        {"horizon": None, "simple_optimizer": True, "soft_horizon": False, "_use_trajectory_view_api": True}
    )
    assert config.to_dict() == Own().to_dict()


def test_old_settings_of_networks():
    config = AlgorithmConfig.from_dict({"model": {"lstm_use_prev_action_reward": True, "custom_options": {"a": 1}}})
    assert config.model["lstm_use_prev_action"] and config.model["lstm_use_prev_reward"]
    assert config.model["custom_model_config"] == {"a": 1}


def test_old_replay_settings_go_into_the_buffer():
    config = Own.from_dict({"buffer_size": 10, "prioritized_replay": False})
    assert config.replay_buffer_config["capacity"] == 10
    assert config.replay_buffer_config["type"] == "MultiAgentReplayBuffer"


def test_dictionaries_go_together_and_another_type_replaces():
    config = AlgorithmConfig().environment(env_config={"a": 1, "deep": {"x": 1}})
    config.environment(env_config={"b": 2, "deep": {"y": 2}})
    assert config.env_config == {"a": 1, "b": 2, "deep": {"x": 1, "y": 2}}
    hiddens = config.training(model={"fcnet_hiddens": [8]}).model
    assert hiddens["fcnet_hiddens"] == [8] and hiddens["fcnet_activation"] == "tanh"
    config.exploration(exploration_config={"random_timesteps": 5})
    assert config.exploration_config == {"type": "StochasticSampling", "random_timesteps": 5}
    config.exploration(exploration_config={"type": "Random"})
    assert config.exploration_config == {"type": "Random"}


def test_copy_shares_no_dictionary_and_freezing_is_final():
    config = AlgorithmConfig().environment(env_config={"a": [1]})
    other = config.copy()
    other.env_config["a"].append(2)
    other.model["fcnet_hiddens"] = []
    assert config.env_config == {"a": [1]} and config.model["fcnet_hiddens"]
    config.freeze()
    with pytest.raises(AttributeError, match=r"frozen.*lr"):
        config.training(lr=1)
    assert config.copy()._is_frozen
    assert config.copy(copy_frozen=False).training(lr=1).lr == 1


def test_what_cannot_be_copied_is_shared():
    lock = threading.Lock()
    config = AlgorithmConfig().environment(env_config={"lock": lock})
    assert config.copy().env_config["lock"] is lock


def test_configuration_travels():
    config = Own().rollouts(num_rollout_workers=2)
    config.freeze()
    again = pickle.loads(pickle.dumps(config))
    assert again.to_dict() == config.to_dict()
    with pytest.raises(AttributeError):
        again.lr = 3


def test_search_spaces_may_be_in_it():
    config = Own().training(lr=tune.grid_search([1, 2]), model={"fcnet_hiddens": tune.choice([[8], [16]])})
    assert config.to_dict()["lr"] == {"grid_search": [1, 2]}
    assert config.training(lr=0.1).lr == 0.1


@pytest.mark.parametrize(
    ("installed", "means"),
    [(["tensorflow", "torch"], "tf2"), (["torch"], "torch"), ([], "tf2"), (["tensorflow"], "tf2")],
)
def test_tensorflow_1_means_2_or_what_is_there(monkeypatch, caplog, installed, means):
    monkeypatch.setattr("aktis.rllib.algorithms._config.resources._is_installed", installed.__contains__)
    assert AlgorithmConfig().framework("tf").framework_str == means
    assert AlgorithmConfig.from_dict({"framework": "tf"}).framework_str == means
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert all("tensorflow" in words for words in said) and bool(said) == (means == "torch")


def test_frameworks_by_their_older_names():
    assert AlgorithmConfig().framework_str == "torch"
    assert AlgorithmConfig.from_dict({"framework": "tfe"}).framework_str == "tf2"


def test_repr_has_what_is_different():
    assert repr(AlgorithmConfig().training(lr=0.5)) == "AlgorithmConfig(lr=0.5)"


def test_callbacks_is_a_class():
    class Mine(DefaultCallbacks):
        pass

    assert AlgorithmConfig().callbacks(Mine)["callbacks"] is Mine
    assert AlgorithmConfig().callbacks(None).callbacks_class is DefaultCallbacks
    with pytest.raises(TypeError, match="class of callbacks"):
        AlgorithmConfig().callbacks("Mine")


def test_configuration_of_no_algorithm_builds_nothing():
    with pytest.raises(ValueError, match="belongs to no algorithm"):
        AlgorithmConfig().build()
