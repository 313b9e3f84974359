"""The examples that come along: YAML files with settings that were tuned, and the returns that they reach."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from aktis.rllib.cli import CommandError

__all__ = ["examples", "path_of", "show", "text_of"]

_PIPE_WIDTH = 200
_FOLDER = Path(__file__).resolve().parent.parent / "tuned_examples"


def examples() -> dict[str, Path]:
    """The file of each example, by its ID (``cartpole-ppo``), in the order of algorithms and names."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*/*.yaml"))}


def path_of(example_id: str) -> Path:
    """The file of an example.

    Raises:
        CommandError: there is none of that ID; the message has those that are close.
    """
    known = examples()
    if example_id not in known:
        close = difflib.get_close_matches(example_id, known, n=3, cutoff=0.5)
        near = f"; did you mean {' or '.join(close)}?" if close else ""
        raise CommandError(f"there is no example {example_id!r}{near} `rllib example list` shows all {len(known)}")
    return known[example_id]


def text_of(example_id: str) -> str:
    """The file as it is."""
    return path_of(example_id).read_text()


def show(pattern: str | None) -> None:
    """Print a table of the examples whose ID has ``pattern`` in it."""
    import yaml
    from rich.console import Console
    from rich.table import Table

    found = {name: path for name, path in examples().items() if pattern is None or pattern in name}
    if not found:
        raise CommandError(f"no example has {pattern!r} in its ID; `rllib example list` shows all {len(examples())}")
    table = Table(box=None, pad_edge=False)
    for heading in ("ID", "algorithm", "environment", "return", "steps"):
        right = heading in ("return", "steps")
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "environment")
    for name, path in found.items():
        spec: dict[str, Any] = next(iter(yaml.safe_load(path.read_text()).values()))
        reached = spec.get("pass_criteria") or {}
        table.add_row(name, str(spec["run"]), _environment(spec), _best(reached), _steps(reached, spec))
    console = Console(soft_wrap=True)
    if not console.is_terminal:  # the reader of a pipe wants whole lines
        console.width = _PIPE_WIDTH
    console.print(table)
    console.print(f"\n{len(found)} examples. Run one with: rllib example run {next(iter(found))}", highlight=False)


def _environment(spec: dict[str, Any]) -> str:
    """Its name; of a class with its path, that of the class."""
    name = str(spec.get("env") or spec["config"].get("env"))
    return name.rpartition(".")[2] if name.startswith("aktis.") else name


def _best(reached: dict[str, Any]) -> str:
    value = next((value for key, value in reached.items() if "reward" in key), None)
    return "" if value is None else f"{value:g}"


def _steps(reached: dict[str, Any], spec: dict[str, Any]) -> str:
    for place in (reached, spec.get("stop") or {}):
        for key in ("timesteps_total", "num_env_steps_sampled", "num_env_steps_trained"):
            if key in place:
                return f"{int(place[key]):,}"
    return ""
