"""What ``status``, ``memory``, ``summary`` and ``stack`` print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.cli._tables import console, print_rows
from aktis.util.units import format_bytes

if TYPE_CHECKING:
    from aktis.cli._client import NodeClient

_BAR = 20
_MOST = 10_000


def status_report(client: NodeClient) -> None:
    """Session, nodes, resources, and counts of what runs."""
    facts = client.welcome
    nodes = client.request("nodes")
    total, free = client.request("cluster_resources"), client.request("available_resources")
    print(f"session {facts.get('session_name', client.folder.name)}  node process {client.node_pid}")
    print(f"directory {facts.get('session_dir', client.folder)}")
    alive = sum(1 for node in nodes if node.get("Alive", node.get("alive", True)))
    print(f"nodes: {alive} alive" + (f", {len(nodes) - alive} dead" if alive < len(nodes) else ""))
    print("\nresources in use")
    for name in sorted(total, key=lambda one: (one not in ("CPU", "GPU"), one)):
        if not name.startswith("node:") and total[name]:
            is_bytes = name in ("memory", "object_store_memory")
            _print_use(name, total[name] - free.get(name, 0.0), total[name], is_bytes)
    print("\nwhat runs")
    for kind, key in (("jobs", "state"), ("actors", "state"), ("workers", "state"), ("tasks", "state"),
                      ("placement_groups", "state")):  # fmt: skip
        rows = client.request("state", kind=kind, filters=[], limit=_MOST)
        counts = Counter(str(row.get(key) or row.get("status") or row.get("phase") or "?") for row in rows)
        text = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"
        print(f"  {kind.replace('_', ' '):17} {text}")


def _print_use(name: str, used: float, total: float, is_bytes: bool) -> None:
    filled = max(0, min(_BAR, round(_BAR * used / total)))
    bar = "█" * filled + "░" * (_BAR - filled)
    amounts = f"{format_bytes(used)} of {format_bytes(total)}" if is_bytes else f"{used:g} of {total:g}"
    print(f"  {name[:20]:20} {bar} {amounts}")


def memory_report(report: Mapping[str, Any], objects: list[dict[str, Any]]) -> None:
    """The machine, the store, processes, and the first objects."""
    if report.get("limit"):
        _print_use("memory", report.get("used", 0), report["limit"], is_bytes=True)
    store = report.get("store") or {}
    if store.get("capacity"):
        _print_use("object store", store.get("used", 0), store["capacity"], is_bytes=True)
    for name, value in store.items():
        if name not in ("capacity", "used"):
            counted = not any(word in name for word in ("bytes", "size", "used", "memory"))
            print(f"  {name.replace('_', ' '):20} {value if counted else format_bytes(value)}")
    print("\nprocesses")
    print_rows("processes", report.get("processes") or (), "table")
    print("\nobjects")
    print_rows("objects", objects, "table")


def summary_report(kind: str, result: Mapping[str, Any]) -> None:
    """Counts by name and state, largest first."""
    from rich.table import Table

    entries = result["summary"]
    if not entries:
        print(f"no {kind}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    table.add_column("what", overflow="ellipsis", no_wrap=True)
    table.add_column("count", justify="right")
    if kind == "objects":
        table.add_column("size", justify="right")
    table.add_column("states", overflow="fold")
    for name, entry in sorted(entries.items(), key=lambda item: -sum(item[1]["state_counts"].values())):
        counts = entry["state_counts"]
        cells = [name, str(sum(counts.values()))]
        if kind == "objects":
            cells.append(format_bytes(entry["total_size_mb"] * (1 << 20)))
        table.add_row(*cells, ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    console().print(table)


def stacks_report(processes: list[dict[str, Any]]) -> None:
    """The threads of each process."""
    if not processes:
        print("no processes")
    for process in processes:
        title = " ".join(str(process[key]) for key in ("kind", "name") if process.get(key))
        print(f"── process {process.get('pid', '?')} {title}".rstrip())
        for thread in process.get("threads") or ():
            print(f"thread {thread.get('name', '?')}\n{str(thread.get('stack', '')).rstrip()}")
        print()
