from __future__ import annotations

import queue

import pytest

import aktis
from aktis.util.queue import Empty, Full, Queue


def test_items_come_out_in_order_and_size_is_told(session: str) -> None:
    shared = Queue()
    for item in ("a", "b", "c"):
        shared.put(item)
    assert (shared.qsize(), len(shared), shared.empty(), shared.full()) == (3, 3, False, False)
    assert [shared.get() for _ in range(3)] == ["a", "b", "c"]
    assert shared.empty()


def test_a_full_queue_refuses_now_and_after_a_while(session: str) -> None:
    shared = Queue(maxsize=1)
    shared.put(1)
    assert shared.full()
    with pytest.raises(Full):
        shared.put_nowait(2)
    with pytest.raises(queue.Full, match="holds 1 items"):
        shared.put(2, timeout=0.01)
    assert shared.get() == 1


def test_an_empty_queue_refuses_now_and_after_a_while(session: str) -> None:
    shared = Queue()
    with pytest.raises(Empty):
        shared.get_nowait()
    with pytest.raises(queue.Empty):
        shared.get(timeout=0.01)


def test_batches_are_all_or_nothing(session: str) -> None:
    shared = Queue(maxsize=3)
    shared.put_nowait_batch(range(2))
    with pytest.raises(Full, match="no room for 2"):
        shared.put_nowait_batch([2, 3])
    with pytest.raises(Empty, match="fewer than 3"):
        shared.get_nowait_batch(3)
    assert shared.get_nowait_batch(2) == [0, 1]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda shared: shared.get(timeout=-1), ValueError),
        (lambda shared: shared.put(1, timeout=-1), ValueError),
        (lambda shared: shared.put_nowait_batch(1), TypeError),
        (lambda shared: shared.get_nowait_batch("2"), TypeError),
        (lambda shared: shared.get_nowait_batch(-1), ValueError),
    ],
)
def test_bad_arguments(call, error) -> None:
    aktis.init(mode="inline", num_cpus=1)
    try:
        with pytest.raises(error):
            call(Queue())
    finally:
        aktis.shutdown()


def test_tasks_share_the_queue(session: str) -> None:
    @aktis.remote
    def produce(shared: Queue, count: int) -> None:
        for item in range(count):
            shared.put(item)

    @aktis.remote
    def consume(shared: Queue, count: int) -> list[int]:
        return [shared.get() for _ in range(count)]

    shared = Queue()
    produce.remote(shared, 5)
    assert aktis.get(consume.remote(shared, 5)) == [0, 1, 2, 3, 4]


def test_a_waiting_get_is_woken_by_a_put(native: None) -> None:
    @aktis.remote
    def consume(shared: Queue) -> str:
        return shared.get(timeout=30)

    shared = Queue()
    waiting = consume.remote(shared)
    assert aktis.wait([waiting], timeout=0.05) == ([], [waiting])
    shared.put("here")
    assert aktis.get(waiting) == "here"


def test_coroutines(session: str) -> None:
    @aktis.remote
    class User:
        async def use(self, shared: Queue) -> list[int]:
            await shared.put_async(1)
            got = [await shared.get_async()]
            try:
                await shared.get_async(block=False)
            except Empty:
                got.append(0)
            return got

    user = User.remote()
    assert aktis.get(user.use.remote(Queue())) == [1, 0]


def test_options_of_the_actor_and_shutdown(session: str) -> None:
    shared = Queue(actor_options={"name": "jobs"})
    shared.put(1)
    handle = aktis.get_actor("jobs")
    assert aktis.get(handle.qsize.remote()) == 1
    shared.shutdown()
    with pytest.raises(aktis.exceptions.AktisActorError):
        aktis.get(handle.qsize.remote())
    shared.shutdown()
