"""The commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from aktis.cli import CommandError, Format, _tables, main
from aktis.cli._client import NodeClient, NoSessionError, SessionRequestError, all_sessions, find_session, is_alive
from aktis.cli._libraries import LibraryGroup
from aktis.cli._reports import memory_report, stacks_report, status_report, summary_report
from aktis.cli._stop import stop_session

app = main.group(cls=LibraryGroup)

Address = Annotated[
    str | None, typer.Option("--address", help="A session directory or socket; default: the session started last.")
]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the session's answer.")]


class Kind(str, Enum):
    tasks = "tasks"
    actors = "actors"
    objects = "objects"
    workers = "workers"
    nodes = "nodes"
    jobs = "jobs"
    placement_groups = "placement-groups"
    runtime_envs = "runtime-envs"


class SummaryKind(str, Enum):
    tasks = "tasks"
    actors = "actors"
    objects = "objects"


OutputFormat = Annotated[Format, typer.Option("--format", "-f", help="How to print it.")]


def _fail(text: str) -> NoReturn:
    raise CommandError(text, 1)


def _talk(address: str | None, timeout: float, conversation: Callable[[NodeClient], Any]) -> Any:
    """Hold a conversation with a session; what goes wrong becomes a message and exit code 1."""
    try:
        with NodeClient(find_session(address), timeout) as client:
            client.hello()
            return conversation(client)
    except NoSessionError as error:
        _fail(str(error))
    except (SessionRequestError, TimeoutError, ValueError, LookupError) as error:
        _fail(f"the session could not answer: {error}")


@app.command()
def status(address: Address = None, timeout: Timeout = 30.0) -> None:
    """Nodes, resources in use, and what runs."""
    _talk(address, timeout, status_report)


@app.command()
def memory(address: Address = None, timeout: Timeout = 30.0, form: OutputFormat = Format.table) -> None:
    """Objects in the store, and the memory of each process."""

    def show(client: NodeClient) -> None:
        report = client.request("memory")
        if form is Format.table:
            memory_report(report, client.request("state", kind="objects", filters=[], limit=20))
        else:
            print(_tables.serialized(report, form.value))

    _talk(address, timeout, show)


@app.command()
def timeline(
    address: Address = None,
    timeout: Timeout = 30.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: timeline.json.")
    ] = None,
) -> None:
    """Write when which task ran where, for chrome://tracing or ui.perfetto.dev."""
    events = _talk(address, timeout, lambda client: client.request("timeline"))
    path = output or Path("timeline.json")
    try:
        path.write_text(json.dumps(events, default=str))
    except OSError as error:
        _fail(f"{path} can't be written: {error.strerror}")
    print(f"{len(events)} events in {path}: open it in chrome://tracing or ui.perfetto.dev")


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="KEY=VALUE or KEY!=VALUE; may be given more than once.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Rows at most.")] = 100,
    form: OutputFormat = Format.table,
    address: Address = None,
    timeout: Timeout = 30.0,
) -> None:
    """List tasks, actors, objects, workers, nodes, jobs, placement groups or runtime environments."""
    from aktis.util.state._common import MAX_LIMIT, matches
    from aktis.util.state._queries import runtime_envs

    name = kind.value.replace("-", "_")
    wanted = [_filter(text) for text in filters or ()]

    def ask(client: NodeClient) -> list[dict[str, Any]]:
        if name == "runtime_envs":
            return runtime_envs(client.request("state", kind="workers", filters=[], limit=MAX_LIMIT))
        found: list[dict[str, Any]] = client.request("state", kind=name, filters=wanted, limit=limit + 1)
        return found

    rows = [row for row in _talk(address, timeout, ask) if matches(row, wanted)]
    _tables.print_rows(name, rows[:limit], form.value)
    if len(rows) > limit:
        print(f"(more than {limit}; use --filter, or a larger --limit)", file=sys.stderr)


def _filter(text: str) -> tuple[str, str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        _fail(f"a filter looks like state=RUNNING or state!=FINISHED, not {text!r}")
    return (key[:-1], "!=", value) if key.endswith("!") else (key, "=", value)


@app.command()
def summary(
    kind: Annotated[SummaryKind, typer.Argument(help="What to count.")] = SummaryKind.tasks,
    address: Address = None,
    timeout: Timeout = 30.0,
    form: OutputFormat = Format.table,
) -> None:
    """Count tasks, actors or objects by name and state."""
    from aktis.util.state import summarize_actors, summarize_objects, summarize_tasks

    count = {"tasks": summarize_tasks, "actors": summarize_actors, "objects": summarize_objects}[kind.value]
    folder = _talk(address, timeout, lambda client: client.folder)
    result = _talk(str(folder), timeout, lambda _: count(str(folder), timeout))["cluster"]
    if form is Format.table:
        summary_report(kind.value, result)
    else:
        print(_tables.serialized(result, form.value))


@app.command()
def stack(address: Address = None, timeout: Timeout = 30.0) -> None:
    """Where every thread of every process of the session is right now."""
    _talk(address, timeout, lambda client: stacks_report(client.request("stacks")))


@app.command()
def logs(
    name: Annotated[
        str | None, typer.Argument(help="A log file, or a pattern such as 'worker*'; default: list them.")
    ] = None,
    address: Address = None,
    pid: Annotated[int | None, typer.Option("--pid", help="The output of this process.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="The output of the actor with this id.")] = None,
    err: Annotated[bool, typer.Option("--err", help="Standard error instead of output.")] = False,
    tail: Annotated[int, typer.Option("--tail", help="Lines from the end; -1 for all.")] = 1000,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on printing what comes.")] = False,
) -> None:
    """List log files, or print one."""
    from aktis.util.state import get_log, list_logs

    try:
        folder = str(find_session(address))
        if pid is None and actor is None:
            groups = list_logs(folder, glob_filter=Path(name).name if name else None)
            names = [file for files in groups.values() for file in files]
            if name is None or len(names) != 1:
                print("\n".join(names) if names else f"no log file matches {name!r}" if name else "no log files")
                return
            name = names[0]
        lines = get_log(
            folder,
            filename=name if pid is None and actor is None else None,
            pid=pid,
            actor_id=actor,
            suffix="err" if err else "out",
            tail=tail,
            follow=follow,
        )
        for line in lines:
            sys.stdout.write(line)
            if follow:
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except (OSError, ValueError) as error:
        _fail(str(error))


@app.command()
def stop(
    force: Annotated[bool, typer.Option("--force", help="Kill at once, without time to clean up.")] = False,
    address: Address = None,
) -> None:
    """End all sessions of this user (in AKTIS_TEMP_DIR, if that is set), or the one at --address."""
    try:
        folders = [find_session(address)] if address else [folder for folder in all_sessions() if is_alive(folder)]
    except NoSessionError as error:
        _fail(str(error))
    if not folders:
        print("no session is running")
        return
    failed = False
    for folder in folders:
        try:
            print(f"{folder.name}: {stop_session(folder, force)}")
        except NoSessionError:
            print(f"{folder.name}: ended")
        except (RuntimeError, OSError) as error:
            failed = True
            print(f"aktis: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from aktis.__about__ import __version__

    print(__version__)
