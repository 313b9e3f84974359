"""A pipeline of generators: records are parsed and scored while the reader still reads.

A generator task gives a reference for every value that it yields, at once. ``_generator_backpressure_num_objects`` makes
the reader wait when the rest of the pipeline is that many chunks behind, so memory stays bounded however long the input is.

Run: python examples/streaming_pipeline.py
Needs: pip install aktis-core
Prints: a line for each chunk, as it is done.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator

import aktis

CHUNKS = 12
ROWS = 2_000


@aktis.remote(num_returns="streaming", _generator_backpressure_num_objects=4)
def read(chunks: int) -> Iterator[str]:
    rng = random.Random(7)
    for _ in range(chunks):
        yield "\n".join(f"{rng.randrange(100)},{rng.random():.6f}" for _ in range(ROWS))


@aktis.remote
def parse(chunk: str) -> list[tuple[int, float]]:
    return [(int(key), float(value)) for key, value in csv.reader(io.StringIO(chunk))]


@aktis.remote
def total_by_key(rows: list[tuple[int, float]]) -> dict[int, float]:
    totals: dict[int, float] = {}
    for key, value in rows:
        totals[key] = totals.get(key, 0.0) + value
    return totals


def main() -> None:
    with aktis.init():
        # References flow through the stages; the values never come here.
        scored = [total_by_key.remote(parse.remote(chunk)) for chunk in read.remote(CHUNKS)]
        totals: dict[int, float] = {}
        for number, ref in enumerate(scored, 1):
            for key, value in aktis.get(ref).items():
                totals[key] = totals.get(key, 0.0) + value
            print(f"chunk {number:2}: {len(totals)} keys, sum {sum(totals.values()):10.2f}")
        assert len(totals) == 100
        assert abs(sum(totals.values()) / (CHUNKS * ROWS) - 0.5) < 0.02


if __name__ == "__main__":
    main()
