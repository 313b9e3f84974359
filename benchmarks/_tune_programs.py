"""The programs that benchmarks/tune.py runs, each in a process of its own: ``python _tune_programs.py NAME LIBRARY FOLDER [N]``.

Prints one line of JSON: ``{"value": ..., ...}``. LIBRARY is "aktis" or "ray" where a program runs on both.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

NAME, LIBRARY, FOLDER = sys.argv[1], sys.argv[2], sys.argv[3]
COUNT = int(sys.argv[4]) if len(sys.argv) > 4 else 0

if LIBRARY == "ray":
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")


def say(value: float, **more: Any) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"value": value, "driver_mb": peak, **more}), flush=True)


def start() -> Any:
    """The library, with a session of two CPUs that is warm: one trial has run."""
    if LIBRARY == "ray":
        import logging

        import ray
        from ray import tune

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    else:
        import aktis
        from aktis import tune

        aktis.init(num_cpus=2)
    run(tune, 1, 1, "warm-up")
    return tune


def run(tune: Any, trials: int, reports: int, name: str, callbacks: Any = None) -> Any:
    """So many trials that report so often, and do nothing else."""

    def trivial(config: dict[str, Any]) -> None:
        for step in range(reports):
            tune.report({"score": config["x"] * step})

    kind = {"storage_path": FOLDER} if LIBRARY == "ray" else {"local_dir": FOLDER}
    arguments: dict[str, Any] = {
        "config": {"x": tune.uniform(0, 1)},
        "num_samples": trials,
        "name": name,
        "verbose": 0,
        **kind,
    }
    if LIBRARY == "ray":
        arguments["reuse_actors"] = True  # as ours does by itself
    return tune.run(trivial, callbacks=callbacks, **arguments)


def trials_per_second() -> None:
    """100 trials with 10 reports each, with the loggers that every run has."""
    tune = start()
    trials = COUNT or 100
    begin = time.perf_counter()
    run(tune, trials, 10, "measured")
    say(trials / (time.perf_counter() - begin))


def optuna_alone() -> None:
    """The same work without any machinery for trials: Optuna's own loop, in one process."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: Any) -> float:
        x = trial.suggest_float("x", 0, 1)
        for step in range(10):
            trial.report(x * step, step)
        return float(x)

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    begin = time.perf_counter()
    study.optimize(objective, n_trials=100)
    say(100 / (time.perf_counter() - begin))


def report_overhead() -> None:
    """Milliseconds per report of one trial: from the report to its return, by the trial's own clock."""
    tune = start()
    reports = 3000 if LIBRARY == "aktis" else 200

    def timed(config: dict[str, Any]) -> None:
        for _ in range(100):
            tune.report({"score": 1.0})
        begin = time.perf_counter()
        for step in range(reports):
            tune.report({"score": float(step)})
        ms = (time.perf_counter() - begin) / reports * 1e3
        tune.report({"score": 0.0, "ms": ms})

    kind = {"storage_path": FOLDER} if LIBRARY == "ray" else {"local_dir": FOLDER}
    analysis = tune.run(timed, config={}, name="measured", verbose=0, **kind)
    say(analysis.trials[0].last_result["ms"])


def many_trials() -> None:
    """10,000 trials with one report: how the cost of the last thousand compares with that of the first."""
    tune = start()
    trials = COUNT or 10_000
    ends: list[float] = []

    class Clock(tune.Callback):  # type: ignore[misc,name-defined]
        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            ends.append(time.perf_counter())

    begin = time.perf_counter()
    run(tune, trials, 1, "measured", [Clock()])
    tenth = trials // 10
    first = ends[tenth - 1] - begin
    last = ends[-1] - ends[-1 - tenth]
    say(last / first, trials_per_second=trials / (ends[-1] - begin))


def asha_budget() -> None:
    """What part of random search's budget ASHA needs to reach its best: median of 20 seeds, simulated.

    Curves without noise, so that "best" means the configuration and not luck; they cross, so the grace period is a ninth of all
    steps. Both see the same configurations in the same order.
    """
    import statistics

    from aktis.tune.schedulers import ASHAScheduler
    from aktis.tune.simulation import LearningCurves, simulate

    family = LearningCurves(noise=0)
    shares = []
    for seed in range(COUNT or 20):
        settings: dict[str, Any] = {"metric": "loss", "mode": "min", "num_workers": 8, "max_steps": 81, "seed": seed}
        random_search = simulate(family, num_samples=128, **settings)
        asha = simulate(
            family, num_samples=-1, step_budget=random_search.steps,
            scheduler=ASHAScheduler(time_attr="training_iteration", max_t=81, grace_period=9, reduction_factor=3), **settings,
        )  # fmt: skip
        reached = asha.steps_to_reach(random_search.best_value)
        shares.append((reached if reached is not None else 10 * random_search.steps) / random_search.steps)
    say(statistics.median(shares), shares=sorted(round(share, 3) for share in shares))


def simulated_trials() -> None:
    """10,000 trials of a simulation with ASHA, in seconds."""
    from aktis.tune.schedulers import ASHAScheduler
    from aktis.tune.simulation import LearningCurves, simulate

    family = LearningCurves()
    begin = time.perf_counter()
    result = simulate(
        family, metric="loss", mode="min", num_samples=10_000, num_workers=64, max_steps=81,
        scheduler=ASHAScheduler(time_attr="training_iteration", max_t=81, grace_period=1, reduction_factor=3),
    )  # fmt: skip
    say(time.perf_counter() - begin, events=result.events, steps=result.steps)


def trainable_to_kill(config: dict[str, Any]) -> None:
    """Reports ten times quickly, and then now and then for ever: most trials end, the last ones are cut off."""
    from aktis import tune

    for step in range(10):
        tune.report({"score": config["x"] * step, "at": time.time()})
    while config["number"] >= config["enough"]:
        time.sleep(0.05)
        tune.report({"score": 0.0, "at": time.time()})


def run_to_kill() -> None:
    """Runs until all but two of COUNT trials have ended; then somebody kills it."""
    import aktis
    from aktis import air, tune

    class Count(tune.Callback):
        ended = 0

        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            self.ended += 1
            if self.ended == COUNT - 2:
                print("ready", flush=True)

    aktis.init(num_cpus=2)
    space = {"x": tune.uniform(0, 1), "number": tune.grid_search(list(range(COUNT))), "enough": COUNT - 2}
    tune.Tuner(
        trainable_to_kill,
        param_space=space,
        run_config=air.RunConfig(name="killed", local_dir=FOLDER, verbose=0, callbacks=[Count()]),
    ).fit()


def restore_after_kill() -> None:
    """Restores what was killed at time COUNT (ms); says how many seconds after that the first new result was there."""
    begin = time.time()
    import aktis
    from aktis import tune

    aktis.init(num_cpus=2)
    first: list[float] = []

    class Watch(tune.Callback):
        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
            if not first:
                first.append(time.time())
                say(first[0] - COUNT / 1000, since_start=first[0] - begin, trials=len(trials))
                os._exit(0)

    tuner = tune.Tuner.restore(os.path.join(FOLDER, "killed"))
    tuner._run_config.callbacks.append(Watch())
    tuner.fit()


def import_time() -> None:
    """Milliseconds for ``import aktis.tune`` (or ray.tune), the interpreter's own start not counted."""
    begin = time.perf_counter()
    if LIBRARY == "ray":
        import ray.tune  # noqa: F401
    else:
        import aktis.tune  # noqa: F401
    say((time.perf_counter() - begin) * 1e3)


if __name__ == "__main__":
    globals()[NAME]()
