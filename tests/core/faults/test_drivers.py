"""Drivers that end: as they should, too early, by a signal, in the middle of something."""

from __future__ import annotations

import os
import signal
import time

import pytest

from .conftest import alive, descendants, process_table, wait_until

BUSY = """
aktis.init(num_cpus=3, log_to_driver=False)

@aktis.remote
def sleep():
    time.sleep(1000)

@aktis.remote
class Actor:
    def big(self):
        return bytes(5_000_000)

detached = Actor.options(name="it", lifetime="detached").remote()
actor = Actor.remote()
refs = [aktis.put(bytes(2_000_000)), actor.big.remote(), detached.big.remote()]
aktis.get(refs, timeout=30)
running = [sleep.remote() for _ in range(2)]
time.sleep(0.2)

def wait_in_thread():
    try:
        aktis.get(running)
    except aktis.exceptions.AktisError:
        pass

say("ready")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_two_seconds_after_its_driver_was_killed_nothing_of_a_session_is_left(driver, files, number):
    one = driver(BUSY + "time.sleep(1000)")
    assert one.hear() == "ready"
    processes = descendants(one.pid)
    assert len(processes) >= 5  # node, zygote, three workers
    assert files.left()
    begin = time.monotonic()
    one.signal(number)
    wait_until(lambda: not alive(processes) and not files.left(), 2.0, lambda: (alive(processes), files.left()))
    assert time.monotonic() - begin < 2.0
    assert one.end()[0] != 0


def test_a_driver_killed_while_it_starts(driver, files):
    """At ten moments of init."""
    for step in range(10):
        one = driver("say('go')\naktis.init(num_cpus=2, log_to_driver=False)\nsay('ready')\ntime.sleep(1000)")
        assert one.hear() == "go"
        time.sleep(step * 0.03)
        processes = descendants(one.pid)
        one.signal(signal.SIGKILL)
        one.end()
        wait_until(lambda found=processes: not alive(found) and not files.left(), 3.0, lambda: files.left())


def test_the_node_daemon_is_killed(driver, files):
    """The driver raises; it does not hang. Afterwards it can begin anew."""
    one = driver(
        BUSY
        + """
try:
    aktis.get(running, timeout=60)
except aktis.exceptions.LocalNodeDiedError as error:
    say("raised")
except aktis.exceptions.AktisError as error:
    say("raised", type(error).__name__, error)
try:
    aktis.get(sleep.remote(), timeout=60)
except aktis.exceptions.GetTimeoutError:
    say("hung")
except aktis.exceptions.AktisError as error:
    say("raised again")
aktis.shutdown()
aktis.init(num_cpus=1)

@aktis.remote
def fine():
    return "fine"

say(aktis.get(fine.remote(), timeout=20))
"""
    )
    assert one.hear() == "ready"
    processes = descendants(one.pid)
    os.kill(node_of(one.pid), signal.SIGKILL)
    assert one.hear(10) == "raised"
    assert one.hear(10) == "raised again"
    assert one.hear() == "fine"
    wait_until(lambda: not alive(processes), 3.0, lambda: alive(processes))
    assert one.end()[0] == 0


def node_of(driver_pid):
    """The driver starts the zygote, and the zygote's first child is the node daemon."""
    table = process_table()
    [zygote] = [pid for pid, (parent, _) in table.items() if parent == driver_pid]
    return min((int(start), pid) for pid, (parent, start) in table.items() if parent == zygote)[1]


ENDS = {
    "the end of the script": "",
    "an exception": "raise RuntimeError('on purpose')",
    "sys.exit": "sys.exit(3)",
    "sys.exit in the middle of a loop": "for _ in range(100): refs.append(sleep.remote())\nsys.exit(3)",
    "os._exit": "os._exit(4)",
    "a waiting thread": "threading.Thread(target=wait_in_thread, daemon=True).start()\ntime.sleep(0.1)",
    "many waiting threads": (
        "for _ in range(8): threading.Thread(target=wait_in_thread, daemon=True).start()\ntime.sleep(0.1)"
    ),
    "a thread that submits": (
        "def submit():\n    try:\n        while True: aktis.put(1); actor.big.remote()\n"
        "    except Exception: pass\n"
        "threading.Thread(target=submit, daemon=True).start()\ntime.sleep(0.1)"
    ),
    "shutdown in another thread": "t = threading.Thread(target=aktis.shutdown); t.start()",
    "shutdown twice": "aktis.shutdown(); aktis.shutdown()",
    "references in globals of a dead session": "aktis.shutdown(); del refs[:]; del running[:]; del actor, detached",
    "an atexit handler that uses the session": (
        "import atexit\n"
        "atexit.register(lambda: say(aktis.get(aktis.put('late')) if aktis.is_initialized() else 'late'))"
    ),
    "a reference cycle": "class C: pass\nc = C(); c.me = c; c.ref = aktis.put(bytes(10**6)); c.actor = actor",
    "a view of shared memory": "value = aktis.get(refs)",
    "a running event loop": (
        "import asyncio\nasync def main():\n    asyncio.ensure_future(wait()); await asyncio.sleep(0.1); sys.exit(3)\n"
        "async def wait():\n    await running[0]\ntry:\n    asyncio.run(main())\nexcept SystemExit: pass"
    ),
    "a fork that exits": "pid = os.fork()\nif pid == 0: sys.exit(0)\nos.waitpid(pid, 0)",
    "a worker pool beside it": (
        "import concurrent.futures\nwith concurrent.futures.ThreadPoolExecutor(4) as pool:\n"
        "    print(list(pool.map(lambda n: aktis.get(aktis.put(n)), range(50))))"
    ),
}
CODES = {"an exception": 1, "sys.exit": 3, "sys.exit in the middle of a loop": 3, "os._exit": 4}


@pytest.mark.parametrize("end", ENDS)
def test_a_driver_ends_soon_cleanly_and_with_its_own_exit_code(driver, files, end):
    one = driver(BUSY + ENDS[end])
    assert one.hear() == "ready"
    processes = descendants(one.pid)
    code, _, errors = one.end(10)
    assert code == CODES.get(end, 0), errors
    if end == "an exception":
        assert errors.count("Traceback") == 1 and "on purpose" in errors
    elif end != "a running event loop":
        assert "Traceback" not in errors and "Exception ignored" not in errors, errors
    wait_until(lambda: not alive(processes) and not files.left(), 2.0, lambda: (alive(processes), files.left()))
