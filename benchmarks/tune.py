"""How fast aktis.tune is, beside Ray Tune and plain Optuna in one run.

    hatch run bench-tune                                       everything of ours, and Optuna
    hatch run bench-tune --ray-python /path/to/python          Ray Tune of that interpreter, too
    hatch run bench-tune --only trials --repeat 1 --json out.json
    hatch run bench-tune --quick                               does it work at all
    hatch run bench-tune --write                               put the tables into benchmarks/README.md

Every program runs in a fresh process with a session of two CPUs; the median of the repetitions counts. The exit status is 1
when a program of ours failed, or a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from _tables import machine, number, table, write_readme

HERE = Path(__file__).resolve().parent
PROGRAMS_FILE = HERE / "_tune_programs.py"
LIMIT_S = 400
NO_LOGGERS = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}


@dataclass(frozen=True, slots=True)
class Program:
    """What is measured. ``bound`` is the bar for ours; None: it is only shown."""

    title: str
    function: str
    unit: str
    bound: float | None = None
    at_least: bool = False
    on_ray: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    quick: int = 0  # the size of a quick run


PROGRAMS = {
    "import": Program("import aktis.tune", "import_time", "ms", 150, on_ray=True),
    "trials": Program(
        "100 trials x 10 reports, default loggers",
        "trials_per_second",
        "trials/s",
        60,
        at_least=True,
        on_ray=True,
        quick=10,
    ),
    "optuna": Program("the same in Optuna alone, without trials as processes", "optuna_alone", "trials/s"),
    "report": Program(
        "a report, no loggers", "report_overhead", "ms", 0.3, on_ray=True, environment=tuple(NO_LOGGERS.items())
    ),
    "report_logged": Program("a report, all loggers", "report_overhead", "ms", 1.5, on_ray=True),
    "many": Program(
        "10,000 trials x 1 report: last thousand to first thousand", "many_trials", "times as long", 1.3, quick=200
    ),
    "many_memory": Program("memory of the driver after that", "many_trials", "MB", 300),
    "asha": Program(
        "ASHA: share of random search's budget to reach its best, median of 20 seeds",
        "asha_budget",
        "of the budget",
        0.25,
        quick=3,
    ),
    "simulated": Program("10,000 simulated trials with ASHA", "simulated_trials", "s"),
    "restore": Program("kill -9 of 1,000 trials to the first new result", "restore_after_kill", "s", 2.0, quick=40),
}


@dataclass(slots=True)
class Figure:
    """What came out for one library."""

    samples: list[float] = field(default_factory=list)
    more: list[dict[str, object]] = field(default_factory=list)
    error: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.samples) if self.samples else math.nan


Figures = dict[tuple[str, str], Figure]  # by program and library


def run_program(python: str, library: str, program: Program, size: int, folder: str) -> dict[str, object]:
    """One run in a process of its own; the JSON that it printed."""
    command = [python, str(PROGRAMS_FILE), program.function, library, folder, *([str(size)] if size else [])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=os.environ | dict(program.environment),
    )
    return parsed(done.stdout, done.stderr)


def parsed(output: str, errors: str) -> dict[str, object]:
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            found: dict[str, object] = json.loads(line)
            return found
    raise RuntimeError((errors.strip().splitlines() or ["no output"])[-1][:300])


def restore_program(python: str, library: str, program: Program, size: int, folder: str) -> dict[str, object]:
    """Start a run, kill it when it says that it is ready, restore it."""
    trials = size or 1000
    command = [python, str(PROGRAMS_FILE), "run_to_kill", library, folder, str(trials)]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    try:
        for line in victim.stdout:
            if line.strip() == "ready":
                break
        else:
            raise RuntimeError("it ended before it could be killed")
        time.sleep(0.3)  # the last trials report, so that there is something to go on with
        victim.send_signal(signal.SIGKILL)
        killed = time.time()
    finally:
        victim.kill()
        victim.communicate()
    restored = Program(program.title, "restore_after_kill", program.unit)
    return run_program(python, library, restored, int(killed * 1000), folder)


def measure(name: str, library: str, python: str, repeat: int, quick: bool) -> Figure:
    """A program of one library, ``repeat`` times."""
    program = PROGRAMS[name]
    figure = Figure()
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(prefix="bench-tune-") as folder:
            runner: Callable[..., dict[str, object]] = restore_program if name == "restore" else run_program
            try:
                found = runner(python, library, program, program.quick if quick else 0, folder)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                figure.error = str(error).splitlines()[0][:300]
                break
        figure.samples.append(float(found["value"]))  # type: ignore[arg-type]
        figure.more.append(found)
    return figure


def run_all(names: Sequence[str], ray_python: str | None, repeat: int, quick: bool) -> Figures:
    figures: Figures = {}
    for name in names:
        program = PROGRAMS[name]
        if name == "many_memory":
            continue
        libraries = [("aktis", sys.executable)]
        if ray_python and program.on_ray:
            libraries.append(("ray", ray_python))
        for library, python in libraries:
            print(f"{library}: {program.title} ...", file=sys.stderr, flush=True)
            once = name in ("many", "asha", "simulated") or library == "ray"
            figures[name, library] = measure(name, library, python, 1 if once else repeat, quick)
    many = figures.get(("many", "aktis"))
    if many is not None:
        memory = [float(found["driver_mb"]) for found in many.more]  # type: ignore[arg-type]
        figures["many_memory", "aktis"] = Figure(memory, error=many.error)
    return figures


def verdict(program: Program, figure: Figure) -> str:
    if figure.error:
        return f"FAILED: {figure.error}"
    if program.bound is None:
        return ""
    met = figure.value >= program.bound if program.at_least else figure.value <= program.bound
    return "met" if met else "MISSED"


def report(figures: Figures) -> str:
    rows = []
    for (name, library), figure in figures.items():
        if library != "aktis":
            continue
        program = PROGRAMS[name]
        bar = (
            "" if program.bound is None else f"{'at least' if program.at_least else 'at most'} {number(program.bound)}"
        )
        ray = figures.get((name, "ray"))
        beside = "" if ray is None else ray.error or number(ray.value)
        rows.append((program.title, number(figure.value), bar, program.unit, verdict(program, figure), beside))
    return f"{machine()}.\n\n" + table("Tune", ("what", "aktis", "bar", "unit", "", "Ray Tune"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PROGRAMS, metavar="NAME", help="a program; repeatable")
    parser.add_argument("--ray-python", metavar="PATH", help="an interpreter that has ray[tune]")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of the short programs")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work at all")
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    arguments = parser.parse_args()
    repeat = 1 if arguments.quick else arguments.repeat
    figures = run_all(arguments.only or list(PROGRAMS), arguments.ray_python, repeat, arguments.quick)
    text = report(figures)
    print(text)
    if arguments.json:
        data = [{"program": name, "library": library, **asdict(figure)} for (name, library), figure in figures.items()]
        Path(arguments.json).write_text(json.dumps(data, indent=1), encoding="utf-8")
    if arguments.write:
        write_readme("tune figures", text)
    ours = [(PROGRAMS[name], figure) for (name, library), figure in figures.items() if library == "aktis"]
    if any(figure.error or verdict(program, figure) == "MISSED" for program, figure in ours):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
