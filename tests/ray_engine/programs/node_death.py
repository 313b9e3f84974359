"""A node is killed while a task, an actor and an object are on it: the one who runs this kills it when told "ready"."""

from __future__ import annotations

import os
import sys
import time

import numpy as np
import worker_deaths

import aktis
from aktis.exceptions import ActorDiedError, ActorUnavailableError, AktisActorError, AktisError, ObjectLostError


@aktis.remote
def large() -> np.ndarray:
    return np.ones(500_000)


@aktis.remote
def forever() -> None:
    while True:
        time.sleep(1)


@aktis.remote
def anywhere(x: int) -> int:
    return x + 1


def main(resource: str) -> None:
    there = {"resources": {resource: 0.1}, "num_cpus": 0}
    lost = large.options(max_retries=0, **there).remote()
    actor = worker_deaths.Mortal.options(**there).remote()
    assert aktis.get(actor.call.remote()) == 1
    aktis.wait([lost], fetch_local=False)
    task = forever.options(max_retries=0, **there).remote()
    pending = actor.call.remote()
    aktis.get(pending)
    before = len([node for node in aktis.nodes() if node["Alive"]])
    print("ready", flush=True)
    worker_deaths.raised(AktisError, task)
    deadline = time.monotonic() + 60
    while not isinstance(error := worker_deaths.raised(AktisActorError, actor.call.remote()), ActorDiedError):
        assert isinstance(error, ActorUnavailableError), error  # nobody answers there, and it is not known yet why
        assert time.monotonic() < deadline, error
        time.sleep(0.1)
    try:
        worker_deaths.raised(ObjectLostError, lost)
    except AssertionError:  # a client's wait() has made a copy on the head
        assert os.environ["AKTIS_ADDRESS"].startswith("ray://")
    assert aktis.get([anywhere.remote(x) for x in range(5)], timeout=100) == [1, 2, 3, 4, 5]
    deadline = time.monotonic() + 60
    while len([node for node in aktis.nodes() if node["Alive"]]) == before:
        assert time.monotonic() < deadline, "the cluster still counts the node"
        time.sleep(0.1)


if __name__ == "__main__":
    with aktis.init(log_to_driver=False):
        main(sys.argv[1])
    print("done")
