"""Small results of map_batches are put together, which only the time shows."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aktis.data as data
from aktis.data._blocks import concat, from_batch, kept_apart
from aktis.data._transforms import gathering
from aktis.data._transforms.gathering import Gatherer

KINDS = (np.float32, np.int64, np.bool_)


@given(
    results=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(KINDS), st.integers(1, 3)), max_size=12),
    most=st.integers(1, 300),
)
def test_what_is_gathered_is_what_was_given(results: list[tuple[int, Any, int]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "GATHERED_BYTES", most)
        gatherer, blocks, wanted = Gatherer(), [], []
        for rows, kind, width in results:
            result = {"x": np.arange(rows).astype(kind), "t": np.ones((rows, width), kind)}
            wanted += [(x, width) for x in result["x"].tolist()]
            if gatherer.add(result):
                result["x"][:] = 0  # the function's own array, which it may use again
            else:
                blocks += [gatherer.take()] if gatherer.rows else []
                blocks.append(result)
            if gatherer.is_full:
                blocks.append(gatherer.take())
        blocks += [gatherer.take()] if gatherer.rows else []
    found = [(x, block["t"].shape[1]) for block in blocks for x in block["x"].tolist()]
    assert found == wanted
    assert all(block["x"].dtype in KINDS and len(block["x"]) == len(block["t"]) for block in blocks)


@pytest.mark.parametrize(
    "result",
    [
        [1, 2],
        np.arange(3),
        {},
        {"x": [1, 2]},
        {"x": np.array(["a"])},
        {"x": np.array([None])},
        {"x": np.ma.masked_array([1, 2], [True, False])},
        {"x": np.arange(2), "y": np.arange(3)},
        {"x": np.float64(1)},
        {"x": np.array([1], ">i4")},
        {1: np.arange(2)},
        {"x": np.zeros(gathering.SMALL_BYTES, np.int16)},
    ],
)
def test_other_results_are_left_alone(result: Any) -> None:
    gatherer = Gatherer()
    assert not gatherer.add(result)
    assert gatherer.rows == 0


def test_small_arrays_are_copied_and_other_things_are_not() -> None:
    small, large, texts = np.arange(4.0), np.zeros(1 << 20), np.array(["a"])
    apart = kept_apart({"small": small, "large": large, "texts": texts})
    small[:] = 9
    assert apart["small"].tolist() == [0, 1, 2, 3]
    assert apart["large"] is large
    assert apart["texts"] is texts
    rows = [1, 2]
    assert kept_apart(rows) is rows


def test_a_few_rows_do_not_keep_the_memory_for_many() -> None:
    gatherer = Gatherer()
    assert gatherer.add({"x": np.arange(10)})
    block = from_batch(gatherer.take())
    assert block.get_total_buffer_size() == 80
    assert block.column(0).chunk(0).buffers()[1].size == 80


class Reusing:
    """Returns one array again and again, as code that saves memory does."""

    def __init__(self) -> None:
        self.out = np.zeros(4)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        np.multiply(batch["value"], 2, out=self.out)
        return {"x": self.out}


def test_a_function_may_use_its_arrays_again(workers: Any) -> None:
    made = data.range_table(40, parallelism=1).map_batches(
        Reusing, batch_size=4, batch_format="numpy", compute=data.ActorPoolStrategy(1, 1)
    )
    assert [row["x"] for row in made.take_all()] == [2.0 * i for i in range(40)]


def test_results_of_several_kinds_stay_in_order(context: Any) -> None:
    def mixed(batch: dict[str, np.ndarray]) -> Any:
        first = int(batch["value"][0]) // 4
        return (
            batch
            if first % 3 == 0
            else {"value": batch["value"].astype(np.float64)}
            if first % 3 == 1
            else {"value": [*batch["value"]]}
        )

    made = data.range_table(60, parallelism=1).map_batches(mixed, batch_size=4, batch_format="numpy")
    assert [row["value"] for row in made.take_all()] == list(range(60))


def test_unequal_columns_are_still_an_error(context: Any) -> None:
    def unequal(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"x": batch["value"], "y": batch["value"][:1]}

    with pytest.raises(Exception, match="as many rows"):
        data.range_table(8, parallelism=1).map_batches(unequal, batch_size=4, batch_format="numpy").take_all()


def test_blocks_of_gathered_results_merge_with_others() -> None:
    gatherer = Gatherer()
    gatherer.add({"x": np.arange(3), "t": np.zeros((3, 2), np.float32)})
    block = concat([from_batch(gatherer.take()), from_batch({"x": np.arange(2), "t": np.zeros((2, 2), np.float32)})])
    assert block.num_rows == 5


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", None])
def test_bounds_of_the_user_stay(variable: str | None) -> None:
    program = (
        "import sys; from aktis.data._execution.memory import keep_freed_memory as keep\n"
        "import ctypes\n"
        f"expected = {variable is None} and sys.platform == 'linux' and hasattr(ctypes.CDLL(None), 'mallopt')\n"
        "assert keep() == expected"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    if variable is not None:
        environment[variable] = "glibc.malloc.check=0" if variable == "GLIBC_TUNABLES" else "131072"
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, timeout=60)
