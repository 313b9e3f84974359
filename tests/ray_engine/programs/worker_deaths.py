"""Workers that are killed: in a task, in an actor, and at once in many. Every wait ends, with an exception of ours."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import aktis
from aktis.exceptions import ActorDiedError, AktisActorError, AktisTaskError, GetTimeoutError, WorkerCrashedError

LIMIT_S = 100


@aktis.remote
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@aktis.remote
def die_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "second try"


@aktis.remote
def after(value: object) -> object:
    return value


@aktis.remote
class Mortal:
    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> int:
        self.calls += 1
        return self.calls

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def raised(kind: type[Exception], ref: object) -> Exception:
    """What ``get`` raises, which must be this."""
    try:
        value = aktis.get(ref, timeout=LIMIT_S)
    except kind as error:
        assert not isinstance(error, GetTimeoutError), error
        assert type(error).__module__.startswith("aktis"), type(error)
        return error
    raise AssertionError(f"no {kind.__name__}, but {value!r}")


def main(folder: Path) -> None:
    killed = die.options(max_retries=0).remote()
    raised(WorkerCrashedError, killed)
    raised(WorkerCrashedError, killed)  # and again
    raised(
        (WorkerCrashedError, AktisTaskError), after.options(max_retries=0).remote(die.options(max_retries=0).remote())
    )
    assert aktis.get(die_once.options(max_retries=1).remote(str(folder / "task")), timeout=LIMIT_S) == "second try"

    actor = Mortal.remote()
    assert aktis.get(actor.call.remote(), timeout=LIMIT_S) == 1
    error = raised(ActorDiedError, actor.die.remote())
    assert "Mortal" in str(error), error
    raised(ActorDiedError, actor.call.remote())

    phoenix = Mortal.options(max_restarts=1, max_task_retries=1).remote()
    assert aktis.get(phoenix.call.remote(), timeout=LIMIT_S) == 1
    raised(AktisActorError, phoenix.die.options(max_task_retries=0).remote())
    assert aktis.get(phoenix.call.remote(), timeout=LIMIT_S) == 1

    async def await_it() -> None:
        await Mortal.remote().die.remote()

    import asyncio

    try:
        asyncio.run(asyncio.wait_for(await_it(), LIMIT_S))
    except ActorDiedError:
        pass
    else:
        raise AssertionError("await raised nothing")
    ready, rest = aktis.wait([die.options(max_retries=0).remote() for _ in range(3)], num_returns=3, timeout=LIMIT_S)
    assert len(ready) == 3 and not rest


if __name__ == "__main__":
    with aktis.init(log_to_driver=False):
        main(Path(sys.argv[1]))
    print("done")
