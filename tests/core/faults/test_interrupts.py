"""Ctrl-C at any moment."""

from __future__ import annotations

import signal
import time

import pytest

from .conftest import alive, descendants, wait_until

LOOPS = {
    "init": "while True:\n    aktis.init(num_cpus=1, log_to_driver=False)\n    aktis.shutdown()",
    "get of a long task": "aktis.get(sleep.remote())",
    "wait": "aktis.wait([sleep.remote()], timeout=1000)",
    "submission": "while True:\n    refs = [fine.remote(n) for n in range(100)]\n    aktis.get(refs)",
    "puts": "while True:\n    aktis.get(aktis.put(bytes(300_000)))",
    "actor calls": "while True:\n    aktis.get([actor.call.remote() for _ in range(100)])",
    "new actors": "while True:\n    aktis.get(Actor.remote().call.remote())",
}

SCRIPT = """
signal.signal(signal.SIGINT, signal.default_int_handler)

@aktis.remote
def sleep():
    time.sleep(1000)

@aktis.remote
def fine(number):
    return number + 1

@aktis.remote
class Actor:
    def call(self):
        return "called"

{setup}
say("ready")
interrupts = 0
while interrupts < 5:
    try:
        try:
            while True:
{body}
        except KeyboardInterrupt:
            interrupts += 1
            say("interrupted")
    except KeyboardInterrupt:
        interrupts += 1
        say("interrupted")
signal.signal(signal.SIGINT, signal.SIG_IGN)
if not aktis.is_initialized():
    aktis.init(num_cpus=2, log_to_driver=False)
say(aktis.get(fine.options(num_cpus=0).remote(41), timeout=20), aktis.get(Actor.remote().call.remote(), timeout=20))
"""


def interrupt(one):
    """Python loses a KeyboardInterrupt that arrives in a finalizer: press again, as a person does."""
    for _ in range(3):
        one.signal(signal.SIGINT)
        if one.speaks(2):
            break
    return one.hear(10)


@pytest.mark.parametrize("what", LOOPS)
def test_an_interrupt_is_raised_and_the_session_goes_on(driver, files, what):
    setup = "" if what == "init" else "aktis.init(num_cpus=12, log_to_driver=False)\nactor = Actor.remote()"
    body = "\n".join("                " + line for line in LOOPS[what].splitlines())
    one = driver(SCRIPT.format(setup=setup, body=body))
    assert one.hear() == "ready"
    for number in range(5):
        time.sleep(0.13 + 0.071 * number)  # any moment will do: different ones
        assert interrupt(one) == "interrupted"
    assert one.hear() == "42 called"
    processes = descendants(one.pid)
    code, _, errors = one.end(10)
    assert code == 0, errors
    wait_until(lambda: not alive(processes) and not files.left(), 2.0, lambda: (alive(processes), files.left()))


def test_an_interrupt_that_nobody_catches_ends_the_driver(driver, files):
    one = driver(
        "signal.signal(signal.SIGINT, signal.default_int_handler)\naktis.init(num_cpus=1, log_to_driver=False)\n"
        "@aktis.remote\ndef sleep():\n    time.sleep(1000)\nref = sleep.remote()\nsay('ready')\naktis.get(ref)"
    )
    assert one.hear() == "ready"
    processes = descendants(one.pid)
    one.signal(signal.SIGINT)
    code, _, errors = one.end(10)
    assert code in (130, -signal.SIGINT)
    assert "KeyboardInterrupt" in errors
    wait_until(lambda: not alive(processes) and not files.left(), 2.0, lambda: (alive(processes), files.left()))
