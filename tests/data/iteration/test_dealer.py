"""Who gets which rows of a shared stream."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._iteration.dealer import Dealer

scripts = st.lists(
    st.one_of(st.integers(0, 30).map(lambda n: ("add", n)), st.integers(0, 4).map(lambda i: ("take", i)))
)


@settings(max_examples=250, deadline=None)
@given(st.integers(1, 5), st.booleans(), scripts)
def test_every_row_goes_to_one_consumer(n: int, equal: bool, script: list[tuple[str, int]]) -> None:
    dealer: Dealer[int] = Dealer(n, equal)
    got: list[list[int]] = [[] for _ in range(n)]

    def take(consumer: int) -> bool:
        cut = dealer.take(consumer)
        if cut is not None:
            start, low, high = cut
            got[consumer] += range(start + low, start + high)
        return cut is not None

    total = 0
    for what, number in script:
        if what == "add":
            dealer.add(total, number)  # a block is the number of its first row
            total += number
        else:
            assert dealer.has(number % n) == take(number % n)
    dealer.finish()
    while sum(take(consumer) for consumer in range(n)):
        pass
    assert all(dealer.done(consumer) for consumer in range(n))
    flat = [row for rows in got for row in rows]
    assert len(set(flat)) == len(flat) and set(flat) <= set(range(total))
    assert all(rows == sorted(rows) for rows in got)
    if equal:
        assert [len(rows) for rows in got] == [total // n] * n
    else:
        assert len(flat) == total


def test_blocks_flow_before_the_stream_ends() -> None:
    dealer: Dealer[str] = Dealer(2, True)
    for block in "abcd":
        dealer.add(block, 10)
    assert dealer.take(0) == ("a", 0, 10) and dealer.take(1) == ("b", 0, 10)
    assert dealer.take(0) == ("c", 0, 10) and dealer.take(1) == ("d", 0, 10)


def test_a_slow_consumer_holds_up_equal_shares_and_not_others() -> None:
    equal: Dealer[int] = Dealer(2, True)
    while not equal.full:
        equal.add(0, 5)
        equal.take(0)
    assert equal.slowest(0) == [1]
    free: Dealer[int] = Dealer(2, False)
    for _ in range(20):
        free.add(0, 5)
        free.take(0)
    assert not free.full and free.slowest(0) == []


def test_those_who_left_hold_up_nobody() -> None:
    dealer: Dealer[int] = Dealer(2, True)
    dealer.leave(1)
    for _ in range(20):
        dealer.add(0, 5)
        assert not dealer.full
        dealer.take(0)
    assert dealer.done(1) and not dealer.abandoned
    dealer.leave(0)
    assert dealer.abandoned


def test_local_blocks_first() -> None:
    dealer: Dealer[str] = Dealer(2, False)
    for block in "abc":
        dealer.add(block, 1)
    assert dealer.take(0, frozenset({1, 2})) == ("b", 0, 1)
    assert dealer.take(1, frozenset({7})) == ("a", 0, 1)
    assert dealer.waiting == ["c"]
