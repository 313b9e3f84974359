"""All bars in one table: collected from the tables of README.md, so that it cannot say anything else than they do.

python benchmarks/_summary.py        write it again (whoever writes a table of figures does that by itself)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from _tables import README, replace_section, table

AREAS = {
    "core": "Core",
    "data": "Data",
    "tune": "Tune",
    "train": "Train",
    "reinforcement learning": "RLlib",
    "serve": "Serve",
    "ray engine": "Ray engine",
}
SECTION = re.compile(r"<!-- ([a-z ]+) figures -->(.*?)<!-- end of \1 figures -->", re.DOTALL)
VERDICTS = ("met", "MISSED")


def bars(text: str) -> Iterator[tuple[str, ...]]:
    """(area, what, figure, bar, beside it, verdict) of every row with a verdict, in the order of AREAS."""
    for name, section in sorted(SECTION.findall(text), key=lambda found: list(AREAS).index(found[0])):
        header: list[str] = []
        for line in section.splitlines():
            if not line.startswith("|"):
                header = []
                continue
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not header:
                header = cells
            elif (row := _row(header, cells)) is not None:
                yield AREAS[name], *row


def _row(header: list[str], cells: list[str]) -> tuple[str, str, str, str, str] | None:
    """A row of any of our tables of bars: the verdict has no heading, a unit or what was measured beside it may follow."""
    verdict = next((cell for cell in cells if cell in VERDICTS), None)
    if verdict is None or "bar" not in header:
        return None
    by_name = dict(zip(header, cells, strict=True))
    figure = by_name.get("figure") or by_name.get("aktis", "")
    unit = by_name.get("unit", "")
    peers = [f"{name} {cell}" for name, cell in by_name.items() if name.startswith("Ray") and cell]
    beside = by_name.get("beside it") or ", ".join(peers)
    return cells[0], f"{figure} {unit}".strip(), by_name["bar"], beside, verdict


def write() -> None:
    """Put the table of all bars into README.md."""
    rows = list(bars(README.read_text(encoding="utf-8")))
    missed = sum(row[-1] == "MISSED" for row in rows)
    text = table("All bars", ("of", "what", "figure", "bar", "beside it", ""), rows)
    replace_section("all bars", f"{len(rows)} bars, {len(rows) - missed} of them met.\n\n{text}")


if __name__ == "__main__":
    write()
