"""Columns that come from nowhere: random numbers, identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data.expressions._evaluation import Evaluation
from aktis.data.expressions._expr import Expr
from aktis.data.expressions._functions import Value

_ROW_BITS = 33  # identifiers: the task in the upper bits, the row within it in the lower ones


@dataclass(frozen=True, eq=False, repr=False)
class _Generated(Expr):
    @property
    def _fixed(self) -> bool:
        return False


def _generator(evaluation: Evaluation, entropy: list[int]) -> np.random.Generator:
    """Depends on task and place alone, so that a task that runs again draws the same numbers."""
    place = [evaluation.task_index, evaluation.first_row]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([*entropy, *place])))


@dataclass(frozen=True, eq=False, repr=False)
class RandomExpr(_Generated):
    """Random numbers."""

    seed: int | None = None
    reseed_after_execution: bool = True

    def _compute(self, evaluation: Evaluation) -> Value:
        entropy = [] if self.seed is None else [self.seed]
        if self.seed is None or self.reseed_after_execution:
            entropy.append(evaluation.seed)
        return pa.array(_generator(evaluation, entropy).random(evaluation.num_rows))

    def _text(self) -> str:
        words = [] if self.seed is None else [f"seed={self.seed}"]
        words += [] if self.reseed_after_execution else ["reseed_after_execution=False"]
        return f"random({', '.join(words)})"


@dataclass(frozen=True, eq=False, repr=False)
class UUIDExpr(_Generated):
    """Random identifiers."""

    def _compute(self, evaluation: Evaluation) -> Value:
        rows = evaluation.num_rows
        octets = _generator(evaluation, [evaluation.seed, 1]).integers(0, 256, (rows, 16), dtype=np.uint8)
        octets[:, 6] = octets[:, 6] & 0x0F | 0x40  # version 4
        octets[:, 8] = octets[:, 8] & 0x3F | 0x80  # variant of RFC 9562
        digits = np.frombuffer(b"0123456789abcdef", np.uint8)[
            np.stack((octets >> 4, octets & 15), axis=2).reshape(rows, 32)
        ]
        texts: Any = np.full((rows, 36), ord("-"), np.uint8)
        texts[:, [i for i in range(36) if i not in (8, 13, 18, 23)]] = digits
        offsets = pa.py_buffer(np.arange(0, 36 * rows + 36, 36, dtype=np.int32))
        return pa.StringArray.from_buffers(rows, offsets, pa.py_buffer(texts))

    def _text(self) -> str:
        return "uuid()"


@dataclass(frozen=True, eq=False, repr=False)
class MonotonicallyIncreasingIdExpr(_Generated):
    """Increasing identifiers."""

    def _compute(self, evaluation: Evaluation) -> Value:
        first = (evaluation.task_index << _ROW_BITS) + evaluation.first_row
        return pa.array(np.arange(first, first + evaluation.num_rows, dtype=np.int64))

    def _text(self) -> str:
        return "monotonically_increasing_id()"


def random(*, seed: int | None = None, reseed_after_execution: bool = True) -> Expr:
    """Random numbers, evenly spread over [0, 1).

    Args:
        seed: makes the numbers reproducible for the same data in the same blocks.
        reseed_after_execution: each execution draws other numbers, even with a seed; False: always the same ones. Tasks
            that run again after a crash draw what they drew before, in any case.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise ValueError(f"seed is a whole number of at least 0, or None, not {seed!r}")
    return RandomExpr(None if seed is None else int(seed), reseed_after_execution)


def uuid() -> Expr:
    """A random identifier (UUID, version 4) as a string for each row."""
    return UUIDExpr()


def monotonically_increasing_id() -> Expr:
    """A number (int64) for each row: unique, and increasing within each task, but with gaps between tasks."""
    return MonotonicallyIncreasingIdExpr()
