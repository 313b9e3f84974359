"""The pages about algorithms and examples say what is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aktis.rllib.algorithms.registry import ALGORITHMS, get_trainable_cls
from aktis.rllib.cli._examples import examples

PAGES = Path(__file__).resolve().parents[3] / "docs" / "rllib"


def defaults_on_the_page(name: str) -> dict[str, object]:
    text = (PAGES / "algorithms.md").read_text()
    section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    return {setting: ast.literal_eval(value.strip()) for setting, value in rows}


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_defaults_on_the_page_are_the_defaults(name: str) -> None:
    config = get_trainable_cls(name).get_default_config()
    told = defaults_on_the_page(name)
    assert told
    assert {setting: getattr(config, setting) for setting in told} == told


def test_the_page_of_examples_has_those_that_there_are() -> None:
    text = (PAGES / "tuned-examples.md").read_text()
    told = re.findall(r"^\| `([\w-]+)` \| (\w+) \| (\S+) \| (\S+) \| (\S+) \|", text, re.MULTILINE)
    there = []
    for name, path in sorted(examples().items()):
        spec = next(iter(yaml.safe_load(path.read_text()).values()))
        criteria = dict(spec["pass_criteria"])
        steps = criteria.pop("timesteps_total")
        (wanted,) = criteria.values()
        env = str(spec.get("env") or spec["config"]["env"]).rpartition(".")[2]
        there.append((name, str(spec["run"]), env, f"{wanted:g}", f"{steps:,}"))
    assert told == there, "run: python scripts/write_rllib_examples.py"


def options_of(command: Any) -> Iterator[str]:
    """Every option of a command and of those below it, unless it is hidden."""
    for parameter in command.params:
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False):
            yield from (*parameter.opts, *parameter.secondary_opts)
    for inner in getattr(command, "commands", {}).values():
        yield from options_of(inner)


def test_the_page_of_the_command_has_every_option() -> None:
    import typer

    from aktis.rllib.cli._app import app

    told = set(re.findall(r"--?[a-z][\w-]*", (PAGES / "command-line.md").read_text()))
    there = {name for name in options_of(typer.main.get_command(app)) if not name.startswith(("--ray-", "--no-"))}
    assert sorted(there - told - {"--help"}) == []


def test_the_page_of_models_has_the_defaults() -> None:
    from aktis.rllib.models import MODEL_DEFAULTS

    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", (PAGES / "models.md").read_text(), re.MULTILINE)
    rows = [(re.findall(r"`(\w+)`", names), values) for names, values in rows]
    rows = [(keys, values) for keys, values in rows if MODEL_DEFAULTS.keys() >= set(keys)]
    assert len(rows) > 6
    for keys, values in rows:
        told = ast.literal_eval(f"({values.split(', with')[0].replace('`', '')},)")
        wanted = told if len(told) == len(keys) else told * len(keys)
        assert [MODEL_DEFAULTS[key] for key in keys] == list(wanted), keys
