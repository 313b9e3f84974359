"""Tuner and AIR's session: Ray 2.x."""

import sys

import ray
from ray import air, tune
from ray.air import session
from ray.air.checkpoint import Checkpoint
from ray.air.config import RunConfig
from ray.tune import Tuner
from ray.tune.search.optuna.optuna_search import OptunaSearch
from ray.tune.tune_config import TuneConfig

ray.init(num_cpus=2, log_to_driver=False)


def objective(config):
    session.report({"loss": (config["x"] - 2) ** 2}, checkpoint=Checkpoint.from_dict({"x": config["x"]}))


tuner = Tuner(
    objective,
    param_space={"x": tune.grid_search([1, 2, 3])},
    tune_config=TuneConfig(metric="loss", mode="min"),
    run_config=RunConfig(local_dir=sys.argv[1], verbose=0),
)
best = tuner.fit().get_best_result()
print("best", best.config["x"], best.metrics["loss"], best.checkpoint.to_dict()["x"])
print("names", air.RunConfig is RunConfig, OptunaSearch.__name__)
