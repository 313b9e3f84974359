"""Calls in a thread: their order, failures, a queue that is full, and an end that does not come."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from aktis.air.integrations._background import Background


def test_calls_are_made_in_order_and_the_end_waits_for_them() -> None:
    background, calls = Background("Tool"), []
    for number in range(100):
        assert background.submit(calls.append, number)
    assert background.finish()
    assert calls == list(range(100))
    background.submit(calls.append, 100)  # it can begin again
    assert background.finish()
    assert calls[-1] == 100


def test_a_call_that_fails_is_said_once_and_the_next_are_made(caplog: pytest.LogCaptureFixture) -> None:
    background, calls = Background("Tool"), []
    for _ in range(3):
        background.submit(int, "no number")
    background.submit(calls.append, 1)
    assert background.finish()
    assert calls == [1]
    assert [record.levelname for record in caplog.records if record.levelno >= 30] == ["WARNING"]
    assert "A call to Tool failed: invalid literal" in caplog.text


def test_a_tool_that_is_stuck_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    background, release = Background("Tool", limit=2, patience_s=0.01, timeout_s=0.05), threading.Event()
    try:
        accepted = [background.submit(release.wait, 30) for _ in range(6)]
        assert accepted[0] and not accepted[-1]
        assert background.dropped >= 3
        assert not background.finish()
        assert "some of what goes to it is left out" in caplog.text
        assert "did not take everything within 0.05 s" in caplog.text
    finally:
        release.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "aktis-Tool"]:
        thread.join(10)
        assert not thread.is_alive(), "it came back, and has nothing to do"


def test_a_logger_that_is_dropped_leaves_no_thread() -> None:
    background, done = Background("Dropped"), threading.Event()
    background.submit(done.set)
    assert done.wait(10)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "aktis-Dropped")
    del background
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_a_process_that_ends_without_the_end_of_the_experiment_still_sends() -> None:
    code = (
        "import time\nfrom aktis.air.integrations._background import Background\n"
        "background = Background('Tool')\n"
        "for text in 'abc': background.submit(lambda t: (time.sleep(0.01), print(t, flush=True)), text)\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "a\nb\nc\n"
    )
