"""A progress bar for many tasks: they tell an actor how far they are, and the driver draws one line for all of them.

The actor is asynchronous, so the driver's call waits inside it until there is news, and nobody polls. On a terminal the line is
drawn again and again; into a file go a few whole lines. ``aktis.util.tqdm`` is the ready-made bar for the loop of one task.

Run: python examples/progress_bar.py
Needs: pip install aktis-core
Prints: the bar while the tasks work, and the number of primes below two million.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aktis

LIMIT, TASKS, PIECES = 2_000_000, 4, 8


@aktis.remote(num_cpus=0)
class Progress:
    def __init__(self) -> None:
        self.done, self.news = 0, asyncio.Event()

    async def add(self, number: int) -> None:
        self.done += number
        self.news.set()

    async def wait_for_news(self) -> int:
        await self.news.wait()
        self.news.clear()
        return self.done


@aktis.remote
def count_primes(begin: int, end: int, progress: Any) -> int:
    """A sieve, piece by piece."""
    total, size = 0, (end - begin) // PIECES
    for low in range(begin, end, size):
        sieve = bytearray([1]) * size
        for factor in range(2, int((low + size) ** 0.5) + 1):
            first = max(factor * factor, -(-low // factor) * factor)
            sieve[first - low :: factor] = bytes(len(range(first - low, size, factor)))
        total += sum(sieve) - (2 if low == 0 else 0)  # 0 and 1 are none
        progress.add.remote(size)
    return total


def draw(done: int, before: int, width: int = 30) -> None:
    full = width * done // LIMIT
    line = f"[{'#' * full}{'.' * (width - full)}] {done / LIMIT:4.0%}"
    if sys.stdout.isatty():
        print("\r" + line, end="\n" if done == LIMIT else "", flush=True)
    elif 4 * done // LIMIT > 4 * before // LIMIT:  # into a file: a line for each quarter
        print(line, flush=True)


def main() -> None:
    with aktis.init():
        progress = Progress.remote()
        share = LIMIT // TASKS
        counts = [count_primes.remote(begin, begin + share, progress) for begin in range(0, LIMIT, share)]
        done = 0
        while done < LIMIT:
            before, done = done, aktis.get(progress.wait_for_news.remote())
            draw(done, before)
        primes = sum(aktis.get(counts))
    print(f"{primes:,} primes below {LIMIT:,}")
    assert primes == 148_933


if __name__ == "__main__":
    main()
