"""The commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aktis.tune.cli import CommandError, main

app = main.group()

Directory = Annotated[Path, typer.Argument(help="An experiment's directory, or one that holds several.")]
Sort = Annotated[
    list[str] | None, typer.Option("--sort", help="Columns to sort by: repeat it, or separate them by commas.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the rows to a .csv, .json or .pkl file.")]
Filter = Annotated[
    list[str] | None,
    typer.Option("--filter", help="'COLUMN OP VALUE' with < <= == != >= or >; may be repeated, then all must hold."),
]
Columns = Annotated[
    list[str] | None, typer.Option("--columns", help="Columns to show: repeat it, or separate them by commas.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Rows at most.")]
Descending = Annotated[bool, typer.Option("--desc", help="Sort from large to small.")]


def list_trials(
    path: Directory,
    sort: Sort = None,
    output: Output = None,
    filters: Filter = None,
    columns: Columns = None,
    limit: Limit = None,
    desc: Descending = False,
) -> None:
    """List the trials of an experiment, with their latest results."""
    from aktis.tune.cli._listing import show, trial_rows

    rows, default = trial_rows(path)
    show(rows, default, "trials", sort, output, filters, columns, limit, desc)


def list_experiments(
    path: Annotated[Path, typer.Argument(help="A directory that holds experiments.")],
    sort: Sort = None,
    output: Output = None,
    filters: Filter = None,
    columns: Columns = None,
    limit: Limit = None,
    desc: Descending = False,
) -> None:
    """List the experiments in a directory."""
    from aktis.tune.cli._listing import experiment_rows, show

    rows, default = experiment_rows(path)
    show(rows, default, "experiments", sort, output, filters, columns, limit, desc)


app.command("ls")(list_trials)
app.command("list-trials", hidden=True)(list_trials)
app.command("lsx")(list_experiments)
app.command("list-experiments", hidden=True)(list_experiments)


@app.command("add-note")
def add_note(
    path: Annotated[Path, typer.Argument(help="The directory of an experiment or of a trial.")],
    filename: Annotated[str, typer.Option("--filename", help="Name of the file in that directory.")] = "note.txt",
    text: Annotated[str | None, typer.Option("--text", help="Add this line, without opening an editor.")] = None,
) -> None:
    """Write a note into a directory, with the editor that $VISUAL or $EDITOR names."""
    from aktis.tune.cli._notes import write_note

    print(write_note(path, filename, text))


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="The experiment's directory.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: report.html in the directory.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="What is optimized; repeat it for several. Default: as in the run."),
    ] = None,
    mode: Annotated[list[str] | None, typer.Option("--mode", help="min or max, for each metric.")] = None,
    scope: Annotated[
        str, typer.Option("--scope", help="Which value of a trial counts: last, all, avg, last-5-avg or last-10-avg.")
    ] = "last",
) -> None:
    """Write an HTML page about an experiment: one file, to be opened in any browser, also offline."""
    from aktis.tune._report import write_report

    try:
        target = write_report(path, output, metrics=metric or (), modes=mode or (), scope=scope)
    except PermissionError as error:
        raise CommandError(
            f"{error.filename} can't be written ({error.strerror}): choose another file with -o"
        ) from error
    except ValueError as error:
        raise CommandError(str(error)) from error
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB)")


@app.command()
def resume(
    path: Annotated[str, typer.Argument(help="The experiment's directory, or its URI.")],
    trainable: Annotated[
        str | None, typer.Option("--trainable", help="MODULE:NAME of what runs; default: what was saved with the run.")
    ] = None,
    errored: Annotated[bool, typer.Option("--errored", help="Failed trials go on from their last checkpoint.")] = False,
    restart_errored: Annotated[bool, typer.Option("--restart-errored", help="Failed trials begin anew.")] = False,
    finished_only: Annotated[
        bool, typer.Option("--no-unfinished", help="Trials that had not ended stay as they are.")
    ] = False,
) -> None:
    """Go on with an experiment that was interrupted. The exit code is 1 when trials failed."""
    from aktis.tune.cli._resume import resume_experiment

    failed = resume_experiment(path, trainable, errored, restart_errored, resume_unfinished=not finished_only)
    if failed:
        raise typer.Exit(1)


@app.command()
def watch(
    path: Annotated[Path, typer.Argument(help="The experiment's directory.")],
    once: Annotated[bool, typer.Option("--once", help="Show the state once, and end.")] = False,
    metric: Annotated[str | None, typer.Option("--metric", help="What decides which trial is best.")] = None,
    mode: Annotated[str | None, typer.Option("--mode", help="min or max.")] = None,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")] = 1.0,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Trials to show at most.")] = 20,
) -> None:
    """Watch an experiment that goes on, from its directory alone. Ends when the run does."""
    from aktis.tune.cli._watch import watch_experiment

    watch_experiment(path, once=once, metric=metric, mode=mode, interval=interval, max_rows=rows)
