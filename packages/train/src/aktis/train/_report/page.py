"""The page of a training run."""

from __future__ import annotations

import datetime
import math
import os
import statistics
from collections.abc import Sequence
from html import escape
from numbers import Real
from pathlib import Path
from typing import Any

from aktis.air.display import format_duration, format_value
from aktis.air.html import Fact, Mark, Page, Part, Series, colour_legend, figure, line_chart, table
from aktis.air.nested import flatten
from aktis.train._report.frames import error_line, failed_rank, user_frames
from aktis.train._report.gather import Curve, TrainingRun, gather, metric_groups
from aktis.train._report.sections import (
    add_resources,
    add_restarts,
    add_throughput,
    add_time,
    add_workers,
    rank_legend,
    rank_series,
    time_shares,
)
from aktis.train._report.time_axis import TimeAxis
from aktis.util.units import format_bytes

__all__ = ["add_run", "build_page", "write_report"]

_MOST_CHARTS = 12
_MOST_RANK_CHARTS = 4
_LONGEST_ERROR = 12_000
_SAME = 1e-6  # relative: metrics of ranks that differ by less are the same


def write_report(path: str | os.PathLike[str], output: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of the training run at ``path``, and return the file.

    Args:
        path: The directory of the run (``Result.log_dir``), or of its experiment when there is no other run in it.
        output: The file; ``report.html`` in the run's directory when left out.

    Raises:
        FileNotFoundError: There is no run.
        ValueError: There are several.
        OSError: The file can't be written.
    """
    run = gather(path)
    return build_page(run).write(Path(output) if output is not None else run.directory / "report.html")


def build_page(run: TrainingRun) -> Page:
    """The page of a run alone."""
    page = Page()
    add_run(page, run)
    return page


def add_run(page: Part, run: TrainingRun) -> None:
    """All about a run."""
    ranks = max((len(event.workers) for event in run.record.of_kind("start")), default=0)
    page.title = page.title or f"{run.trainer} · {run.name}"
    page.subtitle = page.subtitle or str(run.directory)
    page.names.update({f"rank{rank}": f"rank {rank}" for rank in range(ranks)})
    page.facts(_facts(run))
    axis = TimeAxis.of(run.record)
    _add_error(page, run)
    _add_metrics(page, run)
    _add_metrics_of_ranks(page, run)
    add_throughput(page, run, axis)
    add_time(page, run)
    add_resources(page, run, axis)
    add_workers(page, run)
    add_restarts(page, run, axis)
    _add_checkpoints(page, run)
    _add_configuration(page, run)


# -- the head ------------------------------------------------------------------------------------------------------------


def _facts(run: TrainingRun) -> list[Fact]:
    record = run.record
    state = run.state
    kind = {"finished": "good", "failed": "bad", "broken off": "bad"}.get(state, "")
    begun = datetime.datetime.fromtimestamp(record.begin).strftime("%Y-%m-%d %H:%M") if record.begin else ""
    took = run.seconds
    facts = [Fact("state", state, f"{format_duration(took)}, from {begun}" if took is not None and begun else "", kind)]
    facts += [_last_value(curve) for curve in run.quality_curves()[:3] if curve.known()]
    rate = record.rate()
    rounds = record.rounds[-1].first + record.rounds[-1].count if record.rounds else run.reports
    facts.append(Fact("rounds", f"{rounds:,}", f"{format_value(rate)} per second" if rate else ""))
    rows, seconds = sum(rounds.rows for rounds in record.rounds), sum(rounds.seconds for rounds in record.rounds)
    if rows and seconds:
        facts.append(Fact("rows read", f"{rows:,}", f"{format_value(rows / seconds)} per second"))
    facts += [Fact(curve.name, format_value(_median(curve)), "median") for curve in run.throughputs()[:2]]
    startups = record.startups
    if startups:
        again = (
            f"then {', '.join(map(format_duration, startups[1:4]))}"
            if len(startups) > 1
            else "until the first round began"
        )
        facts.append(Fact("start-up", format_duration(startups[0]), again))
    facts += _group_facts(run)
    best = run.best_checkpoint
    if best is not None:
        name = run.score_attribute
        score = best.metrics.get(name) if name else None
        words = f"best {name}: {format_value(score)}" if isinstance(score, Real) else "the latest"
        facts.append(Fact("checkpoint", best.name, f"{words}; {len(run.checkpoints)} kept", wide=True))
    return facts


def _last_value(curve: Curve) -> Fact:
    (_, first), (_, last) = curve.known()[0], curve.known()[-1]
    return Fact(curve.name, format_value(last), f"from {format_value(first)}" if len(curve.known()) > 1 else "")


def _median(curve: Curve) -> float:
    return statistics.median(y for _, y in curve.known()) if curve.known() else math.nan


def _group_facts(run: TrainingRun) -> list[Fact]:
    record, facts = run.record, []
    if record.workers:
        hosts = {worker.get("hostname") or worker.get("node_ip") or worker.get("node_id") for worker in record.workers}
        sizes = [len(event.workers) for event in record.of_kind("start")]
        changed = [sizes[0], *[b for a, b in zip(sizes, sizes[1:], strict=False) if a != b]]
        note = (
            " → ".join(map(str, changed[-4:]))
            if len(changed) > 1
            else f"on {len(hosts)} machine{'s' * (len(hosts) > 1)}"
        )
        facts.append(Fact("workers", str(len(record.workers)), note))
    loop, waited = time_shares(record)
    if sum(loop) + sum(waited) > 0:
        facts.append(
            Fact("waiting", f"{sum(waited) / (sum(loop) + sum(waited)):.0%}", "of the workers' time, in report()")
        )
    peaks: dict[Any, float] = {}
    for sample in record.samples:
        for entry in sample.ranks:
            if isinstance(entry.get("rss_bytes"), (int, float)):
                peaks[entry.get("rank")] = max(peaks.get(entry.get("rank"), 0.0), float(entry["rss_bytes"]))
    if peaks:
        rank = max(peaks, key=peaks.__getitem__)
        facts.append(
            Fact("memory, peak", format_bytes(peaks[rank]), f"rank {rank}; all {format_bytes(sum(peaks.values()))}")
        )
    if record.restarts:
        failures = len(record.of_kind("failure"))
        facts.append(
            Fact(
                "restarts",
                str(len(record.restarts)),
                f"{failures} failure{'s' if failures > 1 else ''}" if failures else "",
                "bad",
            )
        )
    return facts


def _add_error(page: Part, run: TrainingRun) -> None:
    """What ended it: the first failing rank first, as the executor told it."""
    if run.state != "failed":
        return
    said = [event.text.strip() for event in run.record.of_kind("failure") if event.text.strip()]
    first = said[-1] if said else run.error
    if not first:
        return
    section = page.section("Error")
    rank = failed_rank(first)
    where = f"Rank {rank}: " if rank is not None and len(run.record.workers) > 1 else ""
    section.add(f"<p><b class='bad'>{escape(where + error_line(first))}</b></p>")
    section.add(f"<pre>{escape(_shortened(user_frames(first)))}</pre>")
    if run.error:
        section.add(
            f"<details><summary>error.txt, with all frames</summary><pre>{escape(_shortened(run.error))}</pre></details>"
        )


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_ERROR:
        return text
    half = _LONGEST_ERROR // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


# -- metrics -------------------------------------------------------------------------------------------------------------


def _add_metrics(page: Part, run: TrainingRun) -> None:
    curves = [curve for curve in run.user_curves() if curve.known()]
    if not curves:
        return
    section = page.section("Metrics")
    marks = _iteration_marks(run)
    drawn = [curve for curve in run.quality_curves() if curve.known()]
    groups = [(name, group) for name, group in metric_groups(drawn) if any(len(c.known()) > 1 for c in group)]
    pictures = []
    for number, (name, group) in enumerate(groups[:_MOST_CHARTS]):
        wide = number == 0 and len(groups) != 2
        several = len(group) > 1
        chart = line_chart(
            [Series(c.name, c.xs, c.ys, colour=i if several else None) for i, c in enumerate(group)],
            x_label="iteration", y_label=name, marks=marks, width=900 if wide else 560, height=340 if wide else 300,
        )  # fmt: skip
        picture = (colour_legend([c.name for c in group]) if several else "") + chart
        if wide:
            section.add(picture)
        else:
            pictures.append(figure(picture))
    if pictures:
        section.side_by_side(pictures)
    if len(groups) > _MOST_CHARTS:
        section.text(f"Charts of the first {_MOST_CHARTS}; the table has all.", note=True)
    rows = []
    for curve in curves:
        known = curve.known()
        low, high = min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])
        rows.append([curve.name, known[0][1], known[-1][1], low[1], int(low[0]), high[1], int(high[0])])
    header = ["metric", "first", "last", "smallest", "in iteration", "largest", "in iteration"]
    section.add(table(header, rows))


def _iteration_marks(run: TrainingRun) -> list[Mark]:
    """Restarts at the iteration that was the last before them."""
    marks = []
    for event in run.record.restarts:
        before = [iteration for time, iteration in run.times if time <= event.time]
        if before:
            marks.append(Mark(before[-1], "restart"))
    return marks


def _add_metrics_of_ranks(page: Part, run: TrainingRun) -> None:
    """Metrics that are not the same on all ranks."""
    record = run.record
    size = max((len(values) for rounds in record.rounds for values in rounds.metrics.values()), default=0)
    names = list(dict.fromkeys(name for rounds in record.rounds for name in rounds.metrics))
    pictures = []
    for name in names:
        if not any(_differ(rounds.metrics.get(name, ())) for rounds in record.rounds):
            continue
        lines: list[tuple[int, list[float], list[float]]] = [(rank, [], []) for rank in range(size)]
        for rounds in record.rounds:
            for rank, value in enumerate(rounds.metrics.get(name, ())):
                lines[rank][1].append(float(rounds.first + rounds.count))
                lines[rank][2].append(math.nan if value is None else value)
        if any(len(xs) > 1 for _, xs, _ in lines):
            pictures.append(
                figure(line_chart(rank_series(lines, size), x_label="round", y_label=name, width=560, height=300))
            )
    if not pictures:
        return
    section = page.section("Metrics of each rank")
    section.text("Those that differ between ranks. The result of the run is what rank 0 reports.", note=True)
    section.add(rank_legend(size))
    section.side_by_side(pictures[:_MOST_RANK_CHARTS])


def _differ(values: Sequence[float | None]) -> bool:
    known = [value for value in values if value is not None]
    return len(known) > 1 and max(known) - min(known) > _SAME * max(abs(max(known)), abs(min(known)))


# -- tables --------------------------------------------------------------------------------------------------------------


def _add_checkpoints(page: Part, run: TrainingRun) -> None:
    if not run.checkpoints:
        return
    named = run.score_attribute
    keys = [curve.name for curve in run.user_curves()]
    shown = ([named] if named else []) + [key for key in keys if key != named]
    shown = [key for key in shown if any(isinstance(kept.metrics.get(key), Real) for kept in run.checkpoints)][:6]
    rows = [
        [kept.name, kept.iteration, *[kept.metrics.get(key) for key in shown], format_bytes(kept.size)]
        for kept in run.checkpoints
    ]
    best = run.best_checkpoint
    tops = [index for index, kept in enumerate(run.checkpoints) if kept is best] if named else []
    section = page.section("Checkpoints")
    if named:
        order = "largest" if run.score_order == "max" else "smallest"
        section.text(f"The best is the one with the {order} {named}.", note=True)
    section.add(table(["checkpoint", "iteration", *shown, "size"], rows, tops=tops))


def _add_configuration(page: Part, run: TrainingRun) -> None:
    rows = [[key, _word(value)] for key, value in flatten(run.config).items()]
    known = {key for key, _ in rows}
    rows += [
        [key, _word(value)]
        for key, value in flatten(run.record.info).items()
        if key not in known and key not in ("pid",) and value not in (None, {}, [])
    ]
    if rows:
        page.section("Configuration").add(table(["", "value"], rows, long_columns=[1]))


def _word(value: Any) -> str:
    return format_value(value) if not isinstance(value, str) else value
