"""How fast the core is, in ratios to what this machine can do, measured in one run.

    hatch run bench                                   every bar and every program
    hatch run bench --only "task, synchronous"        one bar (also the name of a program or of a limit)
    hatch run bench --ray /path/to/python             the same programs on the Ray of that interpreter, too
    hatch run bench --json figures.json --quick
    hatch run bench --write                           put the tables into benchmarks/README.md

Limits, and each group of programs, run in processes of their own, one after another, each bounded in time. Ratios are
compared with the bars that Aktis sets itself; the exit status is 1 when a bar is missed, or a program failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from _limits import LIMITS
from _measure import PROGRAM_LIMIT_S, Figure
from _programs import NEEDS_TORCH, PROGRAMS, STARTS_ITSELF
from _tables import machine, number, table, write_readme

HERE = Path(__file__).resolve().parent
GROUP_SIZE = 6

RAY_ON_TWO_CORES = {
    # Ray 2.60 on a machine of two cores whose Pipe ping-pong made 21,000 round trips a second: used where the run has no Ray.
    "init_to_first_result": 6.5,
    "resident_memory_rss": 970.0,
    "single_client_wait_1k_refs": 0.97,
    "exchange_100x100_10kb": 1.3,
    "deep_chain_10k": 28.0,
    "new_actor_to_first_result": 780.0,
}
PIPE_OF_THAT_MACHINE = 21_000.0


class Figures:
    """Everything measured in this run, by name; values of what is missing are NaN, which no bar accepts."""

    def __init__(self) -> None:
        self.limits: dict[str, Figure] = {}
        self.aktis: dict[str, Figure] = {}
        self.ray: dict[str, Figure] = {}

    def limit(self, name: str) -> float:
        return self.limits[name].value if name in self.limits else math.nan

    def ours(self, name: str) -> float:
        return self.aktis[name].value if name in self.aktis else math.nan

    def rays(self, name: str) -> float:
        """Ray's figure of this run; without Ray, its stored figure, scaled to this machine by the Pipe ping-pong."""
        if name in self.ray and not self.ray[name].error:
            return self.ray[name].value
        stored = RAY_ON_TWO_CORES.get(name, math.nan)
        if name.startswith("resident_memory"):
            return stored
        speed = self.limit("pipe_ping_pong") / PIPE_OF_THAT_MACHINE
        if math.isnan(speed):
            return stored
        return stored * speed if "/s" in PROGRAMS[name][0] else stored / speed


@dataclass(frozen=True, slots=True)
class Bar:
    """What Aktis promises itself. ``value`` computes the figure that is compared with ``bound``."""

    title: str
    value: Callable[[Figures], float]
    bound: float
    at_least: bool
    unit: str
    needs: tuple[str, ...]  # programs and limits

    def met(self, figures: Figures) -> bool:
        value = self.value(figures)
        return value >= self.bound if self.at_least else value <= self.bound


def at_most(title: str, program: str, bound: float, unit: str) -> Bar:
    return Bar(title, lambda figures: figures.ours(program), bound, False, unit, (program,))


def share_of(title: str, program: str, limit: str, bound: float) -> Bar:
    """A figure as a multiple of what the machine can do."""
    unit = f"x {limit}"
    return Bar(title, lambda figures: figures.ours(program) / figures.limit(limit), bound, True, unit, (program, limit))


def times_ray(title: str, program: str, bound: float) -> Bar:
    def ratio(figures: Figures) -> float:
        ours, ray = figures.ours(program), figures.rays(program)
        return ours / ray if "/s" in PROGRAMS[program][0] else ray / ours

    return Bar(title, ratio, bound, True, "x Ray", (program, "pipe_ping_pong"))


BARS = (
    at_most("import aktis", "import_time", 100, "ms"),
    at_most("init to the first result", "init_to_first_result", 0.35, "s"),
    at_most("resident memory", "resident_memory_rss", 120, "MB"),
    share_of("actor call, synchronous", "one_to_one_actor_calls_sync", "pipe_ping_pong", 0.6),
    share_of("actor calls, asynchronous", "one_to_one_actor_calls_async", "pool_apply_async", 4),
    share_of("tasks, asynchronous", "single_client_tasks_async", "pool_apply_async", 3),
    share_of("task, synchronous", "single_client_tasks_sync", "pipe_ping_pong", 0.45),
    # 60,000 and 300,000 a second on the machine where the Pipe does 21,000
    share_of("put of small values", "single_client_put_calls", "pipe_ping_pong", 60 / 21),
    share_of("get of small values", "single_client_get_calls", "pipe_ping_pong", 300 / 21),
    share_of("put of 800 MB", "single_client_put_gigabytes", "warm_memcpy", 0.6),
    at_most("get of 800 MB, no copy", "get_800_mb", 1, "ms"),
    times_ray("1,000 waits, one at a time", "single_client_wait_1k_refs", 10),
    times_ray("exchange of 100 x 100 x 10 KB", "exchange_100x100_10kb", 3),
    times_ray("chain of 10,000 tasks", "deep_chain_10k", 20),
    at_most("new actor to first result", "new_actor_to_first_result", 15, "ms"),
    at_most("new actor to first result, torch preloaded", "new_actor_using_torch", 40, "ms"),
)


# ---- running ----


def run_lines(command: Sequence[str], limit_s: int) -> list[Figure]:
    """Run a measuring process in a process group of its own and read the figures that it writes, one JSON line each."""
    figures: list[Figure] = []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    problem = ""
    try:
        output, errors = process.communicate(timeout=limit_s)
        if process.returncode:
            lines = [line for line in errors.splitlines() if line.strip()]
            problem = f"exit status {process.returncode}: {lines[-1] if lines else 'no message'}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()  # what was measured before is kept
        problem = f"stopped after {limit_s} s"
    except BaseException:  # Ctrl-C, or somebody ends us: nothing goes on without us
        os.killpg(process.pid, signal.SIGKILL)
        raise
    for line in output.splitlines():
        if line.startswith("{"):
            figures.append(Figure(**json.loads(line)))
    if problem:
        figures.append(Figure("", "", error=problem))
    return figures


def run_programs(
    interpreter: str, api: str, names: Sequence[str], quick: bool, say: Callable[[str], None]
) -> dict[str, Figure]:
    """All named programs, in groups that share a session; those that start a session themselves, several times over."""
    found: dict[str, Figure] = {}
    for group in group_programs(names, api):
        alone = bool(STARTS_ITSELF & set(group))
        repeats = (1 if quick else {"init_to_first_result": 5}.get(group[0], 3)) if alone else 1
        say(f"{api}: {', '.join(group)}")
        command = [interpreter, str(HERE / "_programs.py"), "--api", api, *(["--quick"] if quick else []), *group]
        runs = [run_lines(command, 60 if alone else 60 + PROGRAM_LIMIT_S * len(group)) for _ in range(repeats)]
        for name in group:
            found[name] = combine(name, runs)
    return found


def group_programs(names: Sequence[str], api: str) -> list[list[str]]:
    special = [name for name in names if name in STARTS_ITSELF or (name in NEEDS_TORCH and api == "aktis")]
    ordinary = [name for name in names if name not in special]
    size = len(ordinary) if api == "ray" else GROUP_SIZE  # starting Ray takes seconds
    groups = [ordinary[i : i + size] for i in range(0, len(ordinary), size or 1)]
    return [[name] for name in special] + groups


def combine(name: str, runs: list[list[Figure]]) -> Figure:
    """One figure out of several runs of the same program. The first run of several only warms the page cache."""
    errors = [figure.error for run in runs for figure in run if figure.error and figure.name in ("", name)]
    figures = [figure for run in runs for figure in run if figure.name == name and not figure.error]
    if not figures:
        return Figure(name, PROGRAMS[name][0], error=errors[0] if errors else "no figure came back")
    counted = figures[1:] or figures
    samples = [sample for figure in counted for sample in figure.samples]
    return Figure(name, counted[0].unit, statistics.median(samples), samples, error="")


def run_limits(names: Sequence[str], quick: bool) -> dict[str, Figure]:
    if not names:
        return {}
    command = [sys.executable, str(HERE / "_limits.py"), *(["--quick"] if quick else []), *names]
    found = {figure.name: figure for figure in run_lines(command, 120)}
    return {name: found.get(name, Figure(name, LIMITS[name][0], error="no figure came back")) for name in names}


def import_time(interpreter: str, module: str, repeats: int) -> Figure:
    """Milliseconds of ``import MODULE`` in a fresh interpreter, files in the page cache."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    samples = []
    for _ in range(repeats + 1):
        done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            return Figure("import_time", "ms", error=(done.stderr.strip().splitlines() or ["failed"])[-1])
        samples.append(1000 * float(done.stdout))
    return Figure("import_time", "ms", statistics.median(samples[1:]), samples[1:])


def merge_halves(first: dict[str, Figure], second: dict[str, Figure]) -> dict[str, Figure]:
    """Limits are measured before and after everything else, so that a machine that changed its mind shows."""
    merged = {}
    for name, figure in first.items():
        samples = figure.samples + second[name].samples
        value = statistics.median(samples) if samples else math.nan
        merged[name] = Figure(name, figure.unit, value, samples, error=figure.error)
    return merged


# ---- showing ----


def report(figures: Figures, bars: Sequence[Bar]) -> str:
    parts = []
    if figures.limits:
        rows = [(f.name, number(f.value) if not f.error else f.error, f.unit) for f in figures.limits.values()]
        parts.append(table("Limits of this machine", ("limit", "figure", "unit"), rows))
    if bars:
        rows = []
        for bar in bars:
            sign = "at least" if bar.at_least else "at most"
            verdict = "met" if bar.met(figures) else "MISSED"
            rows.append((bar.title, number(bar.value(figures)), f"{sign} {number(bar.bound)}", bar.unit, verdict))
        parts.append(table("Bars", ("what", "figure", "bar", "unit", ""), rows))
    names = list(dict.fromkeys([*figures.aktis, *figures.ray]))
    if names:
        rows = []
        for name in names:
            ours, ray = figures.aktis.get(name), figures.ray.get(name)
            ratio = ours.value / ray.value if ours and ray else math.nan
            unit = (ours or ray or Figure(name, "")).unit
            if "/s" not in unit:
                ratio = 1 / ratio
            shown = [number(f.value) if f and not f.error else (f.error if f else "-") for f in (ours, ray)]
            rows.append((name, shown[0], shown[1], unit, number(ratio)))
        parts.append(table("Programs", ("program", "Aktis", "Ray", "unit", "times better"), rows))
    return "\n".join(parts)


def choose(only: Sequence[str]) -> tuple[list[Bar], list[str], list[str]]:
    """Bars, programs and limits to run for the names given with --only (all of them without)."""
    known = {bar.title for bar in BARS} | PROGRAMS.keys() | LIMITS.keys() | {"import_time"}
    if unknown := [name for name in only if name not in known]:
        raise SystemExit(f"--only {unknown[0]!r} is none of: {', '.join(sorted(known))}")
    bars = [bar for bar in BARS if not only or bar.title in only]
    needs = {name for bar in bars for name in bar.needs} | set(only)
    everything = {"import_time", *PROGRAMS, *LIMITS} if not only else needs
    has_torch = importlib.util.find_spec("torch") is not None
    if not has_torch:
        everything -= NEEDS_TORCH
        bars = [bar for bar in bars if not NEEDS_TORCH & set(bar.needs)]
    programs = [name for name in ("import_time", *PROGRAMS) if name in everything]
    return bars, programs, [name for name in LIMITS if name in everything]


def find_ray(given: str | None) -> str | None:
    if given:
        return given
    return sys.executable if importlib.util.find_spec("ray") is not None else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a bar, program or limit; repeatable"
    )
    parser.add_argument("--ray", metavar="PYTHON", help="interpreter that has Ray (default: this one, when it has)")
    parser.add_argument("--no-ray", action="store_true", help="do not run Ray, even if it is installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--quick", action="store_true", help="one short round of each: does it work at all")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    arguments = parser.parse_args()
    bars, programs, limits = choose(arguments.only)

    def say(text: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    figures = Figures()
    say(f"limits: {', '.join(limits)}")
    first = run_limits(limits, arguments.quick)
    ray = None if arguments.no_ray else find_ray(arguments.ray)
    for api, interpreter, found in (("aktis", sys.executable, figures.aktis), ("ray", ray, figures.ray)):
        if interpreter is None:
            continue
        names = [name for name in programs if name in PROGRAMS and not (api == "ray" and name in NEEDS_TORCH)]
        if "import_time" in programs:
            found["import_time"] = import_time(interpreter, api, 1 if arguments.quick else 9)
        found.update(run_programs(interpreter, api, names, arguments.quick, say))
    figures.limits = merge_halves(first, run_limits(limits, arguments.quick))

    tables = report(figures, bars)
    print(tables)
    if arguments.write:
        write_readme("core figures", f"{machine()}.\n\n{tables}")
    if arguments.json:
        facts = {"machine": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version()}
        parts = {"limits": figures.limits, "aktis": figures.aktis, "ray": figures.ray}
        samples = {part: {name: asdict(f) for name, f in found.items()} for part, found in parts.items()}
        arguments.json.write_text(json.dumps({"facts": facts, **samples}, indent=1))
    failed = [name for name, figure in {**figures.limits, **figures.aktis}.items() if figure.error]
    if failed or not all(bar.met(figures) for bar in bars):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
