"""Which rows of which blocks go to which part. Pure: numbers of rows in, pieces out.

A *piece* is a range of rows of one block; a part is a list of pieces, in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from aktis.data._exchanges._base import Piece

Parts = list[list[Piece]]
T = TypeVar("T")


def at_offsets(rows: Sequence[int], offsets: Sequence[int]) -> Parts:
    """Parts between successive offsets: rows ``offsets[0]`` to ``offsets[1]``, ... Offsets beyond the end mean the end."""
    parts: Parts = [[] for _ in offsets[1:]]
    start = 0
    for block, count in enumerate(rows):
        for part, (low, high) in enumerate(zip(offsets, offsets[1:])):
            first, last = max(low, start), min(high, start + count)
            if first < last:
                parts[part].append(Piece(0, block, first - start, last - start))
        start += count
    return parts


def offsets_at(total: int, indices: Sequence[int]) -> list[int]:
    """Where parts begin for :meth:`Dataset.split_at_indices`.

    Raises:
        ValueError: there are none, or they are negative or out of order.
    """
    if not indices:
        raise ValueError("split_at_indices needs at least one index")
    if any(index < 0 for index in indices) or any(a > b for a, b in zip(indices, indices[1:])):
        raise ValueError(f"indices must not be negative, and must be in ascending order, but are {list(indices)}")
    return [0, *(min(index, total) for index in indices), total]


def equal_offsets(total: int, n: int) -> list[int]:
    """``n`` parts of as many rows each; ``total % n`` rows at the end are in none."""
    return [part * (total // n) for part in range(n + 1)]


def proportional_offsets(total: int, proportions: Sequence[float]) -> list[int]:
    """A part for each proportion, and one for the rest. Parts are rounded, and none is empty.

    Raises:
        ValueError: proportions that are not positive, or that leave no rest; fewer rows than parts.
    """
    if not proportions:
        raise ValueError("split_proportionately needs at least one proportion")
    if any(not 0 < share < 1 for share in proportions) or math.fsum(proportions) >= 1:
        raise ValueError(
            f"proportions must be positive and their sum less than 1 (the last part gets the rest), but are {list(proportions)}"
        )
    parts = len(proportions) + 1
    if total < parts:
        raise ValueError(f"{total} rows cannot be split into {parts} parts that are not empty")
    offsets = [0]
    for done in range(1, parts):
        wanted = int(total * math.fsum(proportions[:done]) + 1e-9)
        offsets.append(max(offsets[-1] + 1, min(wanted, total - (parts - done))))
    return [*offsets, total]


def test_rows(total: int, test_size: float) -> int:
    """How many of ``total`` rows are for testing: ``test_size`` itself (an int), or that fraction, rounded up.

    Raises:
        ValueError: nothing would be left for training, or for testing.
    """
    if isinstance(test_size, bool) or not isinstance(test_size, (int, float)):
        raise TypeError(f"test_size is {test_size!r}, but must be an int (rows) or a float (fraction)")
    if isinstance(test_size, int):
        if not 0 < test_size < total:
            raise ValueError(
                f"test_size is {test_size} rows, but must be from 1 to {total - 1}: there are {total} rows"
            )
        return test_size
    if not 0 < test_size < 1:
        raise ValueError(f"test_size is {test_size}, but a fraction must be between 0 and 1 (an int means rows)")
    if total < 2:
        raise ValueError(f"{total} rows cannot be split into rows for training and rows for testing")
    return min(total - 1, max(1, math.ceil(total * test_size - 1e-9)))


def whole(rows: Sequence[int], blocks: Sequence[int]) -> list[Piece]:
    """Pieces that are whole blocks."""
    return [Piece(0, block, 0, rows[block]) for block in blocks]


def in_groups(count: int, n: int) -> list[range]:
    """Numbers 0 to ``count`` in ``n`` successive groups whose sizes differ by one at most, larger ones first."""
    base, more = divmod(count, n)
    starts = [part * base + min(part, more) for part in range(n + 1)]
    return [range(a, b) for a, b in zip(starts, starts[1:])]


def by_locality(nodes_of_blocks: Sequence[Sequence[T]], nodes: Sequence[T | None]) -> list[list[int]]:
    """Blocks for consumers on ``nodes``: to each, up to its share, those that are on its node; then what is left.

    Shares are as even as whole blocks allow. Within a part blocks keep their order.
    """
    shares = [len(group) for group in in_groups(len(nodes_of_blocks), len(nodes))]
    free = dict.fromkeys(range(len(nodes_of_blocks)))
    parts: list[list[int]] = []
    for node, share in zip(nodes, shares):
        local = [block for block in free if node is not None and node in nodes_of_blocks[block]][:share]
        parts.append(local)
        for block in local:
            del free[block]
    rest = list(free)
    for part, share in zip(parts, shares):
        missing = share - len(part)
        part += rest[:missing]
        del rest[:missing]
        part.sort()
    return parts


def equalised(parts: Sequence[Sequence[Piece]]) -> Parts:
    """The same parts with as many rows each: what one has too much goes to those that have too little. Fewer rows than
    there are parts go to nobody."""
    total = sum(piece.stop - piece.start for part in parts for piece in part)
    target = total // len(parts) if parts else 0
    result: Parts = []
    spare: list[Piece] = []
    for part in parts:
        kept, rest = take(part, target)
        result.append(kept)
        spare += rest
    for part in result:
        more, spare = take(spare, target - sum(piece.stop - piece.start for piece in part))
        part += more
    return result


def take(pieces: Sequence[Piece], rows: int) -> tuple[list[Piece], list[Piece]]:
    """The first ``rows`` rows, and the others."""
    taken: list[Piece] = []
    for at, piece in enumerate(pieces):
        count = piece.stop - piece.start
        if count > rows:
            cut = piece.start + rows
            if rows:
                taken.append(Piece(piece.input, piece.block, piece.start, cut))
            return taken, [Piece(piece.input, piece.block, cut, piece.stop), *pieces[at + 1 :]]
        taken.append(piece)
        rows -= count
    return taken, []
