"""Write the table of docs/rllib/tuned-examples.md from the examples of aktis.rllib; a test checks that it is up to date."""

from __future__ import annotations

import sys

import yaml

from _workspace import ROOT

sys.path[:0] = [str(source) for source in ROOT.glob("packages/*/src")]

PAGE = ROOT / "docs" / "rllib" / "tuned-examples.md"
BEGIN, END = "<!-- written by scripts/write_rllib_examples.py -->\n", "<!-- end -->\n"


def table() -> str:
    """A row for each example; the last cell is the comment on top of its file."""
    from aktis.rllib.cli._examples import examples

    rows = []
    for name, path in sorted(examples().items()):
        text = path.read_text()
        spec = next(iter(yaml.safe_load(text).values()))
        criteria = dict(spec["pass_criteria"])
        steps = criteria.pop("timesteps_total")
        (wanted,) = criteria.values()
        env = str(spec.get("env") or spec["config"]["env"]).rpartition(".")[2]
        comment = []
        for line in text.splitlines():
            if not line.startswith("#"):
                break
            comment.append(line.lstrip("# "))
        rows.append(f"| `{name}` | {spec['run']} | {env} | {wanted:g} | {steps:,} | {' '.join(comment)} |\n")
    return "| | | environment | return | steps | |\n|---|---|---|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + table() + "\n" + END + after)
    print(PAGE.relative_to(ROOT))
