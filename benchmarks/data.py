"""How fast aktis.data is, and how much memory it takes, beside Ray Data, Dask, Polars, torch and plain Python in one run.

    hatch run bench-data                                         6 million rows; Dask, Polars and torch where installed
    hatch run bench-data --ray-python /path/to/python            Ray Data of that interpreter, too
    hatch run bench-data --only sort --only groupby --peers aktis,polars
    hatch run bench-data --rows 60000 --repeat 1 --json out.json soon done: does it work at all
    hatch run bench-data --write                                 put the tables into benchmarks/README.md

Every program runs in a fresh process; the clock starts when everything is imported and the session is up. Memory is sampled
from outside meanwhile. The exit status is 1 when a program of ours failed, or a bar is missed that was measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from _data_files import Data
from _data_memory import MemorySampler
from _tables import machine, number, table, write_readme

HERE = Path(__file__).resolve().parent
PEERS = ("aktis", "ray", "dask", "polars", "torch", "plain")
GIB, MIB = 1 << 30, 1 << 20
LONG_S = 12.0  # what takes longer is run once
PROGRAMS = {
    "read_count": "read, count",
    "map_write": "read, map_batches (pandas features), write",
    "groupby": "group by two keys: count, mean, sum",
    "sort": "full sort by a time",
    "shuffle": "random shuffle",
    "iter_batches": "iter_batches, pandas, 4,096 rows",
    "iter_torch_batches": "iter_torch_batches, 6 columns, 4,096 rows",
    "map_rows": "map, a Python function of dicts, 1 million rows",
    "stateful": "map_batches with a stateful class",
    "small": "10 MB, map_batches, to pandas",
    "tiny_files": "2,000 tiny files, time to the first batch",
    "four_times_store": "four times the object store: read, map, write",
}
HAS = {
    "torch": {"iter_torch_batches"},
    "ray": set(PROGRAMS),
    "aktis": set(PROGRAMS),
    "dask": set(PROGRAMS) - {"iter_torch_batches"},
    "polars": set(PROGRAMS) - {"iter_torch_batches", "map_rows"},
    "plain": set(PROGRAMS) - {"iter_torch_batches", "shuffle", "four_times_store"},
}


@dataclass(slots=True)
class Result:
    """One program of one peer. ``seconds`` and ``peak_mb`` are medians of the samples."""

    peer: str
    name: str
    samples: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)
    before_mb: float = math.nan  # when the clock started
    error: str = ""

    @property
    def seconds(self) -> float:
        return statistics.median(self.samples) if self.samples and not self.error else math.nan

    @property
    def peak_mb(self) -> float:
        return statistics.median(self.peaks_mb) if self.peaks_mb and not self.error else math.nan


Results = dict[tuple[str, str], Result]


@dataclass(frozen=True, slots=True)
class Bar:
    """What aktis.data promises itself. A value that is not a number was not measured in this run."""

    title: str
    program: str
    bound: float
    unit: str
    value: Callable[[Results], float]
    at_least: bool = True

    def verdict(self, results: Results) -> str:
        value = self.value(results)
        if math.isnan(value):
            failed = results.get(("aktis", self.program))
            return "FAILED" if failed is not None and failed.error else "not measured"
        return "met" if (value >= self.bound if self.at_least else value <= self.bound) else "MISSED"


def seconds_of(results: Results, peer: str, program: str) -> float:
    result = results.get((peer, program))
    return result.seconds if result is not None else math.nan


def times(peer: str, program: str, bound: float) -> Bar:
    """So many times as fast as a peer."""

    def value(results: Results) -> float:
        return seconds_of(results, peer, program) / seconds_of(results, "aktis", program)

    names = {"ray": "Ray Data", "plain": "plain Python", "dask": "Dask"}
    return Bar(f"{PROGRAMS[program]}", program, bound, f"x {names[peer]}", value)


def at_most(program: str, bound: float) -> Bar:
    return Bar(PROGRAMS[program], program, bound, "s", lambda results: seconds_of(results, "aktis", program), False)


def overhead(program: str, bound: float) -> Bar:
    def value(results: Results) -> float:
        return seconds_of(results, "aktis", program) / seconds_of(results, "plain", program)

    return Bar(PROGRAMS[program], program, bound, "x the time of plain pandas", value, False)


def memory(program: str, bound_mb: float) -> Bar:
    def value(results: Results) -> float:
        result = results.get(("aktis", program))
        return result.peak_mb if result is not None else math.nan

    return Bar(f"peak memory: {PROGRAMS[program]}", program, bound_mb, "MB", value, False)


def bars(store_bytes: int) -> list[Bar]:
    fast = [
        at_most("read_count", 0.05),
        times("ray", "map_write", 3),
        times("ray", "groupby", 22),
        times("dask", "groupby", 1),
        times("ray", "sort", 6),
        times("ray", "shuffle", 4),
        times("ray", "iter_batches", 8),
        times("ray", "iter_torch_batches", 8),
        times("plain", "map_rows", 1.5),
        times("ray", "stateful", 2.5),
        overhead("small", 1.3),
        at_most("tiny_files", 2),
    ]
    lean = [memory(program, 1800) for program in PROGRAMS if program != "four_times_store"]
    return [*fast, *lean, memory("four_times_store", 1.5 * store_bytes / MIB)]


# ---- running ----


def run_once(interpreter: list[str], peer: str, name: str, options: list[str], limit_s: float) -> Result:
    """A fresh process, in a process group of its own, watched until it has said that its result is right."""
    command = [*interpreter, str(HERE / "_data_programs.py"), peer, name, *options]
    result = Result(peer, name, error="it said nothing")
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        sampler = MemorySampler(process.pid)
        sampler.start()
        timer = threading.Timer(limit_s, lambda: end_group(process.pid))
        timer.start()
        begin = time.monotonic()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith('{"'):
                    listen(json.loads(line), result, sampler)
            process.wait()
        finally:
            timer.cancel()
            sampler.stop()
            end_group(process.pid)
        if time.monotonic() - begin >= limit_s:
            result.error = f"stopped after {limit_s:.0f} s"
        elif process.returncode:
            errors.seek(0)
            lines = [text for text in errors.read().splitlines() if text.strip()]
            result.error = result.error or f"exit status {process.returncode}: {lines[-1] if lines else 'no message'}"
    return result


def listen(message: dict[str, float | str], result: Result, sampler: MemorySampler) -> None:
    """What a program says, one line each."""
    event = message["event"]
    if event == "start":
        sampler.begin()
        result.before_mb = sampler.before_mb
        result.error = "it did not finish"
    elif event == "end":
        sampler.end()
        result.samples.append(float(message["seconds"]))
        result.peaks_mb.append(sampler.peak_mb)
        result.error = "its result was not checked"
    else:
        result.error = str(message.get("error", ""))


def end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_repeatedly(run: Callable[[], Result], repeat: int) -> Result:
    """The same program again, unless it takes long or fails."""
    result = run()
    while not result.error and len(result.samples) < repeat and result.seconds < LONG_S:
        more = run()
        result.samples += more.samples
        result.peaks_mb += more.peaks_mb
        result.error = more.error
    return result


# ---- showing ----


def shown_seconds(results: Results, peer: str, program: str) -> str:
    result = results.get((peer, program))
    if result is None:
        return ""
    return result.error.split(":")[0][:30] if result.error else number(result.seconds)


def report(results: Results, all_bars: Sequence[Bar]) -> str:
    programs = [name for name in PROGRAMS if any(found == name for _, found in results)]
    peers = [peer for peer in PEERS if any(found == peer for found, _ in results)]
    rows: list[Sequence[str]] = []
    for bar in all_bars:
        if bar.program in programs and ("aktis", bar.program) in results:
            sign = "at least" if bar.at_least else "at most"
            rows.append(
                (bar.title, number(bar.value(results)), f"{sign} {number(bar.bound)} {bar.unit}", bar.verdict(results))
            )
    parts = [table("Bars", ("what", "figure", "bar", ""), rows)] if rows else []
    header = ["program", *[f"{peer}, s" for peer in peers]]
    if "ray" in peers and "aktis" in peers:
        header.append("times Ray")
    rows = []
    for program in programs:
        cells = [PROGRAMS[program], *[shown_seconds(results, peer, program) for peer in peers]]
        if len(header) > len(cells):
            cells.append(number(seconds_of(results, "ray", program) / seconds_of(results, "aktis", program)))
        rows.append(tuple(cells))
    parts.append(table("Time", header, rows))
    rows = []
    for program in programs:
        found = [results.get((peer, program)) for peer in peers]
        rows.append((PROGRAMS[program], *[number(result.peak_mb) if result is not None else "" for result in found]))
    parts.append(table("Peak memory", ["program", *[f"{peer}, MB" for peer in peers]], rows))
    return "\n".join(parts)


def facts(arguments: argparse.Namespace) -> str:
    return f"{arguments.rows:,} rows, {machine()}, {time.strftime('%Y-%m-%d')}"


# ---- main ----


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PROGRAMS, metavar="NAME", help="a program; repeatable")
    parser.add_argument(
        "--peers", default=",".join(PEERS), help=f"of {','.join(PEERS)}; those that are not installed are left out"
    )
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter (command) for aktis; it needs torch for that row"
    )
    parser.add_argument(
        "--peer-python", help="interpreter (command) that has Dask, Polars and torch (default: the same)"
    )
    parser.add_argument("--ray-python", help="interpreter (command) that has Ray (default: the same)")
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument(
        "--store-mb", type=int, default=1024, help="object store for the data set of four times its size"
    )
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs of each program (of those under 12 s); the median counts"
    )
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=400, help="seconds that a program may take")
    parser.add_argument("--data-dir", type=Path, help="where the files are, and stay (default: a temporary folder)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.peers.split(",")) - set(PEERS):
        parser.error(f"--peers: {sorted(unknown)[0]!r} is none of {', '.join(PEERS)}")
    return arguments


def interpreters(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """The command that starts each peer, for those that are installed."""
    ours = shlex.split(arguments.python)
    others = shlex.split(arguments.peer_python) if arguments.peer_python else ours
    commands = {"aktis": ours, "ray": shlex.split(arguments.ray_python) if arguments.ray_python else ours}
    needs = {
        "aktis": "aktis.data",
        "ray": "ray.data",
        "dask": "dask.dataframe",
        "polars": "polars",
        "torch": "torch",
        "plain": "pandas",
    }
    found = {}
    for peer in arguments.peers.split(","):
        command = commands.get(peer, others)
        done = subprocess.run([*command, "-c", f"import {needs[peer]}"], capture_output=True, check=False)
        if done.returncode == 0:
            found[peer] = command
        else:
            print(f"{peer} is left out: {needs[peer]} is not installed", file=sys.stderr)
    return found


def main() -> None:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    programs = [name for name in PROGRAMS if not arguments.only or name in arguments.only]
    store_bytes = arguments.store_mb * MIB
    results: Results = {}
    commands = interpreters(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
        root = arguments.data_dir or Path(folder)
        Data(root, arguments.rows, store_bytes).make()
        options = [
            "--data",
            str(root),
            "--rows",
            str(arguments.rows),
            "--store-bytes",
            str(store_bytes),
            "--cpus",
            str(arguments.cpus),
        ]
        for name in programs:
            for peer, command in commands.items():
                if name not in HAS[peer]:
                    continue

                def run(command: list[str] = command, peer: str = peer, name: str = name) -> Result:
                    return run_once(command, peer, name, options, arguments.limit)

                result = results[peer, name] = run_repeatedly(run, arguments.repeat)
                shown = result.error or f"{number(result.seconds)} s, {number(result.peak_mb)} MB"
                print(f"[{time.strftime('%H:%M:%S')}] {name}, {peer}: {shown}", file=sys.stderr, flush=True)
    all_bars = bars(store_bytes)
    tables = report(results, all_bars)
    print(tables)
    if arguments.write:
        write_readme("data figures", f"{facts(arguments)}.\n\n{tables}")
    if arguments.json:
        about = {"facts": facts(arguments), "results": [asdict(result) for result in results.values()]}
        arguments.json.write_text(json.dumps(about, indent=1))
    failed = [result for (peer, _), result in results.items() if peer == "aktis" and result.error]
    if failed or any(bar.verdict(results) == "MISSED" for bar in all_bars):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
