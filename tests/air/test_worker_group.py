"""Workers that run any function: what is in each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import aktis
from aktis.air.worker_group import WorkerGroup, WorkerHost, WorkerMetadata


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    aktis.shutdown()
    aktis.init(mode="inline", num_cpus=2)
    yield
    aktis.shutdown()


class Counter(WorkerHost):
    def __init__(self, start: int) -> None:
        self.count = start

    def add(self, amount: int) -> int:
        self.count += amount
        return self.count


class Plain:
    def name(self) -> str:
        return type(self).__name__


def test_a_host_of_ones_own_is_what_the_workers_are() -> None:
    with WorkerGroup(2, actor_cls=Counter, actor_args=(10,)) as group:
        assert aktis.get([worker.actor.add.remote(1) for worker in group.workers]) == [11, 11]
        assert group.execute(os.getpid) == [os.getpid()] * 2
        assert group.execute_single(1, max, 1, 5) == 5
        metadata = group.workers[0].metadata
        assert isinstance(metadata, WorkerMetadata) and metadata.pid == os.getpid()
        assert metadata.node_id == aktis.get_runtime_context().get_node_id()


def test_any_class_becomes_a_host() -> None:
    with WorkerGroup(1, actor_cls=Plain) as group:
        assert group.execute(len, "abc") == [3]
        assert aktis.get(group.workers[0].actor.name.remote())


def test_a_host_runs_functions_wherever_it_is() -> None:
    assert WorkerHost().execute(lambda a, b=0: a - b, 3, b=1) == 2
    assert WorkerHost().metadata().hostname == os.uname().nodename
