"""Population based training: the bad copy the weights of the good, and go on from there with other hyperparameters.

The problem of figure 2 in "Population Based Training of Neural Networks" (Jaderberg et al., 2017). Each trial climbs a hill of
which it sees only the part that its hyperparameters h0 and h1 show: with (1, 0) or (0, 1) alone nobody gets to the top.

Run: python examples/tune_population_based.py
Needs: pip install aktis-tune
Prints: how high the trials get alone and as a population.
"""

from __future__ import annotations

import tempfile
from typing import Any

from aktis import air, tune
from aktis.tune.schedulers import PopulationBasedTraining

STEPS, TOP = 80, 1.2


class Climber(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.h = config["h0"], config["h1"]
        self.theta = [0.9, 0.7]

    def step(self) -> dict[str, float]:
        self.theta = [value - 0.02 * 2 * h * value for value, h in zip(self.theta, self.h)]
        return {"height": TOP - sum(value**2 for value in self.theta)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"theta": self.theta}  # the hyperparameters are the run's business

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.theta = checkpoint["theta"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)  # so that a process can go on as another trial: with reuse_actors=True
        return True


def best_height(scheduler: PopulationBasedTraining | None, results_dir: str) -> float:
    tuner = tune.Tuner(
        Climber,
        param_space={"h0": tune.grid_search([1.0, 0.0]), "h1": tune.sample_from(lambda spec: 1.0 - spec.config.h0)},
        tune_config=tune.TuneConfig(metric="height", mode="max", scheduler=scheduler, reuse_actors=True),
        run_config=air.RunConfig(
            local_dir=results_dir,
            stop={"training_iteration": STEPS},
            checkpoint_config=air.CheckpointConfig(num_to_keep=2),
            verbose=1,
        ),
    )
    results = tuner.fit()
    assert results.num_errors == 0
    best = results.get_best_result()
    assert best.checkpoint is not None
    return float(best.metrics["height"])


def main() -> None:
    population = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=4,
        hyperparam_mutations={"h0": tune.uniform(0.0, 1.0), "h1": tune.uniform(0.0, 1.0)},
        quantile_fraction=0.5,
        synch=True,  # steps take no time here: else the first trial would be done before the second begins
        seed=0,
    )
    with tempfile.TemporaryDirectory() as results_dir:
        alone = best_height(None, results_dir)
        together = best_height(population, results_dir)
    print(f"\nthe top is at {TOP}; alone they got to {alone:.2f}, as a population to {together:.2f}")
    assert alone < 0.8 < 1.0 < together <= TOP


if __name__ == "__main__":
    main()
