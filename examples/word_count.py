"""Parallel word count: map tasks count words of files, reduce tasks add up, and the driver never sees a text.

Each map task splits its counts by a hash of the word and returns one part per reducer (``num_returns``), so a reducer gets the
references of its parts alone: a shuffle, in thirty lines. The texts are the modules of Python's own standard library.

Run: python examples/word_count.py
Needs: pip install aktis-core
Prints: the most frequent words, and that a plain loop over the same files counts the same, with the seconds of both.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections import Counter
from pathlib import Path

import aktis

MAPPERS, REDUCERS = 4, 2
WORD = re.compile(r"[a-z]{3,}")


def words_of(path: str) -> list[str]:
    return WORD.findall(Path(path).read_text(encoding="utf-8", errors="ignore").lower())


@aktis.remote(num_returns=REDUCERS)
def count(paths: list[str]) -> list[Counter[str]]:
    """The counts of some files, one part for each reducer."""
    parts: list[Counter[str]] = [Counter() for _ in range(REDUCERS)]
    for path in paths:
        for word, number in Counter(words_of(path)).items():
            parts[zlib.crc32(word.encode()) % REDUCERS][word] += number
    return parts


@aktis.remote
def add_up(*parts: Counter[str]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


def main() -> None:
    library = Path(json.__file__).parent.parent
    paths = [str(path) for path in sorted(library.glob("*.py"))]
    with aktis.init():
        begin = time.perf_counter()
        parts = [count.remote(paths[i::MAPPERS]) for i in range(MAPPERS)]
        totals = aktis.get([add_up.remote(*column) for column in zip(*parts)])
        seconds = time.perf_counter() - begin
    counts = sum(totals, Counter())
    print(f"{len(paths)} files, {counts.total():,} words, {len(counts):,} different ones")
    for word, number in counts.most_common(5):
        print(f"{number:8,}  {word}")

    begin = time.perf_counter()
    plain = Counter(word for path in paths for word in words_of(path))
    print(f"tasks {seconds:.2f} s, a plain loop {time.perf_counter() - begin:.2f} s (and the tasks had to be started)")
    assert counts == plain


if __name__ == "__main__":
    main()
