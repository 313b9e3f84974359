"""How fast aktis.serve is, beside plain FastAPI, LitServe and Ray Serve in one run. Needs wrk (``apt-get install wrk``).

    hatch run bench-serve                                     aktis, and FastAPI on uvicorn
    hatch run bench-serve --ray-python /path/to/python        Ray Serve and LitServe of that interpreter, too
    hatch run bench-serve --only http --repeat 1 --json out.json
    hatch run bench-serve --quick                             does it work at all
    hatch run bench-serve --write                             put the table into benchmarks/README.md

Every server is a process of its own. What is compared runs in turns; the median of the repetitions counts. The exit status is 1
when a bar is missed. The soak is a test: ``AKTIS_SOAK_SECONDS=600 pytest -m slow tests/serve/soak``.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from _parts import Row, parser_for, run_json, run_parts
from _serve_load import PROGRAMS_FILE, Kind, latencies, served
from _tables import number

LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run of this program is asked for."""

    ray_python: str | None
    repeat: int
    quick: bool
    seconds: float

    def python(self, kind: Kind) -> str:
        return (self.ray_python or sys.executable) if kind.library in ("ray", "litserve") else sys.executable


def rates(setting: Setting, kinds: dict[str, Kind]) -> dict[str, list[float]]:
    """Requests per second of each, in turns. All run at once, and all but one idle."""
    found: dict[str, list[float]] = {name: [] for name in kinds}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(kind, setting.python(kind))) for name, kind in kinds.items()}
        for server in servers.values():
            server.wrk(1)
        for _ in range(setting.repeat):
            for name, server in servers.items():
                found[name].append(server.wrk(setting.seconds))
    return found


def of_fastapi(found: dict[str, list[float]], name: str) -> float:
    return statistics.median(ours / theirs for ours, theirs in zip(found[name], found["FastAPI"]))


def http(setting: Setting) -> list[Row]:
    """Echo: plain deployments and FastAPI ingresses, async and not, beside FastAPI with the same form of function."""
    rows = []
    for form in ("async", "def"):
        kinds = {"FastAPI": Kind("fastapi", form=form)}
        for app in ("plain", "fastapi"):
            for replicas in (1, 2):
                kinds[f"{app} {replicas}"] = Kind("aktis", app, form, replicas)
        found = rates(setting, kinds)
        beside = f"FastAPI {number(statistics.median(found['FastAPI']))}/s"
        word = "async def" if form == "async" else "def"
        for app in ("plain", "fastapi"):
            for replicas, least in ((1, 0.8), (2, 1.0)):
                name = f"{app} {replicas}"
                ratio = of_fastapi(found, name)
                what = f"{'FastAPI ingress' if app == 'fastapi' else 'plain'}, {word}"
                rows.append(
                    Row(
                        f"echo, {what}, {replicas} replica{'s' * (replicas > 1)}",
                        f"{number(statistics.median(found[name]))}/s, {ratio:.2f} of FastAPI",
                        f"at least {least}" if least < 1 else "more than 1",
                        ratio >= least if least < 1 else ratio > 1,
                        beside,
                        {"ours": found[name], "FastAPI": found["FastAPI"]},
                    )
                )
    return rows


def others(setting: Setting) -> list[Row]:
    """LitServe and Ray Serve, one at a time."""
    if setting.ray_python is None:
        return []
    kinds = {
        "LitServe": Kind("litserve"),
        "Ray Serve, plain, async def": Kind("ray"),
        "Ray Serve for throughput, plain, async def": Kind("ray", throughput=True),
        "Ray Serve for throughput, FastAPI ingress, async def": Kind("ray", "fastapi", throughput=True),
    }
    rows = []
    for name, kind in kinds.items():
        try:
            with served(kind, setting.ray_python) as server:
                server.wrk(1)
                found = [server.wrk(setting.seconds) for _ in range(setting.repeat)]
                rss, pss = server.memory()
        except RuntimeError as error:  # theirs, and no reason to go without the rest
            rows.append(Row(f"echo of {name}", "-", beside=f"failed: {error}"))
            continue
        beside = f"{number(statistics.median(found))}/s; start {number(server.start_s)} s; RSS {rss:.0f} MB, PSS {pss:.0f} MB"
        rows.append(Row(f"echo of {name}", "-", beside=beside, samples={"theirs": found}))
    return rows


def percentile(samples: list[float], share: float) -> float:
    return sorted(samples)[min(len(samples) - 1, int(share * len(samples)))]


def latency(setting: Setting) -> list[Row]:
    """One request at a time, 100 a second, to each server in turn."""
    rows = []
    for form in ("async", "def"):
        kinds = {
            "FastAPI": Kind("fastapi", form=form),
            "plain": Kind("aktis", "plain", form),
            "FastAPI ingress": Kind("aktis", "fastapi", form),
        }
        with ExitStack() as stack:
            servers = [stack.enter_context(served(kind)) for kind in kinds.values()]
            runs = [latencies(servers, 2 * setting.seconds) for _ in range(setting.repeat)]
        for place, name in enumerate(kinds):
            if not place:
                continue
            for word, share, most in (("median", 0.5, 0.5), ("p99", 0.99, 2.0)):
                added = [1e3 * (percentile(run[place], share) - percentile(run[0], share)) for run in runs]
                theirs = statistics.median(1e3 * percentile(run[0], share) for run in runs)
                middle = statistics.median(added)
                rows.append(
                    Row(
                        f"added latency, {name}, {'async def' if form == 'async' else 'def'}, {word}, ms",
                        number(middle),
                        f"under {most}",
                        middle < most,
                        f"FastAPI {number(theirs)}",
                        {"added": added},
                    )
                )
    return rows


def program(setting: Setting, python: str, *arguments: str) -> dict[str, Any]:
    return run_json([python, str(PROGRAMS_FILE), *arguments], LIMIT_S, {"OMP_NUM_THREADS": "1"})[-1]


def handles(setting: Setting) -> list[Row]:
    """Handle calls beside calls of an actor of the same kind."""
    found = program(setting, sys.executable, "handles", "aktis", str(setting.seconds / 30))
    theirs = (
        program(setting, setting.ray_python, "handles", "ray", str(setting.seconds / 30)) if setting.ray_python else {}
    )
    rows = []
    for form, like in (("async", "an async actor"), ("def", "an actor with max_concurrency=100")):
        for most, word in (("1", "one at a time"), ("100", "100 in flight")):
            ours = found[f"handle {form} {most}"]
            actor = found[f"actor {form} {most}"]
            plain = statistics.median(found[f"actor plain {most}"])
            ratio = statistics.median(one / other for one, other in zip(ours, actor))
            beside = f"{like} {number(statistics.median(actor))}/s, a plain one {number(plain)}/s"
            if theirs:
                beside += f"; Ray {number(statistics.median(theirs[f'handle {form} {most}']))}/s"
            rows.append(
                Row(
                    f"handle calls, {'async def' if form == 'async' else 'def'}, {word}",
                    f"{number(statistics.median(ours))}/s, {ratio:.2f} of {like}",
                    "at least 0.5",
                    ratio >= 0.5,
                    beside,
                    {"ours": ours, "actor": actor},
                )
            )
    return rows


def batch(setting: Setting) -> list[Row]:
    """A model whose calls take 20 ms for up to 16 inputs."""
    count = "5" if setting.quick else "60"
    found = program(setting, sys.executable, "batch", "aktis", count)
    theirs = program(setting, setting.ray_python, "batch", "ray", count) if setting.ray_python else {}
    rows = []
    for name, what in (("blocking", "that blocks the event loop"), ("beside", "that awaits")):
        ratio = found[name] / found["ideal"]
        beside = f"Ray {theirs[name] / theirs['ideal']:.2f}" if theirs else ""
        rows.append(
            Row(f"@serve.batch of a model {what}, to the ideal", number(ratio), "at least 0.9", ratio >= 0.9, beside)
        )
    return rows


def startup(setting: Setting) -> list[Row]:
    """From the start of the process to the first answer, and all its memory after load."""
    kinds = {
        "plain": Kind("aktis"),
        "FastAPI ingress": Kind("aktis", "fastapi"),
        "FastAPI": Kind("fastapi"),
    }
    starts: dict[str, list[float]] = {name: [] for name in kinds}
    memory: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(setting.repeat):
        for name, kind in kinds.items():
            with served(kind) as server:
                starts[name].append(server.start_s)
                server.wrk(setting.seconds)
                memory[name].append(server.memory())
    rows = []
    for name in ("plain", "FastAPI ingress"):
        middle = statistics.median(starts[name])
        met = middle < 1.2 if name == "plain" else None
        beside = f"FastAPI {number(statistics.median(starts['FastAPI']))}"
        rows.append(
            Row(
                f"start to the first answer, {name}, s",
                number(middle),
                "under 1.2",
                met,
                beside,
                {"ours": starts[name]},
            )
        )
    for name in ("plain", "FastAPI ingress"):
        rss, pss = (statistics.median(values) for values in zip(*memory[name]))
        theirs = statistics.median(rss for rss, _ in memory["FastAPI"])
        rows.append(
            Row(
                f"memory after load, {name}, RSS of all processes, MB",
                f"{rss:.0f} (PSS {pss:.0f})",
                "under 180",
                rss < 180 if name == "plain" else None,
                f"FastAPI {theirs:.0f}",
                {"rss": [rss for rss, _ in memory[name]]},
            )
        )
    return rows


PARTS: dict[str, Callable[[Setting], list[Row]]] = {
    "http": http,
    "others": others,
    "latency": latency,
    "handles": handles,
    "batch": batch,
    "startup": startup,
}


def main() -> None:
    parser = parser_for(__doc__, PARTS)
    parser.add_argument("--ray-python", metavar="PATH", help="an interpreter that has ray[serve] and litserve")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load on a server")
    arguments = parser.parse_args()
    quick = arguments.quick
    setting = Setting(
        arguments.ray_python, 1 if quick else arguments.repeat, quick, 1.0 if quick else arguments.seconds
    )
    run_parts("Serve", PARTS, setting, arguments)


if __name__ == "__main__":
    main()
