"""The page of one or more runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from aktis.air.display import format_duration, format_value
from aktis.air.html import Fact, Page, Series, colour_legend, figure, line_chart, table
from aktis.air.nested import flatten
from aktis.rllib._report.gather import RunRecord, gather

__all__ = ["build_page"]

_RETURNS = ("episode_reward_mean", "evaluation/episode_reward_mean", "episode_len_mean")
_SPREAD = {
    "episode_reward_max": "best of the window",
    "episode_reward_mean": "mean",
    "episode_reward_min": "worst of the window",
    "evaluation/episode_reward_mean": "evaluation",
}
_SPEED = "num_env_steps_sampled_throughput_per_sec"
_MOST_CHARTS = 24
_STATISTICS = "/learner_stats/"


def build_page(path: Path) -> Page:
    """The page of the runs in a directory.

    Raises:
        FileNotFoundError: there are no results.
    """
    runs = gather(path)
    first = runs[0]
    env = first.config.get("env") or "?"
    title = f"{first.name if len(runs) == 1 else f'{len(runs)} runs'} · {env}"
    page = Page(
        title,
        subtitle=str(path),
        names={f"run{i}": run.name for i, run in enumerate(runs)},
    )
    page.facts(_facts(runs))
    _add_returns(page, runs)
    _add_policies(page, runs)
    _add_learning(page, runs)
    _add_speed(page, runs)
    _add_configuration(page, runs)
    return page


def _facts(runs: list[RunRecord]) -> list[Fact]:
    best = max(runs, key=lambda run: max(run.curve("episode_reward_mean")[1], default=-math.inf))
    xs, ys = best.curve("episode_reward_mean")
    facts = []
    if ys:
        top = max(range(len(ys)), key=ys.__getitem__)
        facts.append(
            Fact("return", format_value(ys[-1]), f"mean of the latest episodes; {format_value(ys[0])} at first")
        )
        facts.append(Fact("best", format_value(ys[top]), f"after {xs[top]:,.0f} steps", "best"))
    evaluated = best.curve("evaluation/episode_reward_mean")[1]
    if evaluated:
        facts.append(Fact("evaluation", format_value(evaluated[-1]), "without learning from it"))
    for label, key in (
        ("steps", "timesteps_total"),
        ("episodes", "episodes_total"),
        ("iterations", "training_iteration"),
    ):
        value = best.last(key)
        if isinstance(value, (int, float)):
            facts.append(Fact(label, f"{value:,.0f}"))
    took = best.last("time_total_s")
    if isinstance(took, (int, float)):
        steps = best.last("timesteps_total")
        note = f"{steps / took:,.0f} steps per second" if isinstance(steps, (int, float)) and took > 0 else ""
        facts.append(Fact("time", format_duration(took), note))
    return facts


def _chart(runs: list[RunRecord], key: str, label: str, x_label: str = "steps") -> str:
    series = []
    for i, run in enumerate(runs):
        xs, ys = run.curve(key)
        if ys:
            series.append(Series(run.name if len(runs) > 1 else label, xs, ys, key=f"run{i}", colour=i))
    if not series:
        return ""
    return figure(line_chart(series, x_label=x_label, width=520, height=230), label)


def _add_returns(page: Page, runs: list[RunRecord]) -> None:
    section = page.section("Learning curves")
    if len(runs) == 1:
        run = runs[0]
        bounds: list[Series] = []
        for key, name in _SPREAD.items():
            xs, ys = run.curve(key)
            if ys:
                bounds.append(Series(name, xs, ys, colour=len(bounds)))
        if bounds:
            chart = line_chart(bounds, x_label="steps", y_label="return of an episode")
            section.add(figure(chart), colour_legend([series.name for series in bounds]))
        else:
            section.text("No episode has ended yet.")
        returns = run.episodes()
        charts = [_chart(runs, "episode_len_mean", "steps of an episode")]
        if len(returns) > 1:
            points = Series("return", [float(i + 1) for i in range(len(returns))], returns)
            charts.append(
                figure(line_chart([points], x_label="episode", width=520, height=230), "return of every episode")
            )
        section.side_by_side([chart for chart in charts if chart])
        return
    section.add(colour_legend([run.name for run in runs]))
    section.side_by_side([chart for chart in (_chart(runs, key, key.replace("_", " ")) for key in _RETURNS) if chart])


def _add_policies(page: Page, runs: list[RunRecord]) -> None:
    """Returns of each policy, where there are several; metrics of callbacks."""
    keys = list(dict.fromkeys(key for run in runs for key in run.names()))
    wanted = [key for key in keys if key.startswith(("policy_reward_mean/", "custom_metrics/"))]
    charts = [_chart(runs, key, key.replace("policy_reward_mean/", "return of ")) for key in wanted[:_MOST_CHARTS]]
    charts = [chart for chart in charts if chart]
    if charts:
        page.section("Policies and metrics of your own").side_by_side(charts)


def _add_learning(page: Page, runs: list[RunRecord]) -> None:
    keys = list(dict.fromkeys(key for run in runs for key in run.names()))
    wanted = [key for key in keys if key.startswith("info/learner/") and _STATISTICS in key]
    charts = []
    several = len({key.split("/")[2] for key in wanted}) > 1
    for key in wanted[:_MOST_CHARTS]:
        policy, name = key.split("/")[2], key.split(_STATISTICS)[1]
        chart = _chart(runs, key, f"{policy}: {name}" if several else name)
        if chart:
            charts.append(chart)
    if charts:
        page.section("Learning").side_by_side(charts)


def _add_speed(page: Page, runs: list[RunRecord]) -> None:
    charts = [
        _chart(runs, _SPEED, "steps sampled per second"),
        _chart(runs, "time_this_iter_s", "seconds of an iteration"),
    ]
    rows = []
    for run in runs:
        for key in run.names():
            value = run.last(key)
            if key.startswith("timers/") and key.endswith("_time_ms") and isinstance(value, (int, float)):
                rows.append(
                    [run.name, key.removeprefix("timers/").removesuffix("_time_ms").replace("_", " "), f"{value:,.1f}"]
                )
    section = page.section("Time")
    section.side_by_side([chart for chart in charts if chart])
    if rows:
        rows = rows if len(runs) > 1 else [row[1:] for row in rows]
        heads = ["what", "milliseconds"] if len(runs) == 1 else ["run", "what", "milliseconds"]
        section.add(table(heads, rows))


def _add_configuration(page: Page, runs: list[RunRecord]) -> None:
    section = page.section("Configuration")
    flat = [flatten(run.config) for run in runs]
    keys = sorted({key for config in flat for key in config})
    if len(runs) > 1:
        keys = [key for key in keys if len({repr(config.get(key)) for config in flat}) > 1]
        section.text(
            "What is not the same in all runs." if keys else "All runs have the same configuration.", note=True
        )
    if keys:
        rows: list[list[Any]] = [[key, *[_short(config.get(key)) for config in flat]] for key in keys]
        section.add(table(["setting", *([run.name for run in runs] if len(runs) > 1 else ["value"])], rows))


def _short(value: Any) -> str:
    text = format_value(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
