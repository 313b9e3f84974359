"""A first search: which learning rate and how much momentum find the minimum of a bent valley fastest?

A function reports after each step; a grid over one variable, samples of another; then the best trial, and all of them as a table.

Run: python examples/tune_quickstart.py
Needs: pip install aktis-tune
Prints: the best configuration, medians by momentum, and a curve.
"""

from __future__ import annotations

import tempfile
from typing import Any

from aktis import air, tune
from aktis.air import session

STEPS = 40


def descend(config: dict[str, Any]) -> None:
    """Gradient descent with momentum on Rosenbrock's function."""
    x, y, dx, dy = -1.0, 1.0, 0.0, 0.0
    for _ in range(STEPS):
        slope_x = -2 * (1 - x) - 40 * x * (y - x**2)
        slope_y = 20 * (y - x**2)
        dx = config["momentum"] * dx - config["lr"] * slope_x
        dy = config["momentum"] * dy - config["lr"] * slope_y
        x, y = x + dx, y + dy
        session.report({"height": (1 - x) ** 2 + 10 * (y - x**2) ** 2, "x": x, "y": y})


def main() -> None:
    with tempfile.TemporaryDirectory() as results_dir:  # without local_dir, results are in ~/aktis_results
        tuner = tune.Tuner(
            descend,
            param_space={"lr": tune.loguniform(1e-4, 1e-2), "momentum": tune.grid_search([0.0, 0.5, 0.9])},
            tune_config=tune.TuneConfig(metric="height", mode="min", num_samples=8),
            run_config=air.RunConfig(name="valley", local_dir=results_dir, verbose=1),
        )
        results = tuner.fit()
        assert len(results) == 24 and results.num_errors == 0

        best = results.get_best_result()
        print(f"\nbest: height {best.metrics['height']:.4f} with {best.config}")
        assert best.metrics["training_iteration"] == STEPS
        assert best.metrics["height"] < 3.0  # it began at 4, and what is drawn is drawn by chance

        table = results.get_dataframe()  # a row per trial
        by_momentum = table.groupby("config/momentum")["height"].median()
        print(by_momentum.round(3).to_string())
        assert by_momentum[0.9] < by_momentum[0.0]

        curve = best.metrics_dataframe["height"]  # a row per report
        print(f"after 1, 10 and {STEPS} steps: {curve[0]:.3f}, {curve[9]:.3f}, {curve[STEPS - 1]:.3f}")
        assert len(curve) == STEPS


if __name__ == "__main__":
    main()
