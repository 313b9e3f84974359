"""Recipes outlive the data: intermediate results are freed, and made again when a later one is lost."""

from __future__ import annotations

import gc
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.native.helpers import core, lose, lose_everything, stored_at_last, stored_at_most

import aktis
from aktis._native import lineage
from aktis.exceptions import (
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectReconstructionFailedLineageEvictedError,
    ObjectReconstructionFailedMaxAttemptsExceededError,
)

pytestmark = pytest.mark.usefixtures("session")

SIZE = 20_000  # float64: 160 KB, travels through the store


@aktis.remote
def make(value: float, log: str = "") -> Any:
    note(log)
    return np.full(SIZE, value)


@aktis.remote
def plus(array: Any, more: Any = 1.0, log: str = "") -> Any:
    note(log)
    return array + more


@aktis.remote(num_returns=2)
def split(log: str) -> Any:
    note(log)
    noise = np.random.default_rng().random(SIZE)
    return noise, -noise


def note(log: str) -> None:
    if log:
        with open(log, "a") as file:
            file.write("x")


def runs(log: Path) -> int:
    return len(log.read_text())


def chain(length: int, start: Any = None) -> Any:
    ref = make.remote(0.0) if start is None else start
    for _ in range(length):
        ref = plus.remote(ref)
    aktis.wait([ref])
    return ref


def start_again(ref: Any) -> None:
    core().recover(ref, ref.value[1])


@pytest.fixture(autouse=True)
def nothing_remains() -> Any:
    yield
    assert stored_at_last(0)
    assert not core().lent


def test_only_the_last_result_of_a_chain_stays_in_the_store() -> None:
    last = chain(6)
    assert stored_at_last(1)
    assert aktis.get(last)[0] == 6.0


def test_no_garbage_collection_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST_DEPTH", 3)
    gc.collect()
    gc.disable()
    try:
        last = chain(10)
        assert stored_at_last(2, collect=False)
        lose(last)
        assert aktis.get(last, timeout=30)[0] == 10.0
        assert stored_at_last(2, collect=False)
        del last
        assert stored_at_last(0, collect=False)
    finally:
        gc.enable()


def test_results_in_use_stay() -> None:
    first = make.remote(0.0)
    last = chain(3, first)
    assert stored_at_last(2)
    assert aktis.get(first)[0] == 0.0
    del first
    assert stored_at_last(1)
    assert aktis.get(last)[0] == 3.0


def test_a_lost_result_is_made_again_through_freed_ones_again_and_again() -> None:
    last = chain(6)
    assert stored_at_last(1)
    for _ in range(3):
        lose_everything()
        assert (aktis.get(last, timeout=30) == 6.0).all()
        assert stored_at_last(1)


def test_a_long_chain_of_freed_results_is_made_again() -> None:
    last = chain(400)
    assert stored_at_last(1)
    lose_everything()
    assert aktis.get(last, timeout=60)[0] == 400.0
    assert stored_at_last(1)


def test_a_failure_comes_through_a_long_chain(tmp_path: Path) -> None:
    @aktis.remote
    def fails_later(mark: str) -> Any:
        if os.path.exists(mark):
            raise ValueError("not twice")
        note(mark)
        return np.zeros(SIZE)

    last = chain(400, fails_later.remote(str(tmp_path / "mark")))
    assert stored_at_last(1)
    lose_everything()
    with pytest.raises(ValueError, match="not twice"):
        aktis.get(last, timeout=60)


def test_an_argument_of_two_lost_results_is_made_again_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    base = make.remote(1.0, str(log))
    one, two = plus.remote(base), plus.remote(base, 2.0)
    aktis.wait([one, two], num_returns=2)
    del base
    assert stored_at_last(2)
    lose_everything()
    start_again(one)
    start_again(two)
    assert [array[0] for array in aktis.get([one, two], timeout=30)] == [2.0, 3.0]
    assert runs(log) == 2
    assert stored_at_last(2)


def test_results_of_one_call_are_made_again_by_one_call(tmp_path: Path) -> None:
    log = tmp_path / "log"
    one, two = split.remote(str(log))
    total = plus.remote(one, two)
    aktis.wait([total])
    del one, two
    assert stored_at_last(1)
    lose_everything()
    assert not aktis.get(total, timeout=30).any()  # both came from the same run, else the noise would not cancel out
    assert runs(log) == 2
    assert stored_at_last(1)


def test_lost_results_of_one_call_both_come(tmp_path: Path) -> None:
    log = tmp_path / "log"
    one, two = split.remote(str(log))
    aktis.wait([one, two], num_returns=2)
    lose_everything()
    start_again(one)
    start_again(two)
    assert not (aktis.get(one, timeout=30) + aktis.get(two, timeout=30)).any()
    assert stored_at_last(2)


def test_a_result_made_again_does_not_touch_its_siblings() -> None:
    one, two = split.remote("")
    aktis.wait([one, two], num_returns=2)
    before = aktis.get(two).copy()
    lose(one)
    assert aktis.get(one, timeout=30).shape == (SIZE,)
    assert (aktis.get(two) == before).all()
    assert stored_at_last(2)
    del two, before
    lose(one)
    assert aktis.get(one, timeout=30).shape == (SIZE,)
    assert stored_at_last(1)


def test_a_living_argument_is_used_as_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    base = make.remote(1.0, str(log))
    last = plus.remote(base)
    aktis.wait([last])
    lose(last)
    assert aktis.get(last, timeout=30)[0] == 2.0
    assert runs(log) == 1
    lose_everything()
    assert aktis.get(last, timeout=30)[0] == 2.0
    assert aktis.get(base, timeout=30)[0] == 1.0
    assert runs(log) == 2
    assert stored_at_last(2)


def test_arguments_that_cannot_be_made_again_stay() -> None:
    @aktis.remote
    class Source:
        def make(self, value: float) -> Any:
            return np.full(SIZE, value)

    @aktis.remote(num_returns="streaming")
    def items() -> Any:
        yield np.full(SIZE, 3.0)

    source = Source.remote()
    origins = [aktis.put(np.ones(SIZE)), source.make.remote(2.0), next(items.remote())]
    origins.append(make.options(max_retries=0).remote(4.0))
    results = [plus.remote(origin) for origin in origins]
    aktis.wait(results, num_returns=4)
    del origins
    assert stored_at_last(8)
    for result in results:
        lose(result)
    assert [array[0] for array in aktis.get(results, timeout=30)] == [2.0, 3.0, 4.0, 5.0]
    lose_everything()
    for result in results:
        with pytest.raises(ObjectReconstructionFailedError):
            aktis.get(result, timeout=30)


def test_keywords_and_small_arguments() -> None:
    small, large = plus.remote(1.0), make.remote(10.0)
    last = plus.remote(array=large, more=plus.remote(plus.remote(small)))
    aktis.wait([last])
    del small, large
    assert stored_at_last(1)
    lose_everything()
    assert aktis.get(last, timeout=30)[0] == 14.0


def test_threads_that_notice_a_loss_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    last = plus.remote(plus.remote(make.remote(1.0, str(log)), 1.0, str(log)), 1.0, str(log))
    aktis.wait([last])
    assert stored_at_last(1)
    for attempt in range(1, 4):
        lose_everything()
        found: list[float] = []
        threads = [threading.Thread(target=lambda: found.append(aktis.get(last, timeout=30)[0])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [3.0] * 8
        assert runs(log) == 3 * (attempt + 1)


def test_a_loss_that_is_noticed_late_is_no_new_loss(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ref = make.remote(1.0, str(log))
    aktis.wait([ref])
    missing = ref.value[1]
    lose_everything()
    assert aktis.get(ref, timeout=30)[0] == 1.0
    assert core().recover(ref, missing)
    assert aktis.get(ref, timeout=30)[0] == 1.0
    assert runs(log) == 2


def test_nothing_is_made_again_forever() -> None:
    last = plus.remote(make.remote(1.0))
    aktis.wait([last])
    for _ in range(10):
        lose_everything()
        assert aktis.get(last, timeout=30)[0] == 2.0
    lose_everything()
    with pytest.raises(ObjectReconstructionFailedMaxAttemptsExceededError, match="10 times"):
        aktis.get(last, timeout=30)


def test_a_borrower_gets_a_lost_result_of_freed_ones() -> None:
    @aktis.remote
    class Reader:
        def keep(self, box: list[Any]) -> None:
            self.box = box

        def read(self) -> float:
            return float(aktis.get(self.box[0])[0])

    reader = Reader.remote()
    last = chain(4)
    aktis.get(reader.keep.remote([last]))
    assert stored_at_last(1)
    for _ in range(2):
        lose_everything()
        assert aktis.get(reader.read.remote(), timeout=30) == 4.0
    aktis.kill(reader)


def test_workers_own_chains_too() -> None:
    @aktis.remote
    def build() -> tuple[int, float]:
        last = chain(3)
        freed = stored_at_last(1)
        lose_everything()
        return freed, float(aktis.get(last)[0])

    assert aktis.get(build.remote(), timeout=60) == (True, 3.0)


def test_a_worker_that_dies_while_it_makes_something_again(tmp_path: Path) -> None:
    @aktis.remote
    def dies_once(array: Any, log: str) -> Any:
        note(log)
        if runs(Path(log)) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return array + 1

    log = tmp_path / "log"
    last = plus.remote(dies_once.remote(make.remote(1.0), str(log)))
    aktis.wait([last])
    assert stored_at_last(1)
    lose_everything()
    assert aktis.get(last, timeout=60)[0] == 3.0
    assert runs(log) == 3


def test_without_retries_arguments_are_let_go_and_nothing_comes_back() -> None:
    last = plus.options(max_retries=0).remote(make.remote(1.0), np.ones(SIZE))
    aktis.wait([last])
    assert stored_at_last(1)
    lose_everything()
    with pytest.raises(ObjectReconstructionFailedError, match="max_retries=0") as caught:
        aktis.get(last, timeout=30)
    assert caught.value.reason == "retries_disabled"


def test_a_call_with_a_lost_large_argument_fails(tmp_path: Path) -> None:
    last = plus.remote(make.remote(1.0), np.ones(SIZE))
    aktis.wait([last])
    assert stored_at_last(2)
    lose_everything()
    with pytest.raises(ObjectLostError, match="argument of"):
        aktis.get(last, timeout=30)


def test_an_endless_chain_forgets_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST_DEPTH", 3)
    last = chain(10)
    assert stored_at_last(2)  # and one on the way, where the recipes of the last begin
    lose(last)
    assert aktis.get(last, timeout=30)[0] == 10.0
    assert stored_at_last(2)
    lose_everything()
    with pytest.raises(ObjectReconstructionFailedLineageEvictedError, match="forgotten") as caught:
        aktis.get(last, timeout=30)
    assert caught.value.reason == "lineage_evicted"


def test_recipes_with_large_arguments_are_forgotten_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST_BYTES", 3 * 8 * SIZE)
    last = make.remote(0.0)
    for _ in range(12):
        last = plus.remote(last, np.ones(SIZE))
    aktis.wait([last])
    assert stored_at_most(7)  # not 1 + 12
    lose(last)
    assert aktis.get(last, timeout=30)[0] == 12.0


def test_recipes_that_share_much_stay_few() -> None:
    one, two = make.remote(0.0), make.remote(1.0)
    for _ in range(40):
        one, two = two, plus.remote(one, two)
    aktis.wait([two])
    aktis.wait([one])
    assert stored_at_last(2)
    lose(two)
    assert aktis.get(two, timeout=30)[0] == 102334155 + 63245986
