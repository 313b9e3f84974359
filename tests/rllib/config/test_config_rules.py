"""What validate() finds, and what follows from a configuration: fragments, evaluation, policies."""

from __future__ import annotations

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.rllib.algorithms._config.fragments import fragment_lengths
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.policy.policy import PolicySpec


def _config(**settings):
    return AlgorithmConfig().update_from_dict({"disable_env_checking": True, **settings})


@pytest.fixture(autouse=True)
def _framework(monkeypatch):
    """That the framework is there is a rule of its own: these tests run without any."""
    from aktis.rllib.algorithms._config import resources

    monkeypatch.setattr(resources.importlib.util, "find_spec", lambda name: object())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"framework": "jax"}, "'torch' or 'tf2'"),
        ({"num_workers": -1}, "num_rollout_workers"),
        ({"num_workers": 1.5}, "num_rollout_workers"),
        ({"num_envs_per_worker": 0}, "num_envs_per_worker"),
        ({"rollout_fragment_length": "all"}, "'auto'"),
        ({"batch_mode": "whole"}, "complete_episodes"),
        ({"observation_filter": "MeanFilter"}, "MeanStdFilter"),
        ({"gamma": 1.1}, "from 0 to 1"),
        ({"lr": -1}, "lr_schedule"),
        ({"train_batch_size": 0}, "train_batch_size"),
        ({"count_steps_by": "steps"}, "agent_steps"),
        ({"evaluation_duration": "auto"}, "evaluation_parallel_to_training"),
        ({"evaluation_duration": 0}, "evaluation_duration"),
        ({"evaluation_parallel_to_training": True}, "evaluation_num_workers"),
        ({"evaluation_duration_unit": "hours"}, "episodes"),
        ({"policies": ["a/b"]}, "directory"),
        ({"policies": ["a", "b"]}, "policy_mapping_fn"),
        ({"policies": ["default_policy", "b"], "policies_to_train": ["c"]}, "'c'"),
        ({"ignore_worker_failures": True, "recreate_failed_workers": True}, "cannot both"),
        ({"input": {"sampler": 0.5, "x.json": 0.2}}, "sum up to 1"),
        ({"log_level": "LOUD"}, "DEBUG"),
        ({"seed": "x"}, "seed"),
        ({"placement_strategy": "NEAR"}, "STRICT_PACK"),
    ],
)
def test_wrong_value_is_named_with_what_would_be_right(settings, words):
    with pytest.raises(ValueError, match=words):
        _config(**settings).validate()


def test_defaults_are_valid():
    _config().validate()


def test_evaluation_settings_are_checked_before_training():
    with pytest.raises(KeyError, match=r"evaluation_config.*explore"):
        _config(evaluation_interval=1, evaluation_config={"explor": False}).validate()


def test_missing_framework_says_what_to_install(monkeypatch):
    from aktis.rllib.algorithms._config import resources

    monkeypatch.setattr(resources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"aktis-rllib\[torch\]"):
        _config().validate()


@given(batch=st.integers(1, 20000), workers=st.integers(0, 40), envs=st.integers(1, 64))
def test_fragments_make_a_batch_and_as_little_more_as_can_be(batch, workers, envs):
    lengths = fragment_lengths(batch, workers, envs)
    steps = sum(lengths) * envs
    assert len(lengths) == max(workers, 1)
    assert steps >= batch
    assert lengths == sorted(lengths, reverse=True) and lengths[0] - lengths[-1] <= 1
    assert steps - batch < envs or set(lengths) == {1}


@given(batch=st.integers(1, 5000), workers=st.integers(0, 9), envs=st.integers(1, 9))
def test_auto_gives_each_worker_its_fragment(batch, workers, envs):
    config = AlgorithmConfig().training(train_batch_size=batch)
    config.rollouts(rollout_fragment_length="auto", num_rollout_workers=workers, num_envs_per_worker=envs)
    numbers = range(1, workers + 1) if workers else [0]
    assert [config.get_rollout_fragment_length(i) for i in numbers] == fragment_lengths(batch, workers, envs)
    assert config.get_rollout_fragment_length(0) == max(fragment_lengths(batch, workers, envs))


def test_fixed_fragment_is_that_of_all():
    config = AlgorithmConfig().rollouts(rollout_fragment_length=50, num_rollout_workers=3)
    assert [config.get_rollout_fragment_length(i) for i in range(4)] == [50] * 4


@pytest.mark.parametrize(
    ("batch", "fragment", "workers", "fits"),
    [(4000, 2000, 2, True), (4000, 200, 2, True), (4000, 3000, 1, False), (100, 200, 0, False)],
)
def test_batch_that_rounds_cannot_make_is_an_error_with_the_right_fragment(batch, fragment, workers, fits):
    config = AlgorithmConfig().training(train_batch_size=batch)
    config.rollouts(rollout_fragment_length=fragment, num_rollout_workers=workers)
    if fits:
        config.validate_train_batch_size_vs_rollout_fragment_length()
    else:
        with pytest.raises(ValueError, match="'auto', or to"):
            config.validate_train_batch_size_vs_rollout_fragment_length()


def test_evaluation_in_episodes_samples_whole_ones():
    config = _config(
        num_workers=4, evaluation_interval=1, evaluation_config={"explore": False, "env_config": {"hard": True}}
    )
    config.freeze()
    made = config.get_evaluation_config_object()
    assert (made.explore, made.env_config, made.in_evaluation) == (False, {"hard": True}, True)
    assert (made.batch_mode, made.rollout_fragment_length, made.num_rollout_workers) == ("complete_episodes", 1, 0)
    assert made.create_env_on_local_worker
    assert config.explore and not config.in_evaluation
    made.lr = 1  # not frozen


def test_evaluation_in_steps_shares_them():
    config = _config(
        evaluation_interval=1, evaluation_duration_unit="timesteps", evaluation_duration=1000, evaluation_num_workers=3
    )
    made = config.get_evaluation_config_object()
    assert (made.batch_mode, made.rollout_fragment_length, made.num_rollout_workers) == ("truncate_episodes", 334, 3)
    assert not made.create_env_on_local_worker


def test_evaluation_may_be_a_whole_configuration():
    other = AlgorithmConfig().exploration(explore=False).environment("Pendulum-v1")
    made = AlgorithmConfig().evaluation(evaluation_interval=1, evaluation_config=other).get_evaluation_config_object()
    assert made.env == "Pendulum-v1" and made is not other and not other.in_evaluation


OBS, ACT = gym.spaces.Box(0, 1, (3,)), gym.spaces.Discrete(2)


class Env(gym.Env):
    observation_space, action_space = OBS, ACT


def test_policies_get_spaces_class_and_settings():
    class Own:
        pass

    wide = gym.spaces.Box(0, 1, (9,))
    config = AlgorithmConfig().multi_agent(
        policies={"a": PolicySpec(observation_space=wide, config={"lr": 3}), "b": (Own, None, None, {}), "c": None},
        policy_mapping_fn=lambda agent_id, episode, worker, **kw: "a",
        policies_to_train=["a"],
    )
    made, trains = config.get_multi_agent_setup(env=Env(), default_policy_class=dict)
    assert [made[p].observation_space for p in "abc"] == [wide, OBS, OBS]
    assert [made[p].policy_class for p in "abc"] == [dict, Own, dict]
    assert [made[p].config.lr for p in "abc"] == [3, 0.001, 0.001]
    assert config.policies["a"].policy_class is None, "what the user gave is left alone"
    assert trains("a", None) and not trains("b", None)
    assert config.is_multi_agent() and not AlgorithmConfig().is_multi_agent()


def test_policies_in_a_set_come_in_the_same_order_in_each_process():
    config = AlgorithmConfig().environment(observation_space=OBS, action_space=ACT)
    config.multi_agent(policies={"c", "a", "b"}, policy_mapping_fn=lambda agent_id, *args, **kw: "a")
    made, _ = config.get_multi_agent_setup()
    assert list(made) == ["a", "b", "c"]


def test_policies_without_spaces_are_an_error():
    with pytest.raises(ValueError, match="observation_space of the policy 'default_policy'"):
        AlgorithmConfig().get_multi_agent_setup()


def test_spaces_by_agent_are_those_of_the_policys_agent():
    class Many:
        observation_spaces = {"x": OBS, "y": gym.spaces.Discrete(7)}
        action_spaces = {"x": ACT, "y": ACT}

    config = AlgorithmConfig().multi_agent(
        policies=["px", "py"], policy_mapping_fn=lambda agent_id, *a, **kw: f"p{agent_id}"
    )
    made, _ = config.get_multi_agent_setup(env=Many())
    assert made["px"].observation_space == OBS and made["py"].observation_space == gym.spaces.Discrete(7)


def test_mapping_of_the_first_releases_takes_the_agent_alone():
    config = AlgorithmConfig.from_dict({"multiagent": {"policies": {"p"}, "policy_mapping_fn": lambda agent_id: "p"}})
    assert config.policy_mapping_fn("agent", object(), worker=None) == "p"


def test_policies_to_train_is_not_a_string():
    with pytest.raises(TypeError, match=r"\['a'\]"):
        AlgorithmConfig().multi_agent(policies_to_train="a")


def test_policies_to_train_may_look_at_the_batch():
    config = AlgorithmConfig().multi_agent(policies_to_train=lambda policy_id, batch: batch == 1)
    assert config.is_policy_to_train("default_policy", 1) and not config.is_policy_to_train("default_policy", 2)


def test_a_policy_mapping_fn_may_be_described() -> None:
    described = {
        "type": "aktis.rllib.examples.policy.policy_per_agent.PolicyPerAgent",
        "policies": {"1": "other"},
    }
    config = AlgorithmConfig.from_dict(
        {"multiagent": {"policies": ["policy_0", "other"], "policy_mapping_fn": described}}
    )
    assert [config.policy_mapping_fn(agent, None, worker=None) for agent in (0, 1)] == ["policy_0", "other"]
