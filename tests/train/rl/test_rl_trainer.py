"""RLTrainer on an algorithm of our own: a bandit, which has what RLlib's algorithms have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aktis
from aktis import tune
from aktis.air import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from aktis.air.checkpoint import Checkpoint
from aktis.train.error import CheckpointTypeError
from aktis.train.rl import RLCheckpoint, RLPredictor, RLTrainer

pytestmark = pytest.mark.usefixtures("session")


class Policy:
    def __init__(self, values: np.ndarray, env: Any) -> None:
        self.values, self.env = values, env

    def compute_actions(
        self, observations: np.ndarray, scale: float = 1.0
    ) -> tuple[np.ndarray, list[Any], dict[str, Any]]:
        return scale * observations.sum(axis=-1) + self.values.argmax(), [], {}


class Bandit(tune.Trainable):
    """Learns which arm pays most."""

    def setup(self, config: dict[str, Any]) -> None:
        self.values = np.zeros(len(config["env"]))
        self.random = np.random.default_rng(0)

    def step(self) -> dict[str, Any]:
        marker = self.config.get("fails_at")
        if marker is not None and self.iteration == marker[0] and not Path(marker[1]).exists():
            Path(marker[1]).touch()
            raise RuntimeError("the arm is stuck")
        arm = self.iteration % len(self.values)
        self.values[arm] += self.config["lr"] * (self.config["env"][arm] - self.values[arm])
        return {"episode_reward_mean": float(self.values.max()), "seen_workers": self.config.get("num_workers")}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        if self.config.get("as_dict"):
            return {"values": self.values}
        np.save(f"{checkpoint_dir}/values.npy", self.values)
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.values = checkpoint["values"] if isinstance(checkpoint, dict) else np.load(f"{checkpoint}/values.npy")

    def get_policy(self) -> Policy:
        return Policy(self.values, self.config["env"])


def make_trainer(tmp_path: Path, iterations: int = 6, **config: Any) -> RLTrainer:
    return RLTrainer(
        Bandit,
        config={"env": (0.0, 1.0, 0.5), "lr": 0.5, **config},
        scaling_config=ScalingConfig(num_workers=2, trainer_resources={"CPU": 1}),
        run_config=RunConfig(
            local_dir=str(tmp_path), stop={"training_iteration": iterations}, verbose=0,
            failure_config=FailureConfig(max_failures=1), checkpoint_config=CheckpointConfig(checkpoint_frequency=2),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("as_dict", [True, False], ids=["saved as a dict", "saved as files"])
def test_a_run_gives_a_policy(tmp_path: Path, as_dict: bool) -> None:
    result = make_trainer(tmp_path, as_dict=as_dict).fit()
    assert result.metrics["training_iteration"] == 6
    assert result.metrics["episode_reward_mean"] == 0.75
    assert result.metrics["seen_workers"] == 2  # from the ScalingConfig

    checkpoint = result.checkpoint
    assert type(checkpoint) is RLCheckpoint
    policy = checkpoint.get_policy()
    np.testing.assert_allclose(policy.values, [0, 0.75, 0.375])
    assert checkpoint.get_policy(env=(1.0, 2.0, 3.0)).env == (1.0, 2.0, 3.0)

    moved = Checkpoint.from_bytes(checkpoint.to_bytes())
    predictor = RLPredictor.from_checkpoint(moved)
    np.testing.assert_array_equal(predictor.predict(np.array([[1.0, 2.0], [3.0, 4.0]])), [4.0, 8.0])
    table = predictor.predict(pd.DataFrame({"a": [1.0, 3.0], "b": [2.0, 4.0]}), scale=2.0)
    assert table.to_dict("list") == {"predictions": [7.0, 15.0]}


def test_a_failed_step_goes_on_from_the_latest_checkpoint(tmp_path: Path) -> None:
    result = make_trainer(tmp_path, fails_at=(5, str(tmp_path / "failed"))).fit()
    assert (tmp_path / "failed").exists()
    np.testing.assert_allclose(result.checkpoint.get_policy().values, [0, 0.75, 0.375])


def test_a_run_goes_on_from_another_ones_checkpoint(tmp_path: Path) -> None:
    first = make_trainer(tmp_path / "a", iterations=3).fit()
    trainer = make_trainer(tmp_path / "b", iterations=6)
    again = RLTrainer(
        Bandit, config=trainer._config, scaling_config=trainer.scaling_config, run_config=trainer.run_config,
        resume_from_checkpoint=first.checkpoint,
    )  # fmt: skip
    result = again.fit()
    assert result.metrics["training_iteration"] == 6  # of this run
    np.testing.assert_allclose(result.checkpoint.get_policy().values, [0, 0.875, 0.4375])


def test_a_search_varies_the_configuration_of_the_algorithm(tmp_path: Path) -> None:
    tuner = tune.Tuner(
        make_trainer(tmp_path, iterations=2),
        param_space={"config": {"lr": tune.grid_search([0.1, 0.2])}, "scaling_config": {"num_workers": 1}},
        tune_config=tune.TuneConfig(metric="episode_reward_mean", mode="max"),
    )
    results = tuner.fit()
    assert sorted(result.metrics["episode_reward_mean"] for result in results) == [0.1, 0.2]
    assert results.get_best_result().config["config"]["lr"] == 0.2
    assert {result.metrics["seen_workers"] for result in results} == {1}


def test_a_name_needs_rllib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aktis.tune.registry._PROVIDERS", ())
    monkeypatch.setattr("aktis.tune.registry._trainables", {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # as where it is not installed
    with pytest.raises(
        ImportError, match="'PPO' is one of aktis.rllib, which is not installed: pip install aktis-rllib"
    ):
        RLTrainer("PPO", config={"env": "CartPole-v1"})


def test_a_name_that_tune_knows_needs_nothing(tmp_path: Path) -> None:
    tune.register_trainable("bandit-of-the-test", Bandit)
    assert "Bandit" in [cls.__name__ for cls in RLTrainer("bandit-of-the-test").as_trainable().__mro__]


def test_what_makes_no_sense_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="algorithm must be a name"):
        RLTrainer(dict)
    with pytest.raises(TypeError, match="config must be a dict"):
        RLTrainer(Bandit, config=3)
    with pytest.raises(ValueError, match="'test' is not expected"):
        RLTrainer(Bandit, datasets={"test": aktis.data.range(3)})
    with pytest.raises(CheckpointTypeError, match="was not made by an RLTrainer"):
        RLCheckpoint.from_dict({"x": 1}).get_policy()


def test_recorded_experience_is_what_the_algorithm_reads() -> None:
    dataset = aktis.data.range(3)
    config = RLTrainer(Bandit, config={"env": (1.0,)}, datasets={"train": dataset}).algorithm_config()
    assert config["input"] == "dataset"
    assert config["input_config"]["loader_fn"]() is dataset
