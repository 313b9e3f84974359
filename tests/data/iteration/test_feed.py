"""Blocks for workers of a DataLoader."""

from __future__ import annotations

from typing import Any

import pytest
from tests.data.iteration.helpers import Source, numbers

from aktis.data._iteration.engine import BatchSpec
from aktis.data._iteration.torch_feed import Feed, fetch, share


def rows(blocks: Any) -> list[list[int]]:
    return [block.column("x").to_pylist() for block in blocks]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_share_the_batches_in_turn(workers: int) -> None:
    source = Source(numbers([10, 7, 6]))
    spec = BatchSpec(batch_size=4)
    parts = [rows(share(source, spec, worker, workers, 0)) for worker in range(workers)]
    whole = rows(share(source, spec, 0, 1, 0))
    assert whole[0] == [0, 1, 2, 3] and sum(map(len, whole)) == 23
    assert [whole[worker::workers] for worker in range(workers)] == parts


def test_workers_shuffle_alike() -> None:
    source = Source(numbers([50, 50]))
    spec = BatchSpec(batch_size=8, shuffle_buffer=20)

    def epoch(seed: int) -> list[int]:
        return [x for worker in range(2) for batch in rows(share(source, spec, worker, 2, seed)) for x in batch]

    assert sorted(epoch(1)) == list(range(100))
    assert epoch(1) != epoch(2) != list(range(100))


def test_through_a_socket() -> None:
    source = Source(numbers([10, 7]))
    feed = Feed(source, BatchSpec(batch_size=4))
    try:
        assert rows(fetch(feed.address, 1, 2, 0)) == [[4, 5, 6, 7], [12, 13, 14, 15]]
        early = fetch(feed.address, 0, 1, 0)
        next(early)
        early.close()  # type: ignore[attr-defined]
        assert len(rows(fetch(feed.address, 0, 1, 0))) == 5
    finally:
        feed.close()
    with pytest.raises(OSError):
        list(fetch(feed.address, 0, 1, 0))


def test_errors_come_through_the_socket() -> None:
    feed = Feed(Source([*numbers([4]), KeyError("gone")]), BatchSpec(batch_size=4))
    try:
        blocks = fetch(feed.address, 0, 1, 0)
        assert next(blocks).num_rows == 4
        with pytest.raises(KeyError, match="gone"):
            next(blocks)
    finally:
        feed.close()
