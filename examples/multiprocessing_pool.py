"""A program that uses multiprocessing.Pool, on a cluster: the import is what changes.

Its processes are actors, so the pool may span machines. ``map``, ``starmap``, ``imap_unordered``, ``apply_async`` with callbacks,
initializers and chunks are those of the standard library, as are the exceptions. The work: which prices do options have?
Each task simulates paths of a share, and the formula of Black and Scholes knows the answer.

Run: python examples/multiprocessing_pool.py
Needs: pip install aktis-core numpy
Prints: simulated and exact prices by strike, and what an exception in a worker looks like here.
"""

from __future__ import annotations

from math import erf, exp, log, sqrt

import numpy as np

import aktis
from aktis.util.multiprocessing import Pool

PRICE, RATE, VOLATILITY, YEARS = 100.0, 0.03, 0.2, 1.0
PATHS, STRIKES = 200_000, [80.0, 90.0, 100.0, 110.0, 120.0]
noise: np.ndarray  # of each process


def set_up(seed: int) -> None:
    """Runs once in each process."""
    global noise
    noise = np.random.default_rng(seed).standard_normal(PATHS)


def simulate(strike: float, antithetic: bool = True) -> float:
    draws = np.concatenate([noise, -noise]) if antithetic else noise
    ends = PRICE * np.exp((RATE - VOLATILITY**2 / 2) * YEARS + VOLATILITY * sqrt(YEARS) * draws)
    return float(exp(-RATE * YEARS) * np.maximum(ends - strike, 0).mean())


def exact(strike: float) -> float:
    d1 = (log(PRICE / strike) + (RATE + VOLATILITY**2 / 2) * YEARS) / (VOLATILITY * sqrt(YEARS))
    d2 = d1 - VOLATILITY * sqrt(YEARS)
    below = [(1 + erf(d / sqrt(2))) / 2 for d in (d1, d2)]
    return PRICE * below[0] - strike * exp(-RATE * YEARS) * below[1]


def main() -> None:
    with aktis.init(num_cpus=2), Pool(processes=2, initializer=set_up, initargs=(0,)) as pool:
        prices = pool.map(simulate, STRIKES, chunksize=2)
        for strike, price in zip(STRIKES, prices):
            print(f"strike {strike:5.0f}: simulated {price:6.3f}, exact {exact(strike):6.3f}")
            assert abs(price - exact(strike)) < 0.1
        assert pool.starmap(simulate, [(strike, True) for strike in STRIKES]) == prices
        assert sorted(pool.imap_unordered(simulate, STRIKES)) == sorted(prices)
        arrived: list[float] = []
        pool.apply_async(simulate, (100.0,), {"antithetic": False}, callback=arrived.append).wait()
        try:
            pool.map(simulate, [100.0, "a hundred"])
        except TypeError as error:
            print(f"{type(error).__name__} in a worker, raised here: {error}")
        pool.close()
        pool.join()
    assert len(arrived) == 1 and abs(arrived[0] - exact(100.0)) < 0.2


if __name__ == "__main__":
    main()
