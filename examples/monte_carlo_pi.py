"""Estimate pi with many small tasks, and improve the estimate on the terminal as results come in.

``aktis.wait`` hands out results in the order in which they are done, so nothing waits for the slowest task.

Run: python examples/monte_carlo_pi.py
Needs: pip install aktis-core
Prints: the estimate, better and better.
"""

from __future__ import annotations

import random

import aktis

TASKS = 200
POINTS = 20_000


@aktis.remote
def points_in_circle(seed: int, points: int) -> int:
    rng = random.Random(seed)
    return sum(rng.random() ** 2 + rng.random() ** 2 <= 1.0 for _ in range(points))


def main() -> None:
    with aktis.init():
        pending = [points_in_circle.remote(seed, POINTS) for seed in range(TASKS)]
        inside = done = 0
        while pending:
            # Up to ten at a time, but never wait for ten: a tenth of a second at most.
            ready, pending = aktis.wait(pending, num_returns=min(10, len(pending)), timeout=0.1)
            inside += sum(aktis.get(ready))
            done += len(ready)
            if done and (not pending or len(ready) == 10):
                print(f"{done:4}/{TASKS} tasks: pi is about {4 * inside / (done * POINTS):.5f}")
        assert abs(4 * inside / (TASKS * POINTS) - 3.14159) < 0.01


if __name__ == "__main__":
    main()
