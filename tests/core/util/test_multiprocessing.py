from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import pathlib
import signal
import threading
import time

import pytest

import aktis
from aktis.util.multiprocessing import AsyncResult, IMapIterator, JoinableQueue, Pool, PoolTaskError


def test_every_way_to_call(session: str) -> None:
    with Pool(2) as pool:
        square = lambda value: value * value
        expected = [value * value for value in range(10)]
        assert pool.map(square, range(10)) == expected
        assert pool.map(square, iter(range(10)), chunksize=3) == expected
        assert pool.map(square, []) == []
        assert pool.starmap(lambda a, b: a - b, [(3, 1), (5, 2)]) == [2, 3]
        assert pool.apply(lambda a, b=0: (a, b), (1,), {"b": 2}) == (1, 2)
        assert pool.apply_async(max, (1, 2)).get() == 2
        assert pool.map_async(square, range(3)).get(timeout=30) == [0, 1, 4]
        assert pool.starmap_async(pow, [(2, 3)]).get() == [8]
        assert list(pool.imap(square, range(10), chunksize=3)) == expected
        assert sorted(pool.imap_unordered(square, range(10))) == expected
        assert pool.map(functools.partial(pow, 2), range(3)) == [1, 2, 4]
        assert pool.map("abc".count, ["a", "x"]) == [1, 0]


def test_exceptions_are_those_of_the_function(session: str) -> None:
    with Pool(2) as pool:
        with pytest.raises(ZeroDivisionError) as caught:
            pool.map(lambda value: 1 // value, [1, 0, 2], chunksize=1)
        assert type(caught.value) is ZeroDivisionError
        assert "Traceback" in str(caught.value.__cause__)
        result = pool.apply_async(lambda: {}["x"])
        result.wait()
        assert result.ready()
        assert not result.successful()
        results = pool.imap(lambda value: 1 // value, [1, 0, 2])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert next(results) == 0
        with pytest.raises(StopIteration):
            next(results)


def test_an_exception_that_cannot_be_pickled(session: str) -> None:
    class Odd(Exception):
        def __reduce__(self):
            raise TypeError("never")

    def fail() -> None:
        raise Odd("strange")

    with Pool(1) as pool, pytest.raises(RuntimeError, match=r"Odd can't be pickled: .*strange"):
        pool.apply(fail)


def test_callbacks(session: str, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = [], []
    with Pool(2) as pool:
        pool.map_async(str, range(3), callback=good.append).wait()
        pool.apply_async(int, ("x",), callback=good.append, error_callback=bad.append).wait()
        assert pool.apply_async(int, ("7",), callback=lambda value: 1 / 0).get() == 7
    assert good == [["0", "1", "2"]]
    assert [type(error) for error in bad] == [ValueError]
    assert "callback" in caplog.text


def test_callbacks_need_nobody_who_waits(native: None) -> None:
    called = threading.Event()
    pool = Pool(1)
    pool.apply_async(int, ("7",), callback=lambda value: called.set())
    assert called.wait(30)
    pool.terminate()


def test_endless_input_is_read_as_results_are_taken(session: str) -> None:
    with Pool(2) as pool:
        results = pool.imap(lambda value: value + 1, itertools.count())
        assert [next(results) for _ in range(20)] == list(range(1, 21))


def test_initializer_sets_globals_that_functions_see(session: str) -> None:
    names = {"__name__": "script", "__builtins__": __builtins__}
    exec("def prepare(value):\n    global shared\n    shared = value\ndef look(_):\n    return shared\n", names)
    with Pool(2, initializer=names["prepare"], initargs=(7,)) as pool:
        assert pool.map(names["look"], range(4)) == [7, 7, 7, 7]


def test_a_failing_initializer_is_told(session: str) -> None:
    def fail() -> None:
        raise OSError("no database")

    with Pool(1, initializer=fail) as pool, pytest.raises(aktis.exceptions.AktisActorError, match="no database"):
        pool.apply(abs, (1,))


def test_processes_are_replaced_after_so_many_tasks(native: None) -> None:
    with Pool(1, maxtasksperchild=2) as pool:
        pids = pool.map(lambda _: os.getpid(), range(6), chunksize=1)
    assert len(set(pids)) == 3


def test_a_killed_process_fails_its_call_and_is_replaced(native: None) -> None:
    with Pool(1) as pool:
        with pytest.raises(aktis.exceptions.AktisActorError):
            pool.apply(lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert pool.apply(lambda: 5) == 5


def test_work_goes_to_whoever_is_free(native: None) -> None:
    def work(value: int) -> int:
        time.sleep(1.0 if value == 0 else 0.001)
        return os.getpid()

    with Pool(2) as pool:
        pool.map(lambda _: time.sleep(0.02), range(8), chunksize=1)
        pids = pool.map(work, range(40), chunksize=1)
    assert pids.count(pids[0]) <= 10  # the slow call, and the few that were with its process already


def test_close_and_join_finish_the_work(session: str) -> None:
    pool = Pool(2)
    late = pool.map_async(abs, range(20))
    lazy = pool.imap(abs, iter(range(30)))
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    pool.close()
    pool.join()
    assert late.get() == list(range(20))
    assert list(lazy) == list(range(30))
    assert "TERMINATE" in repr(pool)
    for call in (lambda: pool.map(abs, []), lambda: pool.apply(abs, (1,)), lambda: pool.imap(abs, []), pool.__enter__):
        with pytest.raises(ValueError, match="not running"):
            call()


def test_terminate_ends_what_is_under_way(native: None) -> None:
    pool = Pool(1)
    result = pool.apply_async(time.sleep, (60,))
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    pool.terminate()
    pool.join()
    with pytest.raises(PoolTaskError, match="terminated"):
        result.get(timeout=30)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"processes": 100}, ValueError, "needs as many CPUs, and the cluster has 2"),
        ({"processes": 0}, ValueError, "at least one process"),
        ({"processes": "2"}, TypeError, "must be an int"),
        ({"maxtasksperchild": 0}, ValueError, "maxtasksperchild"),
        ({"initializer": 1}, TypeError, "callable"),
    ],
)
def test_bad_arguments(session: str, arguments, error, message: str) -> None:
    with pytest.raises(error, match=message):
        Pool(**arguments)


def test_more_bad_arguments(session: str) -> None:
    with pytest.warns(UserWarning, match="context has no effect"):
        pool = Pool(1, context=multiprocessing.get_context("spawn"))
    with pool:
        with pytest.raises(ValueError, match="chunksize"):
            pool.imap(abs, [1], chunksize=0)
        with pytest.raises(TypeError, match="must be a callable"):
            pool.map(3, [1])
        with pytest.raises(TypeError, match="pickled"):
            import pickle

            pickle.dumps(pool)


def test_a_pool_inside_of_a_task(session: str) -> None:
    @aktis.remote(num_cpus=2)
    def outer() -> list[int]:
        with Pool(2) as pool:
            return pool.map(lambda value: value + 1, range(5))

    assert aktis.get(outer.remote()) == [1, 2, 3, 4, 5]


def test_a_pool_starts_a_session_of_its_size() -> None:
    assert not aktis.is_initialized()
    os.environ["AKTIS_MODE"] = "inline"
    try:
        with Pool(3) as pool:
            assert aktis.cluster_resources()["CPU"] == 3
            assert pool.map(abs, [-1]) == [1]
    finally:
        del os.environ["AKTIS_MODE"]
        aktis.shutdown()


def test_what_calls_give() -> None:
    aktis.init(mode="inline", num_cpus=1)
    try:
        with Pool(1) as pool:
            results = [pool.apply_async(abs, (-1,)), pool.map_async(abs, [-1]), pool.starmap_async(pow, [(2, 3)])]
            assert all(isinstance(result, AsyncResult) for result in results)
            assert [result.get() for result in results] == [1, [1], [8]]
            assert all(result.successful() for result in results)
            for iterator in (pool.imap(abs, [-1, -2]), pool.imap_unordered(abs, [-1, -2])):
                assert isinstance(iterator, IMapIterator)
                assert iter(iterator) is iterator
                assert sorted([iterator.next(timeout=30), next(iterator)]) == [1, 2]
                with pytest.raises(StopIteration):
                    iterator.next()
    finally:
        aktis.shutdown()


def test_results_that_are_not_there_yet(native: None, tmp_path: pathlib.Path) -> None:
    with Pool(1) as pool:
        os.mkfifo(tmp_path / "gate")
        result = pool.apply_async(lambda path: open(path).read(), (str(tmp_path / "gate"),))
        results = pool.imap(abs, [-1])
        with pytest.raises(multiprocessing.TimeoutError, match="not ready within 0"):
            result.get(timeout=0)
        with pytest.raises(multiprocessing.TimeoutError, match="not ready within 0"):
            results.next(timeout=0)
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        (tmp_path / "gate").write_text("open")
        assert result.get(timeout=30) == "open"
        assert result.successful()
        assert next(results) == 1


def test_the_queue_is_that_of_the_standard_library() -> None:
    queue = JoinableQueue(1)
    queue.put("work")
    assert queue.get(timeout=30) == "work"
    queue.task_done()
    queue.join()
    with pytest.raises(ValueError):
        queue.task_done()
    queue.close()
    queue.join_thread()
