"""Text files to a report: parse lines, drop what does not parse, group, join, and write the result.

Run: python examples/data_log_analysis.py
Needs: pip install aktis-data
Prints: a table of requests by path, and how many failures were written to a file.
"""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path
from typing import Any

import aktis.data
from aktis.data.aggregate import Count, Max, Mean

LINE = re.compile(r"(?P<time>\S+) (?P<service>\w+) (?P<status>\d{3}) (?P<ms>[\d.]+)ms")


def make_logs(folder: Path) -> None:
    dice = random.Random(0)
    for i in range(8):
        lines = [
            f"2024-05-{i + 1:02}T{dice.randrange(24):02}:00 {dice.choice(['web', 'search', 'pay'])} "
            f"{dice.choices([200, 404, 500], [95, 3, 2])[0]} {dice.expovariate(1 / 40):.1f}ms"
            for _ in range(2_000)
        ]
        lines[dice.randrange(2_000)] = "*** log rotated ***"
        (folder / f"day{i}.log").write_text("\n".join(lines))


def parse(row: dict[str, str]) -> list[dict[str, Any]]:
    """One row for a good line, none for a bad one."""
    match = LINE.fullmatch(row["text"])
    if match is None:
        return []
    return [{"service": match["service"], "failed": match["status"] == "500", "ms": float(match["ms"])}]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        make_logs(Path(name))
        requests = aktis.data.read_text(name).flat_map(parse)
        owners = aktis.data.from_items(
            [
                {"service": "web", "team": "front"},
                {"service": "search", "team": "index"},
                {"service": "pay", "team": "money"},
            ]
        )
        report = requests.groupby("service").aggregate(Count(), Mean("ms"), Max("ms"))
        report = report.join(owners, "inner", num_partitions=1, on=("service",)).sort("mean(ms)", descending=True)
        for row in report.take_all():
            print(
                f"{row['service']:>8} ({row['team']}): {row['count()']:,} requests, {row['mean(ms)']:.1f} ms on average"
            )
        assert report.sum("count()") == 8 * 1_999

        failures = requests.filter(lambda row: row["failed"])
        failures.write_csv(f"{name}/failures")
        assert aktis.data.read_csv(f"{name}/failures").count() == failures.count()
        print(f"{failures.count()} failures are in a file of their own")


if __name__ == "__main__":
    main()
