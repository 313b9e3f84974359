"""Algorithms by name, also by the names of earlier releases; nothing is imported before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aktis import tune
from aktis.rllib.algorithms import registry
from aktis.tune import registry as tune_registry
from aktis.tune.error import TuneError


@pytest.mark.parametrize("name", registry.trainable_names())
def test_each_name_is_an_algorithm_with_its_configuration(name):
    pytest.importorskip(registry._ALGORITHMS[name][0])
    algorithm, config = registry.get_algorithm_class(name, return_config=True)
    assert config.algo_class is algorithm
    assert registry.ALGORITHMS[name]()[0] is algorithm
    assert tune_registry.get_trainable_cls(name) is algorithm


def test_unknown_name_says_what_there_is():
    with pytest.raises(ValueError, match=r"'PPO2'. Did you mean 'PPO'.*There are A2C"):
        registry.get_algorithm_class("PPO2")
    with pytest.raises(ValueError, match=r"not among those of aktis.rllib so far. There are A2C"):
        registry.get_algorithm_class("APEX")
    with pytest.raises(TuneError, match="did you mean 'PPO'"):
        tune_registry.get_trainable_cls("PPOO")


def test_importing_names_costs_nothing():
    code = (
        "import sys; import aktis.rllib.algorithms, aktis.rllib.agents.ppo, aktis.rllib.algorithms.registry;"
        "print([m for m in ('torch', 'tensorflow', 'gymnasium', 'numpy', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_algorithm_and_configuration_load_no_framework():
    code = (
        "import sys; from aktis.rllib.algorithms.algorithm import Algorithm; Algorithm.get_default_config();"
        "print([m for m in ('torch', 'tensorflow', 'pandas', 'gymnasium.envs.classic_control') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_old_names():
    from aktis.rllib.agents import ppo
    from aktis.rllib.agents.trainer import Trainer, with_common_config
    from aktis.rllib.algorithms.algorithm import Algorithm
    from aktis.rllib.algorithms.ppo import PPO, PPOConfig

    assert ppo.PPOTrainer is PPO and Trainer is Algorithm
    assert PPOConfig().to_dict() == ppo.DEFAULT_CONFIG
    ppo.DEFAULT_CONFIG["lr"] = 3
    assert ppo.DEFAULT_CONFIG["lr"] != 3
    assert with_common_config({"mine": 1})["mine"] == 1
    with pytest.raises(AttributeError, match="PPOTrainr"):
        ppo.PPOTrainr


def test_names_reach_another_process(monkeypatch):
    monkeypatch.setitem(tune_registry._named, "test.kind", {"x": 1, "lock": __import__("threading").Lock()})
    tune.register_env("registered here", dict)
    try:
        sent = tune_registry.registered()
        assert "lock" not in sent["test.kind"], "what cannot be pickled stays"
        monkeypatch.setitem(tune_registry._named, "test.kind", {"y": 2})
        tune_registry._envs.pop("registered here")
        tune_registry.take_over({**sent, "test.other": {"broken": b"no pickle"}})
        assert tune_registry.named("test.kind") == {"x": 1, "y": 2}
        assert tune_registry.get_env_creator("registered here") is dict
        assert tune_registry.named("test.other") == {}
    finally:
        tune_registry._envs.pop("registered here", None)
        tune_registry._named.pop("test.other", None)
