"""How answers look: tables that fit 80 columns, or JSON, or YAML."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from aktis.util.units import format_bytes, format_seconds

# What a table shows of each kind, in this order, with headings. Everything else is in --format json.
COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "tasks": (("task_id", "task"), ("name", "name"), ("state", "state"), ("pid", "pid"), ("duration", "took")),
    "actors": (("actor_id", "actor"), ("class_name", "class"), ("name", "name"), ("state", "state"), ("pid", "pid")),
    "objects": (("object_id", "object"), ("size", "size"), ("state", "state"), ("owner", "owner"), ("refs", "refs")),
    "workers": (("worker_id", "worker"), ("pid", "pid"), ("state", "state"), ("rss", "memory"), ("doing", "doing")),
    "processes": (("pid", "pid"), ("kind", "kind"), ("name", "name"), ("rss", "own memory"), ("objects", "objects")),
    "nodes": (("node_id", "node"), ("address", "address"), ("state", "state"), ("resources", "resources")),
    "jobs": (
        ("job_id", "job"), ("pid", "pid"), ("state", "state"), ("namespace", "namespace"), ("entrypoint", "program"),
    ),
    "placement_groups": (
        ("placement_group_id", "group"), ("name", "name"), ("strategy", "strategy"), ("state", "state"),
        ("bundles", "bundles"),
    ),
    "runtime_envs": (("runtime_env", "environment"), ("workers", "workers")),
}  # fmt: skip

# The same fact under other names, and facts that are made from others.
_ALIASES: dict[str, tuple[str, ...]] = {
    "name": ("name", "func_or_class_name", "class_name"),
    "state": ("state", "status", "phase", "task_status", "is_alive"),
    "pid": ("pid", "worker_pid", "driver_pid"),
    "size": ("object_size", "size", "bytes"),
    "rss": ("unshared", "rss"),
    "doing": ("name", "worker_type", "kind"),
    "owner": ("owner_pid", "owner", "pid"),
    "refs": ("refs", "reference_type", "reference_count", "references"),
    "address": ("address", "node_ip", "NodeManagerAddress"),
    "resources": ("resources_total", "resources", "Resources"),
    "entrypoint": ("entrypoint", "name"),
    "node_id": ("node_id", "NodeID"),
}
_BYTE_COLUMNS = frozenset({"size", "rss"})
_LONGEST = 28
_LONGEST_ID = 17


def print_rows(kind: str, rows: Iterable[Mapping[str, Any]], form: str) -> None:
    """Print rows of a kind."""
    rows = [dict(row) for row in rows]
    if form != "table":
        print(serialized(rows, form))
        return
    if not rows:
        print(f"no {kind.replace('_', ' ')}")
        return
    from rich.table import Table

    columns = COLUMNS[kind]
    cells = [[cell(row, key) for key, _ in columns] for row in rows]
    shown = [index for index in range(len(columns)) if index == 0 or any(line[index] for line in cells)]
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for index in shown:
        right = all(
            line[index].replace(".", "").replace(",", "").split(" ")[0].isdigit() for line in cells if line[index]
        )
        widest = max(len(columns[index][1]), *(len(line[index]) for line in cells))
        table.add_column(
            columns[index][1],
            justify="right" if right else "left",
            min_width=widest if widest <= _LONGEST_ID else None,  # short ones stay whole when the table is too wide
            overflow="ellipsis",
            no_wrap=True,
        )
    for line in cells:
        table.add_row(*[line[index] for index in shown])
    console().print(table)


def console() -> Any:
    """A rich console that never uses markup of what it prints, and is 80 columns wide where that is not known."""
    import os
    import shutil
    import sys

    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 80
    return Console(markup=False, highlight=False, emoji=False, width=width or shutil.get_terminal_size().columns)


def cell(row: Mapping[str, Any], key: str) -> str:
    """One entry of a row, short."""
    if key == "duration":
        return _duration(row)
    value = next((row[name] for name in _ALIASES.get(key, (key,)) if row.get(name) not in (None, "")), "")
    if key in _BYTE_COLUMNS and isinstance(value, (int, float)):
        return format_bytes(value)
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return str(len(value))
    if isinstance(value, Mapping):
        return resources(value) if key != "bundles" else ", ".join(f"{{{resources(one)}}}" for one in value.values())
    if isinstance(value, float):
        return f"{value:g}"
    text = " ".join(str(value).split())
    if key.endswith("_id"):
        # Ids of one process begin alike: the end tells them apart. `--format json` has them whole.
        return text if len(text) <= _LONGEST_ID else "…" + text[-_LONGEST_ID + 1 :]
    if key in ("name", "class_name", "doing"):
        text = text.rpartition("<locals>.")[2] or text  # what a function is called, not where it was made
    if len(text) <= _LONGEST:
        return text
    return "…" + text[-_LONGEST + 1 :] if "/" in text else text[: _LONGEST - 1] + "…"


def _duration(row: Mapping[str, Any]) -> str:
    if isinstance(row.get("duration"), (int, float)):
        return format_seconds(row["duration"])
    start, end = (row.get(f"{name}_time_ms") or row.get(f"{name}_time") for name in ("start", "end"))
    if not isinstance(start, (int, float)):
        return ""
    scale = 1000 if "start_time_ms" in row else 1
    return format_seconds((end / scale if isinstance(end, (int, float)) and end else time.time()) - start / scale)


def resources(amounts: Mapping[str, Any]) -> str:
    """Resources for people: the ones that say something."""
    parts = []
    for name, amount in amounts.items():
        if name.startswith("node:") or not amount:
            continue
        if name in ("memory", "object_store_memory"):
            text = format_bytes(amount)
        else:
            text = f"{amount:g}" if isinstance(amount, (int, float)) else str(amount)
        parts.append(f"{name} {text}")
    return ", ".join(parts)


def serialized(value: Any, form: str) -> str:
    """JSON or YAML."""
    if form == "json":
        return json.dumps(value, indent=2, default=_plain)
    return "\n".join(_yaml(json.loads(json.dumps(value, default=_plain)), 0)) or "[]"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return str(len(value))
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)


def _yaml(value: Any, indent: int) -> list[str]:
    """Enough of YAML for plain data, without a library: strings that need it are quoted as in JSON."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines += [f"{pad}{_scalar(key)}:", *_yaml(item, indent + 1)]
            else:
                lines.append(f"{pad}{_scalar(key)}: {_scalar(item)}")
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            if isinstance(item, (dict, list)) and item:
                inner = _yaml(item, indent + 1)
                lines += [f"{pad}- {inner[0].lstrip()}", *inner[1:]]
            else:
                lines.append(f"{pad}- {_scalar(item)}")
        return lines
    return [pad + _scalar(value)]


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        simple = value.replace("_", "a").replace("-", "a").replace(".", "a").isalnum() and value[:1].isalpha()
        plain = simple and value.lower() not in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
