"""How patient should early stopping be? Simulated runs answer in seconds, without training anything.

Networks with a high learning rate learn fast and end badly, so who stops trials too early keeps the wrong ones. Who stops none has
no budget for many. The brain and the schedulers are those of real runs; only the trials are curves, and time is virtual.

Run: python examples/tune_simulation.py
Needs: pip install aktis-tune
Prints: the best loss by patience.
"""

from __future__ import annotations

import math
import time

from aktis.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from aktis.tune.simulation import LearningCurves, SimulationResult, simulate

EPOCHS, WORKERS, BUDGET, SEEDS = 81, 16, 2_000, 5


def scheduler_with(grace_period: int | None) -> TrialScheduler:
    """A new one for each run, since schedulers keep what they have learned."""
    if grace_period is None:
        return FIFOScheduler()
    return ASHAScheduler(max_t=EPOCHS, grace_period=grace_period, reduction_factor=3, seed=0)


def best_found(curves: LearningCurves, run: SimulationResult) -> float:
    """The lowest loss, without its noise, of the trials that were trained to the end."""
    exact = LearningCurves(noise=0.0)
    trained = [trial.config for trial in run.trials if trial.last_result.get("training_iteration") == EPOCHS]
    losses = [exact(config).result(EPOCHS)["loss"] for config in trained]
    return min(loss for loss in losses if not math.isnan(loss))


def main() -> None:
    begin = time.perf_counter()
    curves = LearningCurves(noise=0.05)
    found: dict[int | None, float] = {}
    trials = 0
    print(f"{BUDGET:,} epochs on {WORKERS} workers; means over {SEEDS} seeds\n")
    print(f"{'grace period':>12}  {'trials':>6}  {'minutes':>7}  {'best loss':>9}")
    for grace_period in (None, 1, 3, 9, 27):
        runs = [
            simulate(
                curves,
                curves.space(),
                metric="loss",
                mode="min",
                scheduler=scheduler_with(grace_period),
                num_samples=-1,  # as many as the budget allows
                step_budget=BUDGET,
                max_steps=EPOCHS,
                num_workers=WORKERS,
                seed=seed,
            )
            for seed in range(SEEDS)
        ]
        count = sum(len(run.trials) for run in runs)
        minutes = sum(run.seconds for run in runs) / SEEDS / 60  # virtual ones
        found[grace_period] = sum(best_found(curves, run) for run in runs) / SEEDS
        trials += count
        name = "no stopping" if grace_period is None else str(grace_period)
        print(f"{name:>12}  {count // SEEDS:6}  {minutes:7.1f}  {found[grace_period]:9.4f}")
    print(f"\n{trials:,} trials in {time.perf_counter() - begin:.1f} s")

    patient, hasty, never = found[27], found[1], found[None]
    assert patient < hasty
    assert patient < never


if __name__ == "__main__":
    main()
