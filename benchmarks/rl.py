"""How fast and how well aktis.rllib learns, beside stable-baselines3 and Ray RLlib in one run.

    hatch run bench-rl                                            everything of ours
    hatch run bench-rl --sb3-python PATH --ray-python PATH        stable-baselines3 and Ray RLlib of those interpreters, too
    hatch run bench-rl --only reach --only speed --seeds 3        some parts
    hatch run bench-rl --quick                                    does it work at all
    hatch run bench-rl --write                                    put the table into benchmarks/README.md

Every run is a fresh process on one core (workers have processes of their own), those that are compared take turns, and the
median over seeds counts. The exit status is 1 when a program of ours failed, or a bar is missed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _parts import Row, parser_for, run_json, run_parts
from _tables import number

HERE = Path(__file__).resolve().parent
PROGRAMS_FILE = HERE / "_rl_programs.py"
LIMIT_S = 1800
FIRST_SEED = 100  # none of those that settings were chosen with
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run of this program is asked for."""

    pythons: dict[str, str]  # library -> interpreter
    seeds: int
    quick: bool

    def all_seeds(self) -> range:
        return range(FIRST_SEED, FIRST_SEED + self.seeds)

    def libraries(self) -> list[str]:
        return list(self.pythons)


def run(setting: Setting, program: str, library: str = "aktis", **arguments: Any) -> dict[str, Any]:
    """One run in a process of its own: what it printed."""
    command = [setting.pythons[library], str(PROGRAMS_FILE), program, library, json.dumps(arguments)]
    return run_json(command, LIMIT_S, ENVIRONMENT)[-1]


def in_turns(setting: Setting, program: str, **arguments: Any) -> dict[str, list[dict[str, Any]]]:
    """Runs of each library with each seed, in turns. Ray's, which take minutes: once. What fails is left out."""
    found: dict[str, list[dict[str, Any]]] = {library: [] for library in setting.libraries()}
    for seed in setting.all_seeds():
        for library in setting.libraries():
            if library == "ray" and seed != FIRST_SEED:
                continue
            try:
                found[library].append(run(setting, program, library, seed=seed, **arguments))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                if library == "aktis":
                    raise
                print(f"{program} of {library}: {error}", file=sys.stderr)
    return {library: runs for library, runs in found.items() if runs}


def median(values: list[float | None]) -> float | None:
    """The median, where None (never reached) is more than every number."""
    found = statistics.median(float("inf") if value is None else value for value in values)
    return None if found == float("inf") else found


def shown(value: float | None, unit: str = "") -> str:
    return "not reached" if value is None else f"{number(value)}{unit}"


def beside(values: dict[str, float | None], unit: str = "") -> str:
    names = {"sb3": "stable-baselines3", "ray": "Ray RLlib"}
    return ", ".join(
        f"{names[library]} {shown(value, unit)}" for library, value in values.items() if library != "aktis"
    )


def reach(setting: Setting) -> list[Row]:
    """Time to a mean return of 450 on CartPole."""
    target, steps = (100, 20_000) if setting.quick else (450, 100_000)
    runs = in_turns(setting, "reach", example="ppo/cartpole-ppo", target=target, steps=steps)
    seconds = {library: median([one["s"] for one in found]) for library, found in runs.items()}
    ours, theirs = seconds["aktis"], seconds.get("sb3")
    samples = {library: [[one["s"], one["cpu_s"], one["steps"]] for one in found] for library, found in runs.items()}
    rows = [
        Row(
            f"CartPole-v1, PPO: wall time to a mean return of {target}",
            shown(ours, " s"),
            "",
            None,
            beside(seconds, " s"),
            samples,
        )
    ]
    if ours is not None and theirs is not None:
        ratio = theirs / ours
        what = f"CartPole-v1, PPO: time to {target}, times as fast as stable-baselines3"
        rows.append(Row(what, number(ratio), "at least 3", ratio >= 3))
    return rows


def speed(setting: Setting) -> list[Row]:
    """Steps per second with updates, with the same hyper-parameters."""
    rows = []
    for name in ("tuned", "default"):
        runs = in_turns(setting, "speed", settings=name, steps=5_000 if setting.quick else 40_000)
        rates = {library: median([one["value"] for one in found]) for library, found in runs.items()}
        samples = {library: [one["value"] for one in found] for library, found in runs.items()}
        what = f"PPO with updates, CartPole, stable-baselines3's {name} settings: steps/s"
        rows.append(Row(what, shown(rates["aktis"]), "", None, beside(rates), samples))
        if rates.get("sb3") and rates["aktis"]:
            ratio = rates["aktis"] / rates["sb3"]  # type: ignore[operator]  # neither is None
            what = f"PPO with updates, CartPole, {name} settings: steps/s, times stable-baselines3's"
            rows.append(Row(what, number(ratio), "at least 4", ratio >= 4))
    return rows


def sampling(setting: Setting) -> list[Row]:
    """Sampling from 64 CartPoles with a policy of two hidden layers of 64, to stepping gymnasium.vector alone."""
    runs = [run(setting, "sampling", seed=seed, seconds=1 if setting.quick else 8) for seed in setting.all_seeds()]
    ratio = statistics.median(one["value"] for one in runs)
    text = f"gymnasium.vector {number(max(one['plain'] for one in runs))} steps/s, ours {number(max(one['ours'] for one in runs))}"
    samples = {"aktis": [one["value"] for one in runs]}
    what = "sampling from 64 CartPoles, time to that of gymnasium.vector without a policy"
    return [Row(what, number(ratio), "at most 1.3", ratio <= 1.3, text, samples)]


@dataclass(frozen=True, slots=True)
class Learns:
    """What a tuned example is to reach within so many steps."""

    example: str
    steps: int
    target: float


LEARNS = (
    Learns("ppo/cartpole-ppo", 100_000, 500.0),
    Learns("dqn/cartpole-dqn", 50_000, 500.0),
    Learns("ppo/pendulum-ppo", 300_000, -200.0),
    Learns("sac/pendulum-sac", 20_000, -170.0),
    Learns("ppo/lunarlander-ppo", 1_000_000, 230.0),
    Learns("dqn/lunarlander-dqn", 300_000, 150.0),
)


def learns(setting: Setting) -> list[Row]:
    """Returns of the tuned examples: greedy episodes after training."""
    rows = []
    for one in LEARNS:
        steps = 2_000 if setting.quick else one.steps
        episodes = 2 if setting.quick else 100
        print(f"  {one.example} ...", file=sys.stderr, flush=True)
        try:
            runs = [
                run(setting, "learn", example=one.example, seed=seed, steps=steps, episodes=episodes)
                for seed in setting.all_seeds()
            ]
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            rows.append(Row(one.example, f"FAILED: {error}", met=False))
            continue
        value = statistics.median(found["greedy"] for found in runs)
        training = statistics.median(found["training"] for found in runs)
        seconds = statistics.median(found["s"] for found in runs)
        taken = statistics.median(found["steps"] for found in runs)
        text = f"with exploration {number(training)}; {taken:,.0f} steps, {number(seconds)} s"
        samples = {"aktis": [[found["greedy"], found["training"], found["steps"]] for found in runs]}
        what = f"{one.example}: return within {steps:,} steps"
        rows.append(Row(what, number(value), f"at least {number(one.target)}", value >= one.target, text, samples))
    return rows


def agents(setting: Setting) -> list[Row]:
    """Two CartPoles in one environment."""
    rows = []
    for policies in ("shared", "separate"):
        steps = 3_000 if setting.quick else 200_000
        runs = [
            run(setting, "agents", policies=policies, seed=seed, target=900, steps=steps)
            for seed in setting.all_seeds()
        ]
        best = statistics.median(one["best"] for one in runs)
        text = f"after {number(statistics.median(one['steps'] for one in runs))} steps"
        samples = {"aktis": [[one["best"], one["steps"]] for one in runs]}
        what = f"two-agent CartPole, policies {policies}: best mean return of both together"
        rows.append(Row(what, number(best), "at least 900", best >= 900, text, samples))
    return rows


def repeat(setting: Setting) -> list[Row]:
    """The same seed twice."""
    rows = []
    for workers in (0, 2):
        one, other = (run(setting, "repeat", workers=workers, seed=1)["curve"] for _ in range(2))
        same = one == other
        what = f"the same seed twice, {workers} workers: learning curve of {len(one)} iterations"
        rows.append(Row(what, "equal" if same else "different", "equal bit for bit", same))
    return rows


def scaling(setting: Setting) -> list[Row]:
    """Two workers on an environment that waits 1 ms in each step, to one."""
    seconds = 2 if setting.quick else 10
    ratios = []
    for seed in setting.all_seeds():
        one, two = (run(setting, "scaling", workers=workers, seed=seed, seconds=seconds)["value"] for workers in (1, 2))
        ratios.append(two / one)
    ratio = statistics.median(ratios)
    what = "two workers on an environment of 1 ms a step, times one worker's steps/s"
    return [Row(what, number(ratio), "at least 1.9", ratio >= 1.9, "", {"aktis": ratios})]


PARTS: dict[str, Callable[[Setting], list[Row]]] = {
    "reach": reach,
    "speed": speed,
    "sampling": sampling,
    "scaling": scaling,
    "repeat": repeat,
    "agents": agents,
    "learns": learns,
}


def pythons(sb3: str | None, ray: str | None) -> dict[str, str]:
    """Which interpreter has which library; stable-baselines3 is in this one, perhaps."""
    found = {"aktis": sys.executable}
    if sb3 or importlib.util.find_spec("stable_baselines3") is not None:
        found["sb3"] = sb3 or sys.executable
    if ray:
        found["ray"] = ray
    return found


def main() -> None:
    parser = parser_for(__doc__, PARTS)
    parser.add_argument("--sb3-python", metavar="PATH", help="an interpreter that has stable-baselines3")
    parser.add_argument(
        "--ray-python", metavar="PATH", help="an interpreter that has ray[rllib] 2.40 or later, and torch"
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each run")
    arguments = parser.parse_args()
    found = pythons(arguments.sb3_python, arguments.ray_python)
    setting = Setting(found, 1 if arguments.quick else arguments.seeds, arguments.quick)
    run_parts("Reinforcement learning", PARTS, setting, arguments)


if __name__ == "__main__":
    main()
