"""A driver with actors and tasks, to be killed when it says "ready"; with an argument, one that looks what is left of it."""

from __future__ import annotations

import sys
import time

import aktis

NAMESPACE = "driver-death"


@aktis.remote(num_cpus=1)
class Holder:
    def ping(self) -> str:
        return "here"


@aktis.remote(num_cpus=1)
def forever() -> None:
    while True:
        time.sleep(1)


def leave() -> None:
    held = [Holder.options(name="mine").remote(), Holder.options(name="kept", lifetime="detached").remote()]
    assert aktis.get([actor.ping.remote() for actor in held]) == ["here", "here"]
    waiting = forever.remote()
    print("ready", flush=True)
    aktis.get(waiting)


def look() -> None:
    kept = aktis.get_actor("kept")
    assert aktis.get(kept.ping.remote(), timeout=60) == "here"
    deadline = time.monotonic() + 90
    while aktis.util.list_named_actors() != ["kept"] or aktis.available_resources().get("CPU", 0) < 3:
        assert time.monotonic() < deadline, (aktis.util.list_named_actors(), aktis.available_resources())
        time.sleep(0.1)
    aktis.kill(kept)


if __name__ == "__main__":
    with aktis.init(namespace=NAMESPACE, log_to_driver=False):
        look() if sys.argv[1:] else leave()
    print("done")
