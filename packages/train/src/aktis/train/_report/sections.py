"""The parts of a run's page that come from its record: where time goes, throughput, resources, workers, restarts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from aktis.air.display import format_duration, format_value
from aktis.air.html import (
    COLOURS,
    Part,
    Section,
    Series,
    colour_legend,
    figure,
    legend,
    line_chart,
    stacked_bars,
    table,
)
from aktis.train._report.frames import error_line
from aktis.train._report.gather import TrainingRun
from aktis.train._report.record import RunRecord
from aktis.train._report.time_axis import TimeAxis
from aktis.util.units import format_bytes

__all__ = [
    "add_resources",
    "add_restarts",
    "add_throughput",
    "add_time",
    "add_workers",
    "rank_series",
    "time_shares",
]

_SLOWEST_SHARE = 0.6  # of the rounds in which one rank is the last, above which it is called slow
_WAIT_WORTH_A_WORD = 0.1  # of the time
_MOST_BARS = 64


def rank_series(lines: Sequence[tuple[int, Sequence[float], Sequence[float]]], size: int) -> list[Series]:
    """Lines of ranks (rank, xs, ys): each with its colour, or with shades where there are too many."""
    few = size <= COLOURS
    return [
        Series(
            f"rank {rank}",
            xs,
            ys,
            key=f"rank{rank}",
            shade=None if few else rank / max(1, size - 1),
            colour=rank if few else None,
        )
        for rank, xs, ys in lines
    ]


def rank_legend(size: int) -> str:
    """What the colours of :func:`rank_series` mean."""
    if size <= COLOURS:
        return colour_legend([f"rank {rank}" for rank in range(size)])
    return legend("rank 0", f"rank {size - 1}")


def _pictures(section: Section, charts: Sequence[str]) -> None:
    section.side_by_side([figure(chart) for chart in charts])


# -- where the time goes -------------------------------------------------------------------------------------------------


def time_shares(record: RunRecord) -> tuple[list[float], list[float]]:
    """Seconds that each rank spent in its loop, and waiting in report(); over all groups that there were."""
    size = max((len(rounds.loop) for rounds in record.rounds), default=0)
    loop, waited = [0.0] * size, [0.0] * size
    for rounds in record.rounds:
        for rank, seconds in enumerate(rounds.loop):
            loop[rank] += seconds
        for rank, seconds in enumerate(rounds.waited):
            waited[rank] += seconds
    return loop, waited


def data_waits(record: RunRecord) -> list[float]:
    """Seconds that each rank waited for its data sets, as a part of its time in the loop; empty: nothing was read."""
    size = max((len(rounds.data) for rounds in record.rounds), default=0)
    waits = [0.0] * size
    for rounds in record.rounds:
        for rank, seconds in enumerate(rounds.data):
            waits[rank] += seconds
    return waits


def slowest_rank(record: RunRecord) -> tuple[int, float, float] | None:
    """The rank that is last most often, in which share of the rounds, and its time in the loop against the others' median.

    None for a single worker.
    """
    counts: dict[int, int] = {}
    for rounds in record.rounds:
        if len(rounds.loop) > 1:
            last = max(range(len(rounds.loop)), key=rounds.loop.__getitem__)
            counts[last] = counts.get(last, 0) + rounds.count
    if not counts:
        return None
    rank = max(counts, key=counts.__getitem__)
    own, others = 0.0, 0.0
    for rounds in record.rounds:  # groups may have had different sizes
        if len(rounds.loop) > max(1, rank):
            own += rounds.loop[rank]
            others += statistics.median(seconds for other, seconds in enumerate(rounds.loop) if other != rank)
    return rank, counts[rank] / sum(counts.values()), own / others if others else 1.0


def add_time(page: Part, run: TrainingRun) -> None:
    """How long a round takes, and what the ranks do meanwhile."""
    record = run.record
    if not record.rounds:
        return
    section = page.section("Where the time goes")
    loop, waited = time_shares(record)
    everything = sum(loop) + sum(waited)
    section.text(_words_about_waiting(record, len(loop), sum(waited) / everything if everything else 0.0))
    data = data_waits(record)
    names = [f"rank {rank}" for rank in range(min(len(loop), _MOST_BARS))]
    if data:
        data += [0.0] * (len(loop) - len(data))
        section.text(
            f"Of the loop's time {sum(data) / (sum(loop) or 1.0):.0%} went into waiting for batches of data sets."
        )
        parts, colours = ["in the training loop", "of that, waiting for data", "waiting in report()"], [7, 4, 6]
        bars = [(name, [max(0.0, loop[i] - data[i]), data[i], waited[i]]) for i, name in enumerate(names)]
    else:
        parts, colours = ["in the training loop", "waiting in report()"], [7, 6]
        bars = [(name, [loop[i], waited[i]]) for i, name in enumerate(names)]
    section.add(colour_legend(parts, colours))
    section.add(stacked_bars(bars, parts, keys=[f"rank{i}" for i in range(len(bars))], colours=colours, unit="s"))
    if len(loop) > _MOST_BARS:
        section.text(f"The first {_MOST_BARS} of {len(loop)} ranks.", note=True)
    if len(record.rounds) < 2:
        return
    size = max(len(rounds.loop) for rounds in record.rounds)
    lines = []
    for rank in range(size):
        found = [r for r in record.rounds if rank < len(r.loop)]
        lines.append((rank, [r.first + r.count / 2 for r in found], [r.loop[rank] / r.count for r in found]))
    section.add(rank_legend(size))
    section.add(
        line_chart(
            rank_series(lines, size), x_label="round", y_label="seconds in the loop, per round", y_zero=True, height=280
        )
    )


def _words_about_waiting(record: RunRecord, size: int, share: float) -> str:
    rate = record.rate()
    per_round = f"A round takes {format_duration_fine(1 / rate)}" if rate else "There are no rounds yet"
    if size < 2:
        return f"{per_round}; {share:.0%} of it in report()."
    words = f"{per_round}; the ranks spend {share:.0%} of their time waiting in report(), mostly for each other."
    slow = slowest_rank(record)
    if slow is not None and slow[1] >= _SLOWEST_SHARE and share >= _WAIT_WORTH_A_WORD:
        more = f", with {slow[2] - 1:.0%} more time in the loop than the others" if slow[2] > 1.01 else ""
        words += f" Rank {slow[0]} is the last in {slow[1]:.0%} of the rounds{more}: the others wait for it."
    return words


def format_duration_fine(seconds: float) -> str:
    """As format_duration, and milliseconds where they matter."""
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else format_duration(seconds)


# -- throughput ----------------------------------------------------------------------------------------------------------


def add_throughput(page: Part, run: TrainingRun, axis: TimeAxis) -> None:
    """Rounds per second over time, and what the loop itself reports per second."""
    record, charts = run.record, []
    marks = axis.marks(record)
    if len(record.rounds) > 1:
        xs, ys = [], []
        starts = [event.time for event in record.of_kind("start")]
        for before, rounds in zip([None, *record.rounds], record.rounds, strict=False):
            if before is not None and any(before.time < start <= rounds.time for start in starts):
                xs.append(axis(rounds.time))
                ys.append(math.nan)
            if rounds.seconds > 0:
                xs.append(axis(rounds.time))
                ys.append(rounds.count / rounds.seconds)
        charts.append(
            line_chart(
                [Series("rounds per second", xs, ys)], x_label=axis.label, y_label="rounds per second", y_zero=True,
                marks=marks, width=560, height=300,
            )
        )  # fmt: skip
    if sum(rounds.rows > 0 for rounds in record.rounds) > 1:
        read = [rounds for rounds in record.rounds if rounds.rows and rounds.seconds > 0]
        rows = [rounds.rows / rounds.seconds for rounds in read]
        charts.append(
            line_chart(
                [Series("rows per second", [axis(rounds.time) for rounds in read], rows)], x_label=axis.label,
                y_label="rows per second, of data sets", y_zero=True, marks=marks, width=560, height=300,
            )
        )  # fmt: skip
    for curve in run.throughputs()[:5]:
        charts.append(
            line_chart(
                [Series(curve.name, curve.xs, curve.ys)],
                x_label="round",
                y_label=curve.name,
                y_zero=True,
                width=560,
                height=300,
            )
        )
    if charts:
        section = page.section("Throughput")
        if len(charts) == 1:
            section.text("Metrics such as samples_per_second or tokens/s would be shown here, too.", note=True)
        _pictures(section, charts)


# -- resources -----------------------------------------------------------------------------------------------------------

# key of a sample, what it is called, what it is divided by
_RESOURCES: tuple[tuple[str, str, float], ...] = (
    ("cpu_percent", "CPU, % of one core", 1.0),
    ("rss_bytes", "memory, GB", 1e9),
    ("gpu_percent", "GPU, %", 1.0),
    ("gpu_memory_bytes", "GPU memory, GB", 1e9),
)


def add_resources(page: Part, run: TrainingRun, axis: TimeAxis) -> None:
    """CPU, memory and GPU of each rank over time."""
    record = run.record
    if len(record.samples) < 2:  # the table of workers has all that there is
        return
    size = 1 + max((_rank(entry, n) for sample in record.samples for n, entry in enumerate(sample.ranks)), default=0)
    marks, charts = axis.marks(record), []
    known = {key for sample in record.samples for entry in sample.ranks for key in entry}
    numeric = [entry for entry in _RESOURCES if entry[0] in known]
    for key, label, unit in numeric:
        lines = _resource_lines(record, axis, key, unit, size)
        if any(xs for _, xs, _ in lines):
            scaled = label
            if key == "rss_bytes" and max((y for _, _, ys in lines for y in ys if math.isfinite(y)), default=0) < 1:
                lines = [(rank, xs, [y * 1000 for y in ys]) for rank, xs, ys in lines]
                scaled = "memory, MB"
            charts.append(
                line_chart(
                    rank_series(lines, size),
                    x_label=axis.label,
                    y_label=scaled,
                    y_zero=True,
                    marks=marks,
                    width=560,
                    height=300,
                )
            )
    if not charts:
        return
    section = page.section("Resources")
    section.add(rank_legend(size))
    _pictures(section, charts)


def _rank(entry: dict[str, Any], position: int) -> int:
    rank = entry.get("rank")
    return rank if isinstance(rank, int) else position


def _resource_lines(
    record: RunRecord, axis: TimeAxis, key: str, unit: float, size: int
) -> list[tuple[int, list[float], list[float]]]:
    lines: list[tuple[int, list[float], list[float]]] = [(rank, [], []) for rank in range(size)]
    starts = iter([event.time for event in record.of_kind("start")])
    start = next(starts, math.inf)
    for sample in record.samples:
        while sample.time >= start:  # a new worker is another process
            for _, xs, ys in lines:
                if xs:
                    xs.append(axis(start))
                    ys.append(math.nan)
            start = next(starts, math.inf)
        for position, entry in enumerate(sample.ranks):
            value = entry.get(key)
            if isinstance(value, (int, float)):
                _, xs, ys = lines[_rank(entry, position)]
                xs.append(axis(sample.time))
                ys.append(float(value) / unit)
    return lines


# -- tables --------------------------------------------------------------------------------------------------------------


def add_workers(page: Part, run: TrainingRun) -> None:
    """Each rank of the latest group: where it is, and what it used."""
    record = run.record
    if not record.workers:
        return
    loop, waited = time_shares(record)
    rows = []
    for rank, worker in enumerate(record.workers):
        used = [entry for sample in record.samples for n, entry in enumerate(sample.ranks) if _rank(entry, n) == rank]
        host = worker.get("hostname") or worker.get("node_ip") or worker.get("node_id")
        spent = (loop[rank] + waited[rank]) if rank < len(loop) else 0.0
        rows.append(
            [
                rank, str(host or ""), worker.get("pid"), _words(worker.get("gpu_ids")),
                _over(used, "cpu_percent", statistics.fmean),
                format_bytes(_over(used, "rss_bytes", max)), format_bytes(_over(used, "gpu_memory_bytes", max)),
                loop[rank] if rank < len(loop) else None, waited[rank] if rank < len(waited) else None,
                f"{waited[rank] / spent:.0%}" if spent else "",
            ]
        )  # fmt: skip
    header = [
        "rank", "machine", "pid", "GPUs", "CPU %, mean", "memory, peak", "GPU memory, peak", "in the loop (s)", "waiting (s)",
        "waiting",
    ]  # fmt: skip
    empty = [i for i in range(len(header)) if all(row[i] in (None, "") for row in rows)]
    header = [name for i, name in enumerate(header) if i not in empty]
    rows = [[cell for i, cell in enumerate(row) if i not in empty] for row in rows]
    section = page.section("Workers")
    if record.restarts:
        section.text("Those of the latest group; times and memory are those of all groups, by rank.", note=True)
    section.add(table(header, rows, keys=[f"rank{rank}" for rank in range(len(rows))]))


def _over(used: Sequence[dict[str, Any]], key: str, function: Callable[[Any], Any]) -> Any:
    values = [entry[key] for entry in used if isinstance(entry.get(key), (int, float))]
    return function(values) if values else None


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else format_value(value)


def add_restarts(page: Part, run: TrainingRun, axis: TimeAxis) -> None:
    """When the group was made anew, and why."""
    record = run.record
    restarts = record.restarts
    if not restarts:
        return
    sizes = [len(event.workers) for event in record.of_kind("start")]
    rows = []
    for number, event in enumerate(restarts):
        done = [rounds for rounds in record.rounds if rounds.time <= event.time]
        after = done[-1].first + done[-1].count if done else 0
        rows.append(
            [
                number + 1, format_duration(event.time - axis.begin), after, sizes[number], sizes[number + 1],
                error_line(event.text) or "not known",
            ]
        )  # fmt: skip
    section = page.section("Restarts and resizes")
    section.add(table(["", "after", "rounds", "workers before", "workers then", "why"], rows, long_columns=[5]))
