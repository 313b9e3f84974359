"""Making a record smaller: neighbouring rounds, and neighbouring samples, become one. Pure: lines in, lines out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

__all__ = ["merge_rounds", "merge_samples", "thinned"]

_FIRST_EVENTS, _LAST_EVENTS = 50, 100  # that are kept when there are ever so many restarts
_MOST_PASSES = 12

Record = dict[str, Any]


def thinned(lines: Sequence[bytes], limit_bytes: int) -> tuple[list[bytes], float]:
    """The lines in about ``limit_bytes``, and the seconds that the rounds of one line now take, on average.

    Lines that are no records are dropped.
    """
    records = [record for line in lines if (record := _parsed(line)) is not None]
    events = [index for index, record in enumerate(records) if record["kind"] not in ("rounds", "sample")]
    if len(events) > _FIRST_EVENTS + _LAST_EVENTS:
        dropped = set(events[_FIRST_EVENTS:-_LAST_EVENTS])
        records = [record for index, record in enumerate(records) if index not in dropped]
    written = [_written(record) for record in records]
    for attempt in range(_MOST_PASSES):
        if sum(map(len, written)) + len(written) <= limit_bytes:
            break
        records = _halved(records, forced=attempt > 0)
        written = [_written(record) for record in records]
    spans = [float(record.get("seconds") or 0.0) for record in records if record["kind"] == "rounds"]
    return written, sum(spans) / len(spans) if spans else 0.0


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "kind" in record else None


def _written(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()


def _halved(records: Sequence[Record], forced: bool) -> list[Record]:
    """Two by two. What does not fit together (a group of another size) stays as it is or, when ``forced``, gives way."""
    kept: list[Record | None] = []
    waiting: dict[str, int] = {}  # where the one is that has no partner yet
    for record in records:
        kind = record["kind"]
        if kind == "start":
            waiting.clear()  # rounds before and after a restart are not mixed
        if kind not in ("rounds", "sample"):
            kept.append(record)
            continue
        place = waiting.pop(kind, None)
        if place is None:
            waiting[kind] = len(kept)
            kept.append(record)
            continue
        earlier = kept[place]
        assert earlier is not None
        merged = (merge_rounds if kind == "rounds" else merge_samples)(earlier, record)
        if merged is None and not forced:
            waiting[kind] = len(kept)
            kept.append(record)
            continue
        kept[place] = None
        kept.append(merged or record)
    return [record for record in kept if record is not None]


def merge_rounds(a: Record, b: Record) -> Record | None:
    """Both as one: seconds are added, metrics are those of the later. None: they are of groups of different sizes."""
    if len(a["loop"]) != len(b["loop"]) or len(a["waited"]) != len(b["waited"]):
        return None
    merged = {**a, **b, "count": a["count"] + b["count"]}
    merged["seconds"] = _sum(a["seconds"], b["seconds"])
    for key in ("loop", "waited"):
        merged[key] = [_sum(x, y) for x, y in zip(a[key], b[key], strict=True)]
    if "data" in merged:
        nothing = [0.0] * len(merged["loop"])
        merged["rows"] = a.get("rows", 0) + b.get("rows", 0)
        merged["data"] = [_sum(x, y) for x, y in zip(a.get("data", nothing), b.get("data", nothing), strict=True)]
    if "checkpoints" in merged:
        merged["checkpoints"] = a.get("checkpoints", 0) + b.get("checkpoints", 0)
    return merged


def merge_samples(a: Record, b: Record) -> Record | None:
    """Both as one, with the larger of each number: peaks of memory are what one looks for. None: they are of different ranks."""
    if [rank.get("rank") for rank in a["ranks"]] != [rank.get("rank") for rank in b["ranks"]]:
        return None
    ranks = []
    for earlier, later in zip(a["ranks"], b["ranks"], strict=True):
        ranks.append({**earlier, **{key: _larger(earlier.get(key), value) for key, value in later.items()}})
    return {**b, "ranks": ranks}


def _sum(x: float | None, y: float | None) -> float:
    return float(f"{(x or 0.0) + (y or 0.0):.6g}")


def _larger(x: Any, y: Any) -> Any:
    if isinstance(x, (int, float)) and isinstance(y, (int, float)) and not isinstance(x, bool):
        return max(x, y)
    return y
