"""A first look at data sets: from Python objects to results, row by row and window by window.

Run: python examples/data_quickstart.py
Needs: pip install aktis-data
Prints: the first results, and what each operator did.
"""

from __future__ import annotations

import time

import aktis.data


def main() -> None:
    begin = time.perf_counter()
    ds = aktis.data.from_items([{"data": i} for i in range(10_000)])

    # Nothing runs before take() asks for rows, and take(10) asks for no more than it needs.
    squares = ds.map(lambda x: x["data"] ** 2).filter(lambda x: x % 2 == 0).flat_map(lambda x: [x, x + 1])
    first = squares.take(10)
    print("squares:", first)
    assert first == [0, 1, 4, 5, 16, 17, 36, 37, 64, 65]

    # The same, window by window.
    pipe = ds.window(blocks_per_window=5)
    pipe = pipe.map(lambda x: x["data"] ** 2).filter(lambda x: x % 2 == 0).flat_map(lambda x: [x, x + 1])
    assert pipe.take(10) == first

    numbers = aktis.data.range(10_000).map(lambda x: x + 1)
    numbers.show(5)
    assert numbers.sum() == 10_000 * 10_001 // 2

    kept = squares.materialize()  # computed once, for everything that follows
    print(f"{kept.count():,} rows, {time.perf_counter() - begin:.2f} s\n")
    print(kept.stats())


if __name__ == "__main__":
    main()
