"""tune.run with tune.report, searchers below tune.suggest, a scheduler and a class: Ray 1.9."""

import sys

import ray
from ray import tune
from ray.tune import CLIReporter
from ray.tune.schedulers import ASHAScheduler
from ray.tune.suggest import ConcurrencyLimiter
from ray.tune.suggest.basic_variant import BasicVariantGenerator

ray.init(num_cpus=2, log_to_driver=False)


def objective(config):
    for step in range(4):
        tune.report(score=config["a"] * (step + 1), step=step)


class Trainable(tune.Trainable):
    def setup(self, config):
        self.x = config["x"]

    def step(self):
        self.x += 1
        return {"x": self.x, "done": self.training_iteration >= 1}

    def save_checkpoint(self, checkpoint_dir):
        return {"x": self.x}

    def load_checkpoint(self, checkpoint):
        self.x = checkpoint["x"]


analysis = tune.run(
    objective,
    config={"a": tune.grid_search([1, 2, 3])},
    metric="score",
    mode="max",
    scheduler=ASHAScheduler(max_t=4, grace_period=1),
    search_alg=BasicVariantGenerator(max_concurrent=2),
    progress_reporter=CLIReporter(metric_columns=["score"]),
    resources_per_trial={"cpu": 1},
    local_dir=sys.argv[1],
    verbose=0,
)
print("best", analysis.best_config["a"], analysis.best_result["score"])
print("frame", len(analysis.results_df) if hasattr(analysis, "results_df") else len(analysis.dataframe()))
second = tune.run(
    Trainable, config={"x": tune.choice([5])}, num_samples=1, local_dir=sys.argv[1], verbose=0, checkpoint_at_end=True
)
print("class", second.trials[0].last_result["x"], second.trials[0].status)
print("names", ray.tune.suggest.ConcurrencyLimiter is ConcurrencyLimiter)
