"""Shards for training workers: equal parts, epochs, and going on in the middle of one."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aktis
import aktis.data
from aktis.data import Dataset
from aktis.data._iteration.meeting import ConsumerError
from aktis.data.sharding import Shard, Sharding, ShardOptions


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=2, log_to_driver=False)
    yield
    aktis.shutdown()


@pytest.fixture
def dealt() -> Iterator[Callable[..., list[Shard]]]:
    """Deals, and cleans up."""
    made: list[Sharding] = []

    def deal(dataset: Dataset, workers: int, keep_bytes: int | None = None, **options: Any) -> list[Shard]:
        made.append(Sharding(dataset, ShardOptions(**options)))
        return made[-1].deal(workers, keep_bytes=keep_bytes)

    yield deal
    for sharding in made:
        sharding.close()


def numbers(n: int = 1003, parallelism: int = 10) -> Dataset:
    return aktis.data.range_table(n, parallelism=parallelism).map_batches(doubled, batch_format="numpy")


def doubled(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"x": batch["value"] * 2}


def together(function: Callable[[Any], Any], shards: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(shards)) as pool:
        return list(pool.map(function, shards))


def flat(lists: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def rows_of(shard: Any, **options: Any) -> list[int]:
    options = {"batch_size": 16, **options}
    return [row for batch in shard.iter_batches(batch_format="numpy", **options) for row in batch["x"].tolist()]


def first_batches(count: int, **options: Any) -> Callable[[Shard], list[list[int]]]:
    options = {"batch_size": 16, **options}

    def take(shard: Shard) -> list[list[int]]:
        return [b["x"].tolist() for b in islice(shard.iter_batches(batch_format="numpy", **options), count)]

    return take


WAYS: dict[str, dict[str, Any]] = {
    "kept": {},
    "kept, mixed": {"randomize_block_order": True},
    "streamed": {"keep": False},
    "streamed, mixed": {"keep": False, "randomize_block_order": True},
    "shuffled": {"global_shuffle": True},
    "shuffled in windows": {"keep": False, "global_shuffle": True, "window_bytes": 2000},
}
ALL_WAYS = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())


@ALL_WAYS
def test_equal_parts_of_every_epoch(options: dict[str, Any], dealt: Callable[..., list[Shard]]) -> None:
    shards = dealt(numbers(), 3, **options)
    epochs = []
    for epoch in range(2):
        assert [shard.epoch for shard in shards] == [epoch] * 3
        parts = together(rows_of, shards)
        assert [len(part) for part in parts] == [334] * 3
        rows = flat(parts)
        assert len(set(rows)) == 1002 and set(rows) <= set(range(0, 2006, 2))
        epochs.append(parts)
    in_other_order = options.get("randomize_block_order") or options.get("global_shuffle")
    assert (epochs[0] != epochs[1]) == bool(in_other_order)
    again = dealt(numbers(), 3, **options)
    together(lambda shard: shard.set_epoch(1), again)
    assert together(rows_of, again) == epochs[1]


@ALL_WAYS
def test_the_rest_of_an_epoch_for_as_many_workers(options: dict[str, Any], dealt: Callable[..., list[Shard]]) -> None:
    whole = together(rows_of, dealt(numbers(), 2, **options))
    shards = dealt(numbers(), 2, **options)
    begun = together(first_batches(5), shards)
    states = [json.loads(json.dumps(shard.state_dict())) for shard in shards]
    assert states[0] == states[1]
    resumed = dealt(numbers(), 2, **options)
    for shard in resumed:
        shard.load_state_dict(states[0])
    rest = together(rows_of, resumed)
    assert [flat(a) + b for a, b in zip(begun, rest)] == whole
    assert [shard.epoch for shard in resumed] == [1, 1]
    assert sorted(map(len, together(rows_of, resumed))) == [501, 501]


@ALL_WAYS
def test_the_rest_of_an_epoch_for_other_numbers_of_workers(
    options: dict[str, Any], dealt: Callable[..., list[Shard]]
) -> None:
    used: list[int] = []
    state = None
    for workers, batches in [(2, 5), (3, 4), (3, 2), (1, 7), (2, 100)]:
        shards = dealt(numbers(), workers, **options)
        for shard in shards:
            if state is not None:
                shard.load_state_dict(state)
        taken = together(first_batches(batches), shards)
        assert len({len(flat(batch)) for batch in taken}) == 1
        used += flat(map(flat, taken))
        state = shards[0].state_dict()
    assert len(used) == len(set(used))
    assert 1002 <= len(used) <= 1003 and set(used) <= set(range(0, 2006, 2))


def test_the_rest_after_the_last_batch_is_nothing(dealt: Callable[..., list[Shard]]) -> None:
    (shard,) = dealt(numbers(100), 1)
    states = []
    for _ in shard.iter_batches(batch_size=30):
        states.append(shard.state_dict())
    (resumed,) = dealt(numbers(100), 1)
    resumed.load_state_dict(states[-1])
    assert resumed.epoch == 0 and rows_of(resumed) == []
    assert resumed.epoch == 1 and len(rows_of(resumed)) == 100


def test_what_was_only_prefetched_does_not_count(dealt: Callable[..., list[Shard]]) -> None:
    (shard,) = dealt(numbers(1000), 1)
    batches = shard.iter_batches(batch_size=10, prefetch_batches=20)
    for count in range(1, 4):
        next(batches)
        assert shard.state_dict()["taken"] == [[1, 1000, 10 * count]]
    batches.close()


def test_rows_and_whole_blocks_count_too(dealt: Callable[..., list[Shard]]) -> None:
    (shard,) = dealt(numbers(100, parallelism=4), 1)
    taken = [row["x"] for row in islice(shard.iter_rows(), 7)]
    state = shard.state_dict()
    (resumed,) = dealt(numbers(100, parallelism=4), 1)
    resumed.load_state_dict(state)
    blocks = iter(resumed.iter_batches(batch_size=None, batch_format="numpy"))
    taken += next(blocks)["x"].tolist()
    state = resumed.state_dict()
    blocks.close()
    (last,) = dealt(numbers(100, parallelism=4), 1)
    last.load_state_dict(state)
    assert taken + rows_of(last) == list(range(0, 200, 2))


@pytest.mark.parametrize("keep", [True, False])
def test_a_local_shuffle_goes_on_where_it_was(keep: bool, dealt: Callable[..., list[Shard]]) -> None:
    options = {"local_shuffle_buffer_size": 50}
    whole = together(lambda shard: rows_of(shard, **options), dealt(numbers(), 2, keep=keep))
    assert whole[0] != sorted(whole[0])
    shards = dealt(numbers(), 2, keep=keep)
    begun = together(first_batches(9, **options), shards)
    state = shards[0].state_dict()
    resumed = dealt(numbers(), 2, keep=keep)
    for shard in resumed:
        shard.load_state_dict(state)
    rest = together(lambda shard: rows_of(shard, **options), resumed)
    assert [flat(a) + b for a, b in zip(begun, rest)] == whole
    (other,) = dealt(numbers(), 1)
    with pytest.raises(ValueError, match="local_shuffle_buffer_size=50 and 2 workers; 1 workers cannot tell"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="can only go on with the same, not with no shuffle"):
        resumed[0].load_state_dict(state)
        rows_of(resumed[0])


def test_all_rows_for_each_worker(dealt: Callable[..., list[Shard]]) -> None:
    for keep in (True, False):
        shards = dealt(numbers(50), 2, split=False, keep=keep)
        assert together(rows_of, shards) == [list(range(0, 100, 2))] * 2
        first_batches(2)(shards[0])
        state = shards[0].state_dict()
        (resumed,) = dealt(numbers(50), 1, split=False, keep=keep)
        resumed.load_state_dict(state)
        assert rows_of(resumed) == list(range(64, 100, 2))


def test_what_does_not_fit_is_streamed(dealt: Callable[..., list[Shard]]) -> None:
    shards = dealt(numbers(), 2, keep_bytes=1000)
    assert [len(part) for part in together(rows_of, shards)] == [501] * 2
    assert "kept in memory" not in shards[0].stats()
    shards = dealt(numbers(), 2)
    assert [len(part) for part in together(rows_of, shards)] == [501] * 2
    assert "kept in memory: 1,003 rows" in shards[1].stats() and "Iteration: 501 rows" in shards[1].stats()


def test_a_state_from_kept_data_is_good_for_streamed_data(dealt: Callable[..., list[Shard]]) -> None:
    shards = dealt(numbers(), 2)
    begun = together(first_batches(5), shards)
    resumed = dealt(numbers(), 3, keep=False)
    for shard in resumed:
        shard.load_state_dict(shards[0].state_dict())
    used = flat(map(flat, begun)) + flat(together(rows_of, resumed))
    assert len(used) == len(set(used)) and len(used) >= 1001


def test_leaving_a_loop_begins_the_next_epoch(dealt: Callable[..., list[Shard]]) -> None:
    shards = dealt(numbers(5000, parallelism=50), 2, keep=False)

    def leave_early(shard: Shard) -> tuple[int, int, int]:
        for count, _ in enumerate(shard.iter_batches(batch_size=16)):
            if count == shards.index(shard):  # not even at the same place
                break
        return shard.epoch, len(rows_of(shard)), shard.epoch

    assert together(leave_early, shards) == [(0, 2500, 2)] * 2


def test_leaving_does_not_wait_for_the_next_block(tmp_path: Path, dealt: Callable[..., list[Shard]]) -> None:
    def slow(batch: dict[str, Any]) -> dict[str, Any]:
        if batch["value"][0] > 0:
            while not (tmp_path / "left").exists():
                time.sleep(0.05)
        return {"x": batch["value"]}

    dataset = aktis.data.range_table(40, parallelism=4).map_batches(slow, batch_size=None, batch_format="numpy")
    dataset.context.enable_local_execution = False
    (shard,) = dealt(dataset, 1, split=False, keep=False)
    for _ in shard.iter_batches(batch_size=10):
        break
    (tmp_path / "left").touch()  # what runs yet need not be waited for
    assert len(rows_of(shard)) == 40


def test_two_data_sets_at_once(dealt: Callable[..., list[Shard]]) -> None:
    one = dealt(numbers(2000, parallelism=20), 2, keep=False)
    other = dealt(numbers(2000, parallelism=20), 2, keep=False)

    def read(pair: tuple[Shard, Shard]) -> int:
        batches = zip(*(shard.iter_batches(batch_size=7, batch_format="numpy") for shard in pair))
        return sum(len(a["x"]) + len(b["x"]) for a, b in batches)

    assert together(read, list(zip(one, other))) == [2000] * 2


def wide(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of 100 kB: sixteen of them are dealt at a time."""
    return {"x": batch["value"], "y": np.zeros((len(batch["value"]), 100_000), np.uint8)}


@pytest.mark.parametrize(("blocks", "batch_size"), [(60, 7), (60, 64), (2, 7), (2, 64)])
def test_workers_in_lock_step_never_wait_for_one_another(
    blocks: int, batch_size: int, dealt: Callable[..., list[Shard]]
) -> None:
    dataset = aktis.data.range_table(360, parallelism=blocks).map_batches(wide, batch_size=None, batch_format="numpy")
    shards = dealt(dataset, 2, keep=False)
    allreduce = threading.Barrier(2, timeout=30)

    def train(shard: Shard) -> list[int]:
        seen: list[int] = []
        for batch in shard.iter_batches(batch_size=batch_size, batch_format="numpy"):
            allreduce.wait()
            seen += batch["x"].tolist()
        return seen

    parts = together(train, shards)
    assert [len(part) for part in parts] == [180] * 2 and len({*parts[0], *parts[1]}) == 360
    assert shards[0].epoch == 1


@aktis.remote(num_cpus=1)
class Worker:
    def epochs(self, shard: Shard, count: int) -> list[int]:
        return [len(rows_of(shard)) for _ in range(count)]

    def die_reading(self, shard: Shard) -> None:
        for _ in shard.iter_batches(batch_size=1):
            os._exit(1)


def test_workers_that_hold_all_cpus(dealt: Callable[..., list[Shard]]) -> None:
    workers = [Worker.remote() for _ in range(2)]
    dataset = numbers()
    dataset.context.enable_local_execution = False
    for options in ({"keep": False}, {}, {"global_shuffle": True}):
        shards = dealt(dataset, 2, **options)
        calls = [worker.epochs.remote(shard, 2) for worker, shard in zip(workers, shards)]
        assert aktis.get(calls, timeout=60) == [[501, 501]] * 2
    for worker in workers:
        aktis.kill(worker)


def test_a_dead_worker_is_named(dealt: Callable[..., list[Shard]]) -> None:
    dataset = numbers(100_000, parallelism=100)
    shards = dealt(dataset, 2, keep=False)
    dead = Worker.remote()
    call = dead.die_reading.remote(shards[1])
    with pytest.raises(ConsumerError, match=r"consumer 1 of 2 \(actor .*\) has died"):
        for _ in range(2):
            rows_of(shards[0])
    with pytest.raises(aktis.exceptions.AktisActorError):
        aktis.get(call)


def test_workers_that_are_not_at_the_same_place(dealt: Callable[..., list[Shard]]) -> None:
    shards = dealt(numbers(), 2, keep=False)
    shards[1].set_epoch(4)

    def read(shard: Shard) -> str:
        with pytest.raises(ConsumerError) as error:
            rows_of(shard)
        return str(error.value)

    assert all(
        "worker 1 begins epoch 4" in text and "worker 0 begins epoch 0" in text for text in together(read, shards)
    )


def test_blocks_that_have_changed(dealt: Callable[..., list[Shard]]) -> None:
    (shard,) = dealt(numbers(100, parallelism=10), 1, randomize_block_order=True)
    first_batches(1)(shard)
    (other,) = dealt(numbers(100, parallelism=5), 1, randomize_block_order=True)
    other.load_state_dict(shard.state_dict())
    with pytest.raises(ValueError, match="cut into other blocks"):
        rows_of(other)
    (streamed,) = dealt(numbers(100, parallelism=5), 1, keep=False, global_shuffle=True)
    first_batches(1)(streamed)
    (other,) = dealt(numbers(100, parallelism=6), 1, keep=False, global_shuffle=True)
    other.load_state_dict(streamed.state_dict())
    with pytest.raises(ValueError, match="cut into other blocks"):
        rows_of(other)
    (same,) = dealt(numbers(100, parallelism=5), 1)
    same.load_state_dict({**shard.state_dict(), "layout": None})
    assert len(rows_of(same)) == 84


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("rows", "message"), [(0, "the data set 'a' is empty"), (1, "has 1 row, which cannot be split")]
)
def test_too_few_rows(keep: bool, rows: int, message: str, dealt: Callable[..., list[Shard]]) -> None:
    dataset = numbers(100).limit(50).filter(lambda row: row["x"] < 2 * rows)
    with pytest.raises(ValueError, match=message):
        together(rows_of, dealt(dataset, 2, keep=keep, name="data set 'a'"))


def test_a_transform_for_each_epoch(dealt: Callable[..., list[Shard]]) -> None:
    def negative(dataset: Dataset) -> Dataset:
        return dataset.map_batches(lambda batch: {"x": -batch["x"]}, batch_format="numpy")

    shards = dealt(numbers(10), 2, per_epoch=negative)
    for _ in range(2):
        assert sorted(flat(together(rows_of, shards))) == list(range(-18, 1, 2))


def test_an_error_of_the_data_reaches_every_worker(dealt: Callable[..., list[Shard]]) -> None:
    def fail(batch: Any) -> Any:
        raise KeyError("no such thing")

    shards = dealt(numbers(10).map_batches(fail), 2, keep=False)

    def read(shard: Shard) -> None:
        with pytest.raises(Exception, match="no such thing"):
            rows_of(shard)

    together(read, shards)


def test_what_else_a_shard_can_say(dealt: Callable[..., list[Shard]]) -> None:
    for keep in (True, False):
        shards = dealt(numbers(100), 2, keep=keep, name="data set 'a'")
        assert repr(shards[1]) == "DataIterator(data set 'a', part 1 of 2)"
        assert [shard.count() for shard in shards] == [50, 50]
        assert shards[0].schema().names == ["x"]
        assert [shard.world_size for shard in shards] == [2, 2]
        parts = together(lambda shard: shard.materialize().to_pandas()["x"].tolist(), shards)
        assert sorted(flat(parts)) == list(range(0, 200, 2)) and len(parts[0]) == 50
        epochs = together(lambda shard: [len(rows_of(epoch)) for epoch in shard.iter_epochs(3)], shards)
        assert epochs == [[50] * 3] * 2 and shards[0].epoch == 4
    with pytest.raises(ValueError, match="epoch must be an int"):
        shards[0].set_epoch(-1)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("rows", [1003, 600_003])
def test_dealing_again_uses_what_was_kept(rows: int, local: bool) -> None:
    dataset = numbers(rows, parallelism=3)
    dataset.context.enable_local_execution = local
    sharding = Sharding(dataset)
    kept = []
    for workers in (2, 3):
        parts = together(lambda shard: rows_of(shard, batch_size=10_000), sharding.deal(workers))
        assert {len(part) for part in parts} == {rows // workers}
        kept.append(sharding._kept)
    assert sharding.kept_bytes == rows * 8 and kept[0] is kept[1] is not None
    sharding.close()


def test_the_order_does_not_depend_on_where_it_is_computed(tmp_path: Path, dealt: Callable[..., list[Shard]]) -> None:
    for number in range(4):
        pd.DataFrame({"x": np.arange(number * 50_000, (number + 1) * 50_000)}).to_parquet(
            tmp_path / f"{number}.parquet"
        )
    orders = []
    for local in (True, False):
        for options in (
            {"global_shuffle": True},
            {"keep": False, "global_shuffle": True},
            {"randomize_block_order": True},
        ):
            dataset = aktis.data.read_parquet(str(tmp_path))
            dataset.context.enable_local_execution = local
            (shard,) = dealt(dataset, 1, seed=7, **options)
            orders.append(rows_of(shard, batch_size=5000))
    assert orders[:3] == orders[3:]
    assert all(sorted(order) == list(range(200_000)) for order in orders)
    assert orders[0] != sorted(orders[0])
