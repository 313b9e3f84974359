"""The page of an experiment."""

from __future__ import annotations

import datetime
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aktis.air.display import format_duration, format_value
from aktis.air.html import (
    Axis,
    Fact,
    Page,
    Part,
    Series,
    bar_chart,
    figure,
    legend,
    line_chart,
    parallel_coordinates,
    scatter,
    table,
)
from aktis.air.reports import find_reporter, write_page
from aktis.tune._progress.columns import short_labels
from aktis.tune._progress.snapshot import describe_params
from aktis.tune._report.gather import Gathered, Objective, gather
from aktis.tune._report.importance import MIN_TRIALS, Importance, parameter_importance
from aktis.tune._report.pareto import pareto_front
from aktis.tune.analysis._errors import error_line
from aktis.tune.analysis.experiment_analysis import ExperimentAnalysis
from aktis.tune.error import ExperimentDirectoryError

__all__ = ["add_experiment", "write_report"]

_MOST_PARAMETERS = 12  # axes side by side that can still be read
_MOST_CURVES = 4  # charts of learning curves
_MOST_ERRORS = 25
_LEAST_SHARE = 0.005  # of the most important parameter; what is less is drawn as nothing
_MOST_PAGES = 20
_LONGEST_ERROR = 6000


def write_report(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    metrics: Sequence[str] = (),
    modes: Sequence[str] = (),
    scope: str = "last",
) -> Path:
    """Write the report of the experiment at ``path``, and return the file.

    Args:
        path: The experiment's directory or one of its state files.
        output: The file; ``report.html`` in the experiment's directory when left out.
        metrics: Objectives; those of the run when left out.
        modes: "min" or "max" for each.
        scope: Which value of a trial counts; see ``ExperimentAnalysis.get_best_trial``.

    Raises:
        ExperimentDirectoryError: There is no experiment.
        ValueError: Metrics, modes or scope do not fit.
        OSError: The file can't be written.
    """
    analysis = ExperimentAnalysis(path)
    if not analysis.trials:
        raise ExperimentDirectoryError(f"the experiment in {analysis.experiment_path} has no trials yet")
    target = Path(output) if output is not None else Path(analysis.experiment_path, "report.html")
    if len(analysis.trials) == 1 and not metrics and analysis.trials[0].logdir:
        reporter = find_reporter(analysis.trials[0].logdir)
        if reporter is not None:  # a training run says more about itself than a table of one trial
            return write_page(reporter, analysis.trials[0].logdir, target)
    found = gather(analysis, metrics, modes, scope)
    page = Page()
    add_experiment(page, found)
    _add_pages(page, found, target)
    return page.write(target)


def add_experiment(page: Part, found: Gathered) -> None:
    """All about an experiment."""
    path = found.analysis.experiment_path
    page.title = page.title or os.path.basename(path.rstrip("/"))
    page.subtitle = page.subtitle or path
    page.names.update({str(index): _name(found, index) for index in range(len(found.trials))})
    page.facts(_facts(found))
    if found.main is not None and found.main.guessed:
        page.section("Which way is better?").text(
            f"Nobody said whether {found.main.metric} is better large or small. From its name it was taken as: "
            f"{found.main.mode}. Choose with `tune report --metric {found.main.metric} --mode min` or `max`."
        )
    _add_pareto(page, found)
    _add_curves(page, found)
    _add_parameters(page, found)
    _add_trials(page, found)
    _add_errors(page, found)


def _name(found: Gathered, index: int) -> str:
    """What the pointer says of a trial."""
    trial = found.trials[index]
    parts = [str(trial) + ("" if trial.status == "TERMINATED" else f" ({trial.status})")]
    parts += [f"{m}: {format_value(scores[index])}" for m, scores in found.scores.items() if scores[index] is not None]
    return "\n".join([*parts, describe_params(trial, 8)])


def _add_pages(page: Part, found: Gathered, target: Path) -> None:
    """Links to pages of the best trials, which are written for it, where a library makes such pages."""
    links = []
    for index in _by_score(found):
        trial = found.trials[index]
        reporter = find_reporter(trial.logdir) if trial.logdir and os.path.isdir(trial.logdir) else None
        if reporter is None:
            continue
        written = write_page(reporter, trial.logdir)
        place = os.path.relpath(written, target.absolute().parent)
        links.append(f'<li data-k="{index}"><a href="{escape(quote(place))}">{escape(str(trial))}</a></li>')
        if len(links) == _MOST_PAGES:
            break
    if links:
        section = page.section("Pages of trials")
        if len(links) < len(found.trials):
            section.text(f"Of the {len(links)} best.", note=True)
        section.add(f"<ul>{''.join(links)}</ul>")


# -- the head ------------------------------------------------------------------------------------------------------------


def _facts(found: Gathered) -> list[Fact]:
    counts = Counter(trial.status for trial in found.trials)
    words = [f"{number} {status.lower()}" for status, number in counts.most_common() if status != "ERROR"]
    facts = []
    best = found.best
    if best is not None and found.main is not None:
        score = found.scores[found.main.metric][best]
        trial = found.trials[best]
        note = f"{trial} · {describe_params(trial, 5)}"
        label = f"best {found.main.metric} ({found.main.mode}, {found.scope})"
        facts.append(Fact(label, format_value(score), note, "best", wide=True))
    failed = counts.get("ERROR", 0)
    facts.append(Fact("trials", str(len(found.trials)), ", ".join(words)))
    if failed:
        facts.append(Fact("failed", str(failed), f"{failed / len(found.trials):.0%} of all trials", "bad"))
    facts += _durations(found)
    return facts


def _durations(found: Gathered) -> list[Fact]:
    times = [float(t.last_result["time_total_s"]) for t in found.trials if _has_time(t)]
    results = sum(int(trial.last_result.get("training_iteration") or 0) for trial in found.trials)
    facts = []
    starts = [trial.start_time for trial in found.trials if trial.start_time]
    ends = [trial.last_update_time for trial in found.trials if trial.last_update_time]
    if starts and ends and max(ends) > min(starts):
        wall = max(ends) - min(starts)
        begun = datetime.datetime.fromtimestamp(min(starts)).strftime("%Y-%m-%d %H:%M")
        facts.append(Fact("took", format_duration(wall), f"from {begun}"))
    if times:
        note = f"{format_duration(min(times))} to {format_duration(max(times))}; together {format_duration(sum(times))}"
        facts.append(Fact("a trial, median", format_duration(statistics.median(times)), note))
    if results:
        facts.append(Fact("iterations", f"{results:,}", f"{results / len(found.trials):.1f} per trial"))
    return facts


def _has_time(trial: Any) -> bool:
    return isinstance(trial.last_result.get("time_total_s"), (int, float))


# -- charts ----------------------------------------------------------------------------------------------------------------


def _keys(found: Gathered) -> list[str]:
    return [str(index) for index in range(len(found.trials))]


def _tops(found: Gathered) -> list[int]:
    return [found.best] if found.best is not None else []


def _legend(objective: Objective) -> str:
    return legend("worse", "better", f"best {objective.metric}")


def _add_pareto(page: Part, found: Gathered) -> None:
    if len(found.objectives) < 2:
        return
    values = list(zip(*(found.scores[objective.metric] for objective in found.objectives), strict=True))
    front = pareto_front(values, [objective.sign for objective in found.objectives])
    section = page.section("Pareto front")
    names = ", ".join(f"{objective.metric} ({objective.mode})" for objective in found.objectives)
    section.text(f"{len(front)} of {len(found.trials)} trials are not beaten by any other in all of {names} at once.")
    charts = []
    for a, b in list(combinations(found.objectives, 2))[:4]:
        # The line joins what is best in these two; with more objectives other trials are on the front as well.
        pair = list(zip(found.scores[a.metric], found.scores[b.metric], strict=True))
        joined = pareto_front(pair, [a.sign, b.sign])
        charts.append(
            scatter(
                found.scores[a.metric], found.scores[b.metric], keys=_keys(found), front=joined, tops=front,
                x_label=a.metric, y_label=b.metric, width=900 if len(found.objectives) == 2 else 560,
            )
        )  # fmt: skip
    section.side_by_side([figure(chart) for chart in charts]) if len(charts) > 1 else section.add(*charts)
    header = ["trial", *[o.metric for o in found.objectives], *found.parameters]
    rows = [
        [str(found.trials[i]), *values[i], *[column[i] for column in found.parameters.values()]] for i in front[:50]
    ]
    section.add(table(header, rows, keys=[str(i) for i in front[:50]], filterable=False))


def _add_curves(page: Part, found: Gathered) -> None:
    metrics = found.metrics[:_MOST_CURVES]
    if not metrics:
        return
    curves = found.curves(metrics)
    shades, keys, best = found.shades(), _keys(found), found.best
    charts = []
    for metric in metrics:
        series = [
            Series(str(trial), xs, ys, keys[index], shades[index], index == best)
            for index, (trial, (xs, ys)) in enumerate(zip(found.trials, curves[metric], strict=True))
            if xs
        ]
        if any(len(one.xs) > 1 for one in series):
            charts.append((metric, series))
    if not charts:
        return
    section = page.section("Learning curves")
    if found.main is not None:
        section.add(_legend(found.main))
    first, others = charts[0], charts[1:]
    section.add(line_chart(first[1], x_label="iteration", y_label=first[0]))
    if others:
        drawn = [line_chart(s, x_label="iteration", y_label=m, width=560, height=300) for m, s in others]
        section.side_by_side([figure(chart) for chart in drawn])


def _add_parameters(page: Part, found: Gathered) -> None:
    if found.main is None or not found.parameters or len(found.trials) < 2:
        return
    metric = found.main.metric
    importance = parameter_importance(found.parameters, found.scores[metric])
    order = [key for key, _ in importance.shares] if importance else list(found.parameters)
    chosen = (order + [key for key in found.parameters if key not in order])[:_MOST_PARAMETERS]
    shades, keys = found.shades(), _keys(found)

    section = page.section("Parameters and the metric")
    section.add(_legend(found.main))
    labels = short_labels(list(found.parameters), 40)
    axes = [Axis(labels[key], values) for key, values in found.parameters.items() if key in chosen]
    axes += [Axis(objective.metric, found.scores[objective.metric]) for objective in reversed(found.objectives)]
    # Trials that have no score would all run into the floor.
    scored = [index for index, score in enumerate(found.scores[metric]) if score is not None]
    if scored:
        part = [Axis(axis.label, [axis.values[index] for index in scored], axis.log) for axis in axes]
        places = {index: place for place, index in enumerate(scored)}
        section.add(
            '<div class="wide-chart">',
            parallel_coordinates(
                part,
                keys=[keys[index] for index in scored],
                shades=[shades[index] for index in scored],
                tops=[places[index] for index in _tops(found) if index in places],
            ),
            "</div>",
        )
    section.text("Drag along an axis to keep the trials that pass there; click it to let the others back.", note=True)
    if len(found.parameters) > len(chosen):
        section.text(f"The {len(chosen)} most important of {len(found.parameters)} parameters are shown.", note=True)
    drawn = [
        scatter(
            found.parameters[key],
            found.scores[metric],
            keys=keys,
            shades=shades,
            tops=_tops(found),
            x_label=labels[key],
            y_label=metric,
        )
        for key in chosen[:8]
    ]
    section.side_by_side([figure(chart) for chart in drawn])
    _add_importance(page, found, importance)


def _add_importance(page: Part, found: Gathered, importance: Importance | None) -> None:
    assert found.main is not None
    section = page.section("Parameter importance")
    if importance is None:
        section.text(
            f"Nothing can be said: this takes {MIN_TRIALS} trials with different values of {found.main.metric} at least, and "
            "parameters that differ."
        )
        return
    if max(share for _, share in importance.shares) < _LEAST_SHARE:
        section.text(
            f"From these {importance.trials} trials it cannot be told which parameter matters: none stands out."
        )
        return
    section.text(f"How much {found.main.metric} depends on each parameter; shares of one.")
    labels = short_labels([key for key, _ in importance.shares], 40)
    section.add(bar_chart([(labels[key], share) for key, share in importance.shares[:20]]))
    section.text(f"Method: {importance.method}, over {importance.trials} trials.", note=True)
    if importance.fit is not None:
        section.text(
            f"The forest foresees {max(0.0, importance.fit):.0%} of the variance of the ranks of trials that it has not seen"
            + ("." if importance.fit >= 0.3 else ": so little that these shares may well be chance."),
            note=True,
        )


# -- tables ----------------------------------------------------------------------------------------------------------------


def _add_trials(page: Part, found: Gathered) -> None:
    order = _by_score(found)
    metrics = found.metrics[:6]
    params = list(found.parameters)[:20]
    labels = short_labels([*metrics, *params], 40)
    header = ["trial", "status", *metrics, "iterations", "time (s)", *[labels[key] for key in params]]
    rows = []
    for index in order:
        trial = found.trials[index]
        values = [_score_or_last(found, index, metric) for metric in metrics]
        last = trial.last_result
        took = float(last["time_total_s"]) if _has_time(trial) else None
        row = [str(trial), trial.status, *values, last.get("training_iteration"), took]
        rows.append([*row, *[found.parameters[key][index] for key in params]])
    section = page.section("Trials")
    section.add(table(header, rows, keys=[str(index) for index in order], tops=[order.index(i) for i in _tops(found)]))
    if len(rows) > 60:
        section.text("In print: the first 60.", note=True)


def _score_or_last(found: Gathered, index: int, metric: str) -> Any:
    from aktis.air.nested import lookup

    if metric in found.scores:
        return found.scores[metric][index]
    value = lookup(found.trials[index].last_result, metric)
    return value if isinstance(value, (int, float)) else None


def _by_score(found: Gathered) -> list[int]:
    indexes = list(range(len(found.trials)))
    if found.main is None:
        return indexes
    scores, sign = found.scores[found.main.metric], found.main.sign
    return sorted(indexes, key=lambda i: (scores[i] is None, -sign * (scores[i] or 0.0)))


def _add_errors(page: Part, found: Gathered) -> None:
    failed = [trial for trial in found.trials if trial.status == "ERROR"]
    if not failed:
        return
    section = page.section("Failures")
    for trial in failed[:_MOST_ERRORS]:
        text = str(trial.error) if trial.error is not None else ""
        times = f", {trial.num_failures} times" if trial.num_failures > 1 else ""
        shown = text if len(text) <= _LONGEST_ERROR else "...\n" + text[-_LONGEST_ERROR:]
        section.add(
            f"<details><summary>{escape(str(trial))}{times}: <b>{escape(error_line(text) or 'no message')}</b></summary>"
            f"<p class='note'>{escape(trial.error_file or '')}</p><pre>{escape(shown)}</pre></details>"
        )
    if len(failed) > _MOST_ERRORS:
        section.text(f"... and {len(failed) - _MOST_ERRORS} more.", note=True)
