"""Workers forked from a process that has imported torch, and collectives between them."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator

import pytest

import aktis

pytestmark = [
    pytest.mark.torch,
    pytest.mark.timeout(120),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch: hatch run test-torch"),
]


@pytest.fixture(scope="module")
def warm_session() -> Iterator[None]:
    with aktis.init(num_cpus=2, preload=["torch"]):
        yield


def test_a_worker_has_torch_before_it_imports_it(warm_session: None) -> None:
    @aktis.remote
    def look() -> tuple[bool, float]:
        there = "torch" in sys.modules
        import torch

        return there, float(torch.ones(3).sum())

    assert aktis.get(look.remote()) == (True, 3.0)


def test_each_new_actor_is_a_process_of_its_own_and_computes(warm_session: None) -> None:
    @aktis.remote
    class Model:
        def __init__(self) -> None:
            import torch

            torch.manual_seed(0)
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, rows: int) -> tuple[int, int]:
            import torch

            return os.getpid(), int(self.layer(torch.ones(rows, 4)).shape[0])

    models = [Model.remote() for _ in range(3)]
    answers = aktis.get([model.forward.remote(5) for model in models])
    assert [rows for _, rows in answers] == [5, 5, 5]
    assert len({pid for pid, _ in answers} | {os.getpid()}) == 4


def test_tensors_come_back_as_they_were_sent(warm_session: None) -> None:
    import torch

    @aktis.remote
    def double(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    tensor = torch.arange(300_000, dtype=torch.float32)
    assert torch.equal(aktis.get(double.remote(tensor)), 2 * tensor)


def test_backward_works_in_a_forked_worker(warm_session: None) -> None:
    """Autograd starts threads of its own, after the fork."""

    @aktis.remote
    def slope() -> float:
        import torch

        x = torch.tensor(3.0, requires_grad=True)
        (x**2).backward()
        assert x.grad is not None
        return float(x.grad)

    assert aktis.get([slope.remote() for _ in range(4)]) == [6.0] * 4


def test_allreduce_between_actors(warm_session: None) -> None:
    @aktis.remote
    class Worker:
        def total(self, rank: int) -> list[float]:
            import numpy as np

            from aktis.util import collective

            collective.init_collective_group(world_size=2, rank=rank, backend="gloo", group_name="all")
            array = np.full(4, rank + 1, dtype=np.float32)
            collective.allreduce(array, group_name="all")
            return array.tolist()

    workers = [Worker.remote() for _ in range(2)]
    assert aktis.get([worker.total.remote(rank) for rank, worker in enumerate(workers)]) == [[3.0] * 4] * 2
