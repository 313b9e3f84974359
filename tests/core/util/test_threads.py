"""Threads that work in place of an actor's main thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import aktis
from aktis.util import act_for_main_thread


@pytest.fixture
def one_cpu() -> Iterator[None]:
    aktis.init(mode="native", num_cpus=1, log_to_driver=False)
    yield
    aktis.shutdown()


@pytest.mark.usefixtures("one_cpu")
def test_a_thread_lends_the_cpu_while_it_waits_for_its_call() -> None:
    @aktis.remote
    def inner() -> int:
        return 7

    @aktis.remote
    def outer() -> list[int]:
        found: list[int] = []

        def work() -> None:
            act_for_main_thread()
            found.append(aktis.get(inner.remote(), timeout=30))  # there is one CPU, and outer() holds it

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found

    assert aktis.get(outer.remote(), timeout=40) == [7]


def test_without_a_session_there_is_nothing_to_say() -> None:
    assert not aktis.is_initialized()
    act_for_main_thread()
