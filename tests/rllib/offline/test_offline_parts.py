"""Readers by their description, judges of one's own, and older names of algorithms and episodes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aktis.rllib.agents.registry import get_trainer_class
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.ppo import PPO
from aktis.rllib.evaluation import Episode, MultiAgentEpisode
from aktis.rllib.offline import DatasetReader, IOContext, OfflineEvaluator
from aktis.rllib.offline.dataset_reader import make_dataset_reader


def context(input_config: Any) -> IOContext:
    return IOContext(config=AlgorithmConfig().offline_data(input_config=input_config))


def test_readers_by_their_description(tmp_path: Any) -> None:
    rows = [{"obs": i, "actions": 0} for i in range(5)]
    reader = make_dataset_reader(context({"loader_fn": lambda: rows}))
    assert isinstance(reader, DatasetReader) and reader.next()["obs"][:5].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="input_config"):
        make_dataset_reader(context({"format": "json"}))
    with pytest.raises(ValueError, match="not 'csv'"):
        make_dataset_reader(context({"format": "csv", "paths": str(tmp_path)}))


def test_a_judge_of_ones_own() -> None:
    class Mean(OfflineEvaluator):
        def estimate(self, batch: Any, **kwargs: Any) -> dict[str, Any]:
            return {"mean": float(np.mean(batch["rewards"])), "policy": self.policy}

    policy: Any = SimpleNamespace()
    judge = Mean(policy)
    rows = [{"obs": [i, i], "rewards": float(i)} for i in range(4)]
    assert judge.estimate_on_dataset(rows) == {"mean": 1.5, "policy": policy}
    assert judge.estimate_on_dataset(SimpleNamespace(iter_rows=lambda: iter(rows)))["mean"] == 1.5
    assert judge.train({}) == {}  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rows"):
        judge.estimate_on_dataset([])
    with pytest.raises(TypeError, match="abstract"):
        OfflineEvaluator(policy)  # type: ignore[abstract]


def test_older_names() -> None:
    assert get_trainer_class("PPO") is PPO
    algorithm, config = get_trainer_class("PPO", return_config=True)
    assert algorithm is PPO and isinstance(config, dict) and config["lr"] == PPO.get_default_config().lr
    assert MultiAgentEpisode is Episode
