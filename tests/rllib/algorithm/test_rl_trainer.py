"""aktis.train.rl with an algorithm of aktis.rllib."""

from __future__ import annotations

import numpy as np
import pytest

from aktis.air import RunConfig, ScalingConfig
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.train.rl import RLPredictor, RLTrainer

pytestmark = pytest.mark.usefixtures("cluster")


def test_trains_and_predicts(coin, tmp_path):
    coin.rollouts(observation_filter="MeanStdFilter").training(heads=4)
    trainer = RLTrainer(
        coin.algo_class,
        config=coin,
        scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.5}),
        run_config=RunConfig(stop={"training_iteration": 3}, local_dir=str(tmp_path), verbose=0),
    )
    result = trainer.fit()
    assert result.error is None
    assert (result.metrics["num_env_steps_sampled"], result.metrics["num_healthy_workers"]) == (60, 1)
    assert result.checkpoint.get_policy().bias == pytest.approx(0.8)
    predictor = RLPredictor.from_checkpoint(result.checkpoint)
    assert predictor.predict(np.zeros((3, 2), np.float32), explore=False).tolist() == [1, 1, 1]
    predictor.policy.algorithm.stop()
    made = Algorithm.from_checkpoint(result.checkpoint, config_overrides={"num_workers": 0})
    assert type(made) is coin.algo_class and made.config.heads == 4 and made.iteration == 3
    made.stop()
