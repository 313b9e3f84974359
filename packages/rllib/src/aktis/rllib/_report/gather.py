"""What Tune's logs say of runs of algorithms."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aktis.air.nested import flatten

__all__ = ["RunRecord", "gather"]


@dataclass
class RunRecord:
    """A trial.

    Attributes:
        name: Of its directory.
        config: Its configuration, as text and numbers.
        rows: Its results, flat: ``"info/learner/default_policy/learner_stats/kl"``.
    """

    name: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]

    def curve(self, key: str) -> tuple[list[float], list[float]]:
        """Steps sampled, and a number at each of them; without what is not known."""
        xs, ys = [], []
        for row in self.rows:
            value = row.get(key)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                xs.append(float(row.get("timesteps_total") or row.get("training_iteration") or 0))
                ys.append(float(value))
        return xs, ys

    def last(self, key: str) -> Any:
        """The latest value of a number; None where there is none."""
        return next((row[key] for row in reversed(self.rows) if row.get(key) is not None), None)

    def names(self) -> list[str]:
        """All names in the results, in the order in which they came up."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def episodes(self) -> list[float]:
        """The return of each episode, in order. Results repeat old ones to smooth the mean: each is taken once."""
        found: list[float] = []
        for row in self.rows:
            returns, new = row.get("hist_stats/episode_reward"), row.get("episodes_this_iter")
            if isinstance(returns, list) and isinstance(new, int) and new > 0:
                found += returns[-new:]
        return found


def gather(path: Path) -> list[RunRecord]:
    """The runs in a directory, which is a trial's or an experiment's.

    Raises:
        FileNotFoundError: there are no results.
    """
    folders = [path] if (path / "result.json").is_file() else sorted(f.parent for f in path.glob("*/result.json"))
    if not folders:
        raise FileNotFoundError(
            2, "there are no results (result.json) here, nor in the directories below it", str(path)
        )
    return [_read(folder) for folder in folders]


def _read(folder: Path) -> RunRecord:
    rows = []
    with open(folder / "result.json", encoding="utf-8") as file:
        for line in file:
            try:
                rows.append(json.loads(line))
            except ValueError:  # the line that is being written now
                continue
    config: dict[str, Any] = rows[-1].get("config") or {} if rows else {}
    return RunRecord(folder.name, config, [flatten({k: v for k, v in row.items() if k != "config"}) for row in rows])
