"""Find out what is wrong: ``explain`` says why a result is not there, inline mode lets a debugger in.

Run: python examples/debugging.py
Needs: pip install aktis-core
Prints: explanations of results that wait, that cannot come, and that failed.
"""

from __future__ import annotations

import os
import time

import aktis


@aktis.remote
def parse(text: str) -> int:
    # In inline mode a breakpoint() here stops in your terminal: the task runs in this very process.
    return int(text)


@aktis.remote
def double(x: int) -> int:
    return 2 * x


@aktis.remote
def slow() -> int:
    time.sleep(1.0)
    return 21


def why_is_it_not_there() -> None:
    print("\n-- why is it not there yet?")
    with aktis.init(num_cpus=1):
        result = double.remote(slow.remote())
        print("while it waits: ", aktis.explain(result))
        impossible = double.options(resources={"unicorn": 1}).remote(1)
        ready, _ = aktis.wait([impossible], timeout=0.2)
        print("without a chance:", aktis.explain(impossible))
        assert not ready
        assert aktis.get(result) == 42
        print("when it is done:", aktis.explain(result))


def what_went_wrong() -> None:
    print("\n-- what went wrong?")
    with aktis.init(num_cpus=1):
        result = double.remote(parse.remote("forty-two"))
        try:
            aktis.get(result)
        except ValueError as error:  # what user code raised is what you catch
            print("caught:", str(error).strip().splitlines()[-1])
        print("explained:", aktis.explain(result))


def everything_in_one_process() -> None:
    print("\n-- inline: everything in this process, in a deterministic order")
    with aktis.init(mode="inline"):

        @aktis.remote
        def where() -> int:
            return os.getpid()

        assert aktis.get(where.remote()) == os.getpid()
        print("a task ran in process", os.getpid(), "which is this one")
        assert aktis.get(double.remote(parse.remote("21"))) == 42


if __name__ == "__main__":
    why_is_it_not_there()
    what_went_wrong()
    everything_in_one_process()
