"""Values that cannot travel, and values that are too much for naive code."""

from __future__ import annotations

import threading

import pytest

import aktis
from aktis import exceptions


@pytest.fixture
def two(session):
    return session()


def test_an_argument_that_cannot_be_pickled_is_refused_at_the_call_with_its_path(two):
    @aktis.remote
    def take(config):
        return 1

    config = {"callbacks": [1, {"lock": threading.Lock()}]}
    with pytest.raises(TypeError, match=r"\['callbacks'\]\[1\]\['lock'\]|\[\"callbacks\"\]\[1\]\[\"lock\"\]"):
        take.remote(config)
    with pytest.raises(TypeError):
        aktis.put(config)
    assert aktis.get(take.remote({}), timeout=20) == 1


def test_a_result_that_cannot_be_pickled_fails_the_task(two):
    @aktis.remote
    def make():
        return {"deep": [threading.Lock()]}

    with pytest.raises(TypeError, match="lock"):
        aktis.get(make.remote(), timeout=20)

    @aktis.remote(num_returns=2)
    def make_two():
        return 1, threading.Lock()

    with pytest.raises(TypeError):
        aktis.get(make_two.remote(), timeout=20)


def test_an_exception_that_cannot_be_pickled_arrives_as_text(two):
    @aktis.remote
    def fail():
        class Strange(Exception):
            def __init__(self):
                super().__init__("the message of the strange one")
                self.lock = threading.Lock()

        raise Strange

    with pytest.raises(exceptions.AktisError, match="the message of the strange one"):
        aktis.get(fail.remote(), timeout=20)


def test_an_exception_that_fails_to_unpickle_arrives_as_text(two):
    @aktis.remote
    def fail():
        class TwoArguments(Exception):
            def __init__(self, code, text):
                super().__init__(f"{code}: {text}")

        raise TwoArguments(7, "words that must arrive")

    with pytest.raises(exceptions.AktisError, match="words that must arrive"):
        aktis.get(fail.remote(), timeout=20)


def test_a_result_that_fails_to_unpickle(two):
    class Bomb:
        def __reduce__(self):
            return eval, ("1/0",)

    @aktis.remote
    def make():
        return Bomb()

    ref = make.remote()
    for _ in range(2):
        with pytest.raises((ZeroDivisionError, exceptions.AktisError)):
            aktis.get(ref, timeout=20)
    assert aktis.get(aktis.put(3), timeout=20) == 3


def test_an_argument_that_fails_to_unpickle_fails_the_task_only(two):
    class Bomb:
        def __reduce__(self):
            return eval, ("1/0",)

    @aktis.remote
    def take(value):
        return value

    with pytest.raises(exceptions.AktisError):
        aktis.get(take.remote(Bomb()), timeout=20)
    assert aktis.get(take.remote(1), timeout=20) == 1


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, GeneratorExit, StopIteration, SystemExit, MemoryError, RecursionError]
)
def test_strange_exceptions_of_tasks_reach_the_caller(two, error):
    @aktis.remote(max_retries=0)
    def fail():
        raise error

    with pytest.raises((exceptions.AktisError, error)):
        aktis.get(fail.remote(), timeout=20)

    @aktis.remote
    def fine():
        return 1

    assert aktis.get(fine.remote(), timeout=20) == 1


def test_a_huge_result(two):
    numpy = pytest.importorskip("numpy")

    @aktis.remote
    def make():
        return numpy.ones(300_000_000, dtype=numpy.uint8)

    value = aktis.get(make.remote(), timeout=60)
    assert value.nbytes == 300_000_000 and value[-1] == 1
    assert not value.flags.writeable


def test_a_huge_result_without_buffers(two):
    @aktis.remote
    def make():
        return ["x" * 1000 + str(number) for number in range(50_000)]

    value = aktis.get(make.remote(), timeout=60)
    assert len(value) == 50_000 and value[-1].endswith("49999")


def test_a_huge_exception(two):
    @aktis.remote
    def fail():
        raise ValueError("x" * 5_000_000)

    with pytest.raises(ValueError):
        aktis.get(fail.remote(), timeout=30)


def test_ten_thousand_arguments(two):
    @aktis.remote
    def total(*numbers):
        return sum(numbers)

    assert aktis.get(total.remote(*range(10_000)), timeout=60) == sum(range(10_000))
    refs = [aktis.put(number) for number in range(10_000)]
    assert aktis.get(total.remote(*refs), timeout=60) == sum(range(10_000))


def test_three_thousand_returns(two):
    @aktis.remote(num_returns=3000)
    def many():
        return range(3000)

    assert aktis.get(many.remote(), timeout=60) == list(range(3000))


def test_ten_thousand_references_in_one_value(two):
    @aktis.remote
    def total(refs):
        return sum(aktis.get(refs))

    refs = [aktis.put(number) for number in range(10_000)]
    assert aktis.get(total.remote(refs), timeout=60) == sum(range(10_000))
