"""Each worker explores to a different degree, all the time (Horgan et al. 2018, section 4)."""

from __future__ import annotations

BASE = 0.4
_EXPONENT = 7.0


def per_worker_value(num_workers: int, worker_index: int) -> float | None:
    """0.4^(1 + 7 i / (N - 1)) for worker i of N; 0 for the local worker beside others, None (no fixed value) for one alone."""
    if num_workers <= 0:
        return None
    if worker_index <= 0:
        return 0.0
    if num_workers == 1:
        return BASE
    return float(BASE ** (1.0 + _EXPONENT * (worker_index - 1) / (num_workers - 1)))
