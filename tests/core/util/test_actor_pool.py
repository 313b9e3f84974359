from __future__ import annotations

import pytest

import aktis
from aktis.util import ActorPool


def make(count: int) -> list:
    @aktis.remote
    class Doubler:
        def double(self, value: int) -> int:
            return value * 2

        def fail(self, value: int) -> int:
            raise ValueError(f"bad {value}")

    return [Doubler.remote() for _ in range(count)]


def double(actor, value):
    return actor.double.remote(value)


def test_map_keeps_the_order(session: str) -> None:
    pool = ActorPool(make(2))
    assert list(pool.map(double, range(6))) == [0, 2, 4, 6, 8, 10]
    assert sorted(pool.map_unordered(double, range(6))) == [0, 2, 4, 6, 8, 10]


def test_map_throws_away_what_nobody_took(session: str) -> None:
    pool = ActorPool(make(1))
    pool.submit(double, 100)
    pool.submit(double, 200)
    assert list(pool.map(double, [1, 2])) == [2, 4]


def test_a_failed_call_gives_its_actor_back(session: str) -> None:
    pool = ActorPool(make(1))
    pool.submit(lambda actor, value: actor.fail.remote(value), 1)
    pool.submit(double, 2)
    with pytest.raises(ValueError, match="bad 1"):
        pool.get_next()
    assert pool.get_next() == 4
    assert not pool.has_next()
    with pytest.raises(StopIteration):
        pool.get_next()
    with pytest.raises(StopIteration):
        pool.get_next_unordered()


def test_members_come_and_go(session: str) -> None:
    first, second = make(2)
    pool = ActorPool([first])
    with pytest.raises(ValueError, match="belongs to this ActorPool"):
        pool.push(first)
    pool.submit(double, 1)
    assert not pool.has_free()
    assert pool.pop_idle() is None
    with pytest.raises(ValueError, match="belongs to this ActorPool"):
        pool.push(first)  # a busy one
    pool.submit(double, 2)
    pool.push(second)  # goes to work on what waits
    assert [pool.get_next(), pool.get_next()] == [2, 4]
    assert pool.pop_idle() in (first, second)
    assert pool.pop_idle() in (first, second)
    assert pool.pop_idle() is None


def test_a_late_result(native: None) -> None:
    @aktis.remote
    class Slow:
        async def hang(self, value: int) -> None:
            import asyncio

            await asyncio.Event().wait()

        async def echo(self, value: int) -> int:
            return value

    pool = ActorPool([Slow.remote()])
    pool.submit(lambda actor, value: actor.hang.remote(value), 1)
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01)
    assert pool.has_next()
    with pytest.raises(TimeoutError):
        pool.get_next(timeout=0.01, ignore_if_timedout=True)
    assert not pool.has_next()
    pool.submit(lambda actor, value: actor.echo.remote(value), 2)
    assert pool.get_next_unordered(timeout=30) == 2


def test_in_order_goes_on_after_out_of_order(session: str) -> None:
    pool = ActorPool(make(2))
    for value in (1, 2, 3):
        pool.submit(double, value)
    first = pool.get_next_unordered()
    rest = [pool.get_next(), pool.get_next()]
    assert rest == sorted({2, 4, 6} - {first})
