"""The hand-off between the actor's thread and a function's, under interrupts."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from typing import Any

from aktis.air.function_run import Ended, FunctionRun, Reported, Stopped


class Interrupt(Exception):
    pass


class Interrupts:
    """Raises Interrupt in the main thread, again and again, while ``armed``."""

    def __init__(self) -> None:
        self.armed = False
        self.count = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGUSR1, self._interrupt)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        signal.signal(signal.SIGUSR1, self._before)

    def _interrupt(self, number: int, frame: Any) -> None:
        if self.armed:
            self.armed = False
            self.count += 1
            raise Interrupt

    def _send(self) -> None:
        randomness = random.Random(0)
        main = threading.main_thread().ident
        assert main is not None
        while not self._over.wait(randomness.uniform(0, 2e-4)):
            signal.pthread_kill(main, signal.SIGUSR1)


def test_interrupts_anywhere_do_no_harm() -> None:
    """However often waiting is cut off: results come in order, each once, and the function is never ahead."""
    reports = 2000
    told: list[int] = []

    def function() -> None:
        for number in range(reports):
            told.append(number)
            run.report({"x": number})

    run = FunctionRun(function, "function")
    run.next()
    taken: list[int] = [0]
    with Interrupts() as interrupts:
        while True:
            event = None
            try:
                interrupts.armed = True
                event = run.next()
                interrupts.armed = False
            except Interrupt:
                assert interrupts.count < 100 * reports, "the function makes no progress"
            if isinstance(event, Ended):
                break
            if event is not None:
                taken.append(event.metrics["x"])
                assert told[-1] == taken[-1]
    assert interrupts.count > 10, "the test tests nothing"
    assert taken == sorted(set(taken))
    assert reports - len(taken) <= interrupts.count, (
        "only what was on its way out when an interrupt came may be missing"
    )
    assert run.stop(5)


def test_many_threads_take_turns() -> None:
    def function() -> None:
        threads = [threading.Thread(target=report, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def report(number: int) -> None:
        for count in range(50):
            run.report({"from": number, "count": count})

    run = FunctionRun(function, "function")
    seen: dict[int, list[int]] = {}
    while not isinstance(event := run.next(), Ended):
        seen.setdefault(event.metrics["from"], []).append(event.metrics["count"])
    assert seen == {number: list(range(50)) for number in range(8)}
    assert run.stop(5)


def test_a_stop_ends_all_threads_that_report() -> None:
    ended = []

    def function() -> None:
        threads = [threading.Thread(target=report) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def report() -> None:
        with contextlib.suppress(Stopped):  # a SystemExit: pytest minds it in a thread, Python does not
            try:
                while True:
                    run.report({})
            finally:
                ended.append(1)

    run = FunctionRun(function, "function")
    for _ in range(20):
        run.next()
    assert run.stop(5)
    assert len(ended) == 4


def test_a_report_is_handed_over_and_a_stop_comes_out_of_it() -> None:
    seen: list[BaseException] = []

    def function() -> None:
        try:
            run.report({"x": 1}, "checkpoint")
        except SystemExit as error:
            seen.append(error)
            raise

    run = FunctionRun(function, "function")
    assert run.next() == Reported({"x": 1}, "checkpoint")
    assert run.stop(5)
    assert [type(error) for error in seen] == [Stopped] and seen[0].code == 0
