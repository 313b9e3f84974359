"""Checkpoints: what is in the files, and what goes on from them."""

from __future__ import annotations

import json
import os
import pickletools
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aktis.air.checkpoint import Checkpoint
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.policy.policy import Policy, PolicySpec


def _json(*path):
    return json.loads(Path(*path).read_text())


def test_goes_on_where_it_was(coin, build, tmp_path):
    coin.debugging(seed=1).rollouts(observation_filter="MeanStdFilter").training(heads=3)
    algorithm = build(coin)
    for _ in range(3):
        algorithm.train()
    path = algorithm.save(str(tmp_path))
    for restored in (build(coin), None):
        if restored is None:
            restored = Algorithm.from_checkpoint(path)
        else:
            restored.restore(path)
        assert restored.iteration == 3
        assert restored.get_policy().bias == algorithm.get_policy().bias
        filters = [a.workers.local_worker().filters["default_policy"].running_stats for a in (algorithm, restored)]
        assert filters[0].n == filters[1].n
        np.testing.assert_array_equal(filters[0].mean, filters[1].mean)
        assert restored.kept.tolist() == list(range(60))
        assert restored.get_policy().global_timestep == 60
        assert restored.config.heads == 3
        result = restored.train()
        assert (result["training_iteration"], result["num_env_steps_sampled"], result["episodes_total"]) == (4, 80, 16)
        assert len(result["hist_stats"]["episode_reward"]) == 16, "the smoothing window goes on, too"
        restored.stop()


def test_files_are_those_of_the_contract_and_no_array_is_pickled(coin, build, tmp_path):
    algorithm = build(coin)
    algorithm.train()
    path = algorithm.save(str(tmp_path))
    assert {
        "rllib_checkpoint.json",
        "algorithm_state.json",
        "arrays.npz",
        "config.pkl",
        "config.json",
        "policies",
    } <= set(os.listdir(path))
    info = _json(path, "rllib_checkpoint.json")
    assert info == {
        "type": "Algorithm",
        "checkpoint_version": "1.0",
        "algorithm": "CoinAlgorithm",
        "iteration": 1,
        "policies": ["default_policy"],
    }
    assert {"policy.json", "weights.npz"} <= set(os.listdir(os.path.join(path, "policies", "default_policy")))
    with np.load(os.path.join(path, "policies", "default_policy", "weights.npz"), allow_pickle=False) as arrays:
        assert float(next(iter(arrays.values()))) == 0.6
    with np.load(os.path.join(path, "arrays.npz"), allow_pickle=False) as arrays:
        assert [array.tolist() for array in arrays.values()] == [list(range(20))]
    state = _json(path, "algorithm_state.json")
    assert state["counters"]["num_env_steps_sampled"] == 20
    assert _json(path, "config.json")["train_batch_size"] == 20
    opcodes = {op.name for op, _, _ in pickletools.genops(Path(path, "config.pkl").read_bytes())}
    assert "GLOBAL" in opcodes or "STACK_GLOBAL" in opcodes, "the configuration may hold classes and functions"


def test_policy_alone(coin, build, tmp_path):
    algorithm = build(coin)
    algorithm.train()
    path = algorithm.save(str(tmp_path))
    assert Policy.from_checkpoint(path)["default_policy"].bias == 0.6
    assert Policy.from_checkpoint(os.path.join(path, "policies", "default_policy")).bias == 0.6
    algorithm.export_policy_checkpoint(str(tmp_path / "one"))
    assert Policy.from_checkpoint(str(tmp_path / "one")).bias == 0.6
    with pytest.raises(KeyError, match="nobody"):
        algorithm.export_policy_checkpoint(str(tmp_path / "two"), policy_id="nobody")
    with pytest.raises(ValueError, match=r"one of a policy.*Policy.from_checkpoint"):
        Algorithm.from_checkpoint(str(tmp_path / "one"))


def test_air_checkpoints_and_bytes(coin, build, tmp_path):
    algorithm = build(coin)
    algorithm.train()
    checkpoint = Checkpoint.from_directory(algorithm.save(str(tmp_path)))
    other = Algorithm.from_checkpoint(Checkpoint.from_dict(checkpoint.to_dict()))
    assert other.get_policy().bias == 0.6
    other.stop()
    third = build(coin)
    third.restore_from_object(algorithm.save_to_object())
    assert third.get_policy().bias == 0.6 and third.iteration == 1


def test_another_algorithms_checkpoint_is_an_error(coin, build, tmp_path):
    path = build(coin).save(str(tmp_path))

    class Different(Algorithm):
        @classmethod
        def get_default_policy_class(cls, config):
            return coin.algo_class.get_default_policy_class(config)

    config = coin.copy(copy_frozen=False)
    config.algo_class = Different
    different = build(config)
    with pytest.raises(ValueError, match="one of CoinAlgorithm, not of Different"):
        different.restore(path)
    with pytest.raises(ValueError, match="one of CoinAlgorithm, not of Different"):
        Different.from_checkpoint(path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: _version(path, "9.0"), "later version"),
        (lambda path: Path(path, "rllib_checkpoint.json").write_text("{"), "damaged"),
        (lambda path: os.truncate(os.path.join(path, "config.pkl"), 3), "damaged"),
        (lambda path: os.truncate(os.path.join(path, "arrays.npz"), 3), "damaged"),
        (lambda path: os.unlink(os.path.join(path, "algorithm_state.json")), "is missing: the checkpoint is damaged"),
        (lambda path: shutil.rmtree(os.path.join(path, "policies")), "policies"),
        (lambda path: os.unlink(os.path.join(path, "rllib_checkpoint.json")), "no checkpoint"),
        (shutil.rmtree, "there is no checkpoint"),
    ],
)
def test_what_is_no_whole_checkpoint_is_an_error_that_says_so(coin, build, tmp_path, spoil, words):
    path = build(coin).save(str(tmp_path))
    spoil(path)
    with pytest.raises(ValueError, match=words):
        Algorithm.from_checkpoint(path)


def _version(path, version):
    info = {**_json(path, "rllib_checkpoint.json"), "checkpoint_version": version}
    Path(path, "rllib_checkpoint.json").write_text(json.dumps(info))


def test_restored_with_fewer_workers(coin, build, cluster, tmp_path):
    algorithm = build(coin.rollouts(num_rollout_workers=2, observation_filter="MeanStdFilter"))
    algorithm.train()
    path = algorithm.save(str(tmp_path))
    algorithm.stop()
    alone = build(coin.copy(copy_frozen=False).rollouts(num_rollout_workers=0))
    alone.restore(path)
    assert alone.train()["num_env_steps_sampled"] == 40
    again = build(coin.copy(copy_frozen=False).rollouts(num_rollout_workers=1))
    again.restore(path)
    seen = again.workers.foreach_worker(
        lambda w: (float(w.get_policy().bias), w.filters["default_policy"].running_stats.n)
    )
    assert seen[0] == seen[1], "remote workers have what the local one has"


def test_from_checkpoint_on_a_machine_that_is_too_small(coin, build, cluster, tmp_path, caplog):
    coin.resources(num_cpus_per_worker=0.1).evaluation(
        evaluation_interval=1, evaluation_num_workers=1, evaluation_duration=1
    )
    algorithm = build(coin.rollouts(num_rollout_workers=2))
    path = algorithm.save(str(tmp_path))
    algorithm.stop()
    many = Algorithm.from_checkpoint(path, config_overrides={"num_cpus_per_worker": 1.5})  # of the 4 that there are
    assert (many.config.num_rollout_workers, many.config.evaluation_num_workers) == (1, 1)
    assert many.train()["num_env_steps_sampled"] == 20
    assert "num_rollout_workers=1 instead of 2" in caplog.text
    many.stop()


def _two(agent_id, episode, worker, **kwargs):
    return "a"


def _only_b(agent_id, episode, worker, **kwargs):
    return "b"


def test_some_policies_of_several(coin, build, tmp_path):
    coin.multi_agent(
        policies={"a": None, "b": PolicySpec(config={"heads": 5})}, policy_mapping_fn=_two, policies_to_train=["a"]
    )
    algorithm = build(coin)
    algorithm.train()
    assert [algorithm.get_policy(name).bias for name in "ab"] == [0.6, 0.5], "b does not learn"
    path = algorithm.save(str(tmp_path))
    made = Algorithm.from_checkpoint(path, policy_ids=["b"], policy_mapping_fn=_only_b, policies_to_train=["b"])
    assert list(made.workers.local_worker().policy_map.keys()) == ["b"]
    assert made.get_policy("b").config.heads == 5
    made.train()
    assert made.get_policy("b").bias == 0.6
    made.stop()
    with pytest.raises(ValueError, match="'c'"):
        Algorithm.from_checkpoint(path, policy_ids=["c"])


def test_policy_that_was_added_is_in_the_checkpoint(coin, build, tmp_path):
    coin.multi_agent(policies=["default_policy", "other"], policy_mapping_fn=_default)
    algorithm = build(coin.evaluation(evaluation_interval=1, evaluation_duration=1))
    algorithm.add_policy("later", policy_mapping_fn=_later, policy_state={"weights": {"bias": np.array(0.8)}})
    with pytest.raises(ValueError, match="'later' already"):
        algorithm.add_policy("later")
    with pytest.raises(ValueError, match="directory"):
        algorithm.add_policy("a/b")
    assert algorithm.get_policy("later").bias == 0.8
    assert "later" in algorithm.evaluation_workers.local_worker().policy_map
    algorithm.train()
    path = algorithm.save(str(tmp_path))
    made = Algorithm.from_checkpoint(path)
    assert made.get_policy("later").bias == algorithm.get_policy("later").bias > 0.8
    made.train()
    assert made.get_policy("later").bias > algorithm.get_policy("later").bias, "agents are mapped to it, as before"
    made.remove_policy("default_policy")
    assert made.get_policy() is None
    with pytest.raises(ValueError, match="no policy 'default_policy'"):
        made.remove_policy("default_policy")
    made.stop()


def _default(agent_id, episode, worker, **kwargs):
    return "default_policy"


def _later(agent_id, episode, worker, **kwargs):
    return "later"


def test_only_policies_that_learn(coin, build, tmp_path):
    coin.multi_agent(policies=["a", "b"], policy_mapping_fn=_two, policies_to_train=["a"])
    algorithm = build(coin.checkpointing(checkpoint_trainable_policies_only=True))
    path = algorithm.save(str(tmp_path))
    assert os.listdir(os.path.join(path, "policies")) == ["a"]
    made = Algorithm.from_checkpoint(path)
    assert made.get_policy("b") is not None
    made.stop()


class Buffer:
    def __init__(self):
        self.rows = np.zeros(0)

    def get_state(self):
        return {"rows": self.rows}

    def set_state(self, state):
        self.rows = state["rows"]


@pytest.mark.parametrize("stored", [False, True])
def test_replay_buffer_is_in_it_only_if_asked_for(coin, build, tmp_path, stored):
    coin.store_buffer_in_checkpoints = stored
    algorithm = build(coin)
    algorithm.local_replay_buffer = Buffer()
    algorithm.local_replay_buffer.rows = np.arange(5.0)
    path = algorithm.save(str(tmp_path))
    assert os.path.exists(os.path.join(path, "replay_buffer.npz")) is stored
    other = build(coin)
    other.local_replay_buffer = Buffer()
    other.restore(path)
    assert other.local_replay_buffer.rows.tolist() == ([0, 1, 2, 3, 4] if stored else [])
    if stored:
        with zipfile.ZipFile(os.path.join(path, "replay_buffer.npz")) as archive:
            assert len(archive.namelist()) == 1


def test_state_makes_the_same_algorithm(coin, build):
    algorithm = build(coin)
    algorithm.train()
    made = Algorithm.from_state(algorithm.get_state())
    assert type(made) is type(algorithm) and made.get_policy().bias == 0.6
    made.stop()
    with pytest.raises(ValueError, match="algorithm_class"):
        Algorithm.from_state({})
