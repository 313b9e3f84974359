"""Spread work over a fixed set of actors that are costly to make: each loads its "model" once and scores many batches.

``ActorPool.map_unordered`` gives the next batch to whichever actor is free.

Run: python examples/actor_pool.py
Needs: pip install aktis-core
Prints: the total score, and how the batches were shared out.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter

import aktis
from aktis.util import ActorPool


@aktis.remote
class Scorer:
    def __init__(self, vocabulary: int) -> None:
        # Stands for a model that takes long to load.
        self.table = {word: zlib.crc32(str(word).encode()) % 1000 for word in range(vocabulary)}

    def score(self, batch: list[int]) -> tuple[int, int]:
        return os.getpid(), sum(self.table[word % len(self.table)] for word in batch)


def main() -> None:
    with aktis.init():
        pool = ActorPool([Scorer.remote(vocabulary=50_000) for _ in range(2)])
        batches = [list(range(start, start + 500)) for start in range(0, 20_000, 500)]
        scores = list(pool.map_unordered(lambda actor, batch: actor.score.remote(batch), batches))
        shares = Counter(pid for pid, _ in scores)
        print(f"{len(scores)} batches, total score {sum(score for _, score in scores):,}")
        print("batches per actor: " + ", ".join(str(n) for n in sorted(shares.values())))
        assert len(scores) == len(batches)


if __name__ == "__main__":
    main()
