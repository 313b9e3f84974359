"""What this machine can do without any framework: the limits that the figures are compared with.

Run by core.py in a process of its own: ``python _limits.py [--quick] NAME...`` writes one line of JSON per figure.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import socket
from collections.abc import Callable

from _measure import Effort, measure, rate

MESSAGE = b"x" * 64
CALL = ("method", (1, "argument"), {})


def socketpair_ping_pong(effort: Effort) -> list[float]:
    """64 bytes to a forked process and back, over a Unix socket pair: nothing can be faster than the kernel."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            while data := theirs.recv(256):
                theirs.sendall(data)
        finally:
            os._exit(0)
    theirs.close()

    def ping() -> None:
        ours.sendall(MESSAGE)
        ours.recv(256)

    try:
        return rate(ping, effort)
    finally:
        ours.close()  # the child reads the end of the stream, and exits
        os.waitpid(pid, 0)


def pipe_ping_pong(effort: Effort) -> list[float]:
    """A pickled call to a forked process and its pickled result back, over multiprocessing.Pipe."""
    ours, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            while True:
                theirs.send(theirs.recv()[1])
        except EOFError:
            pass
        finally:
            os._exit(0)
    theirs.close()

    def ping() -> None:
        ours.send(CALL)
        ours.recv()

    try:
        return rate(ping, effort)
    finally:
        ours.close()
        os.waitpid(pid, 0)


def small_value() -> bytes:
    return b"ok"


def pool_apply_async(effort: Effort) -> list[float]:
    """multiprocessing.Pool of two processes: submit 1,000 calls, then get all results."""
    with multiprocessing.get_context("fork").Pool(2) as pool:

        def batch() -> None:
            for result in [pool.apply_async(small_value) for _ in range(1000)]:
                result.get()

        return rate(batch, effort, per_call=1000)


def warm_memcpy(effort: Effort) -> list[float]:
    """Copy 800 MB between arrays whose pages exist already, in GB/s."""
    import numpy as np

    source = np.random.default_rng(0).integers(0, 256, 800_000_000, dtype=np.uint8)
    target = np.ones_like(source)

    def copy() -> None:
        np.copyto(target, source)

    return [sample * 0.8 for sample in rate(copy, effort)]


LIMITS: dict[str, tuple[str, Callable[[Effort], list[float]]]] = {
    "socketpair_ping_pong": ("1/s", socketpair_ping_pong),
    "pipe_ping_pong": ("1/s", pipe_ping_pong),
    "pool_apply_async": ("1/s", pool_apply_async),
    "warm_memcpy": ("GB/s", warm_memcpy),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    effort = Effort.quick() if arguments.quick else Effort()
    for name in arguments.names or LIMITS:
        unit, limit = LIMITS[name]
        measure(name, unit, lambda limit=limit: limit(effort)).write()  # type: ignore[misc]


if __name__ == "__main__":
    main()
