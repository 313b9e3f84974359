from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import aktis
from aktis.util import collective

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture
def members(native: None) -> list[Any]:
    @aktis.remote(num_cpus=0)
    class Member:
        def run(self, function: Any, *args: Any) -> Any:
            return function(*args)

    return [Member.remote(), Member.remote()]


def together(members: list[Any], function: Any) -> list[Any]:
    return aktis.get([member.run.remote(function, rank) for rank, member in enumerate(members)], timeout=50)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: collective.init_collective_group(2, 2), ValueError, "rank must be between 0 and 1"),
        (lambda: collective.init_collective_group(0, 0), ValueError, "world_size must be at least 1"),
        (lambda: collective.init_collective_group(1, 0, "nccl"), ValueError, "use backend='gloo'"),
        (lambda: collective.init_collective_group(1, 0, "mpi"), ValueError, "must be 'gloo', not 'mpi'"),
        (lambda: collective.init_collective_group(1, 0, group_name=""), ValueError, "non-empty"),
        (lambda: collective.create_collective_group([], 2, [0, 1]), RuntimeError, "as many actors and ranks"),
        (lambda: collective.create_collective_group([1, 2], 2, [0, 0]), RuntimeError, "each once"),
        (lambda: collective.allreduce([], "nowhere"), RuntimeError, "not in collective group 'nowhere'"),
        (lambda: collective.get_group_handle("nowhere"), RuntimeError, "call init_collective_group in it"),
        (lambda: collective.get_group_handle(""), ValueError, "non-empty"),
    ],
)
def test_what_is_refused(session: str, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
    assert collective.get_rank("nowhere") == -1
    assert collective.get_collective_group_size("nowhere") == -1
    assert not collective.is_group_initialized("nowhere")
    collective.destroy_collective_group("nowhere")


def test_availability() -> None:
    assert collective.is_backend_available("gloo") == HAS_TORCH
    assert collective.gloo_available() == HAS_TORCH
    assert not collective.is_backend_available("nccl")
    assert not collective.nccl_available()


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_the_error_without_torch_names_the_cure(session: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install aktis-core\[collective\]"):
        collective.init_collective_group(1, 0)


@pytest.mark.torch
def test_every_operation(members: list[Any]) -> None:
    def work(rank: int) -> dict[str, Any]:
        import numpy as np

        from aktis.util import collective as c

        c.init_collective_group(2, rank, "gloo", "all")
        found: dict[str, Any] = {"rank": c.get_rank("all"), "size": c.get_collective_group_size("all")}
        array = np.full(3, rank + 1, dtype=np.float32)
        c.allreduce(array, "all")
        found["sum"] = array.tolist()
        array[:] = rank + 1
        c.allreduce(array, "all", op=c.ReduceOp.PRODUCT)
        found["product"] = array.tolist()
        array[:] = rank
        c.broadcast(array, 1, "all")
        found["broadcast"] = array.tolist()
        array[:] = rank
        c.reduce(array, 0, "all", op=c.ReduceOp.MAX)
        found["reduce"] = array.tolist() if rank == 0 else None
        parts = [np.zeros(1) for _ in range(2)]
        c.allgather(parts, np.full(1, float(rank)), "all")
        found["allgather"] = [part.tolist() for part in parts]
        part = np.zeros(1)
        c.reducescatter(part, [np.full(1, 1.0), np.full(1, 10.0)], "all")
        found["reducescatter"] = part.tolist()
        message = np.arange(4) if rank == 0 else np.zeros(4, dtype=np.int64)
        if rank == 0:
            c.send(message, 1, "all")
        else:
            c.recv(message, 0, "all")
        found["message"] = message.tolist()
        c.barrier("all")
        c.destroy_collective_group("all")
        found["left"] = not c.is_group_initialized("all")
        return found

    first, second = together(members, work)
    assert (first["rank"], second["rank"], first["size"]) == (0, 1, 2)
    for found in (first, second):
        assert found["sum"] == [3, 3, 3]
        assert found["product"] == [2, 2, 2]
        assert found["broadcast"] == [1, 1, 1]
        assert found["allgather"] == [[0], [1]]
        assert found["message"] == [0, 1, 2, 3]
        assert found["left"]
    assert first["reduce"] == [1, 1, 1]
    assert (first["reducescatter"], second["reducescatter"]) == ([2], [20])
    from aktis import _session

    assert _session.require_engine().request("kv_keys", namespace="aktis.collective", prefix=b"") == []


@pytest.mark.torch
def test_several_groups_and_tensors(members: list[Any]) -> None:
    def work(rank: int) -> tuple[list[float], list[float], str]:
        import numpy as np
        import torch

        from aktis.util import collective as c

        c.init_collective_group(2, rank, group_name="a")
        c.init_collective_group(2, 1 - rank, group_name="b")
        tensor, array = torch.ones(2), np.full(1, float(c.get_rank("b")))
        c.allreduce(tensor, "a")
        c.broadcast(array, 0, "b")
        try:
            c.init_collective_group(2, rank, group_name="a")
        except RuntimeError as error:
            return tensor.tolist(), array.tolist(), str(error)
        return [], [], ""

    for summed, sent, error in together(members, work):
        assert (summed, sent) == ([2, 2], [0])
        assert "already" in error


@pytest.mark.torch
def test_a_declared_group_is_joined_at_the_first_operation(members: list[Any]) -> None:
    def work(_: int) -> tuple[list[float], int]:
        import numpy as np

        from aktis.util import collective as c

        array = np.ones(1)
        c.allreduce(array, "declared")
        return array.tolist(), c.get_rank("declared")

    collective.create_collective_group(members, 2, [1, 0], group_name="declared")
    with pytest.raises(RuntimeError, match="exists already"):
        collective.create_collective_group(members, 2, [1, 0], group_name="declared")
    assert together(members, work) == [([2.0], 1), ([2.0], 0)]


@pytest.mark.torch
def test_a_member_that_does_not_come_is_named(members: list[Any]) -> None:
    def work(rank: int) -> str:
        from aktis.util import collective as c

        try:
            c.init_collective_group(3, rank, group_name="short", gloo_timeout=4000)
        except TimeoutError as error:
            return str(error)
        return ""

    first, second = together(members, work)
    assert "rank(s) [2] of 3 did not call" in first
    assert "rank 1 of collective group 'short'" in second


@pytest.mark.torch
def test_arrays_that_cannot_be_changed_in_place() -> None:
    import numpy as np

    aktis.init(mode="inline")
    try:
        collective.init_collective_group(1, 0, group_name="self")
        fixed = np.ones(2)
        fixed.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            collective.allreduce(fixed, "self")
        with pytest.raises(ValueError, match="contiguous"):
            collective.allreduce(np.ones((4, 4))[:, 1], "self")
        with pytest.raises(TypeError, match="not list"):
            collective.allreduce([1], "self")
        with pytest.raises(ValueError, match="no rank 3"):
            collective.broadcast(np.ones(1), 3, "self")
        with pytest.raises(ValueError, match="itself"):
            collective.send(np.ones(1), 0, "self")
        with pytest.raises(ValueError, match="list of 1 arrays"):
            collective.allgather([], np.ones(1), "self")
        with pytest.raises(RuntimeError, match="inline mode"):
            collective.init_collective_group(2, 0, group_name="two")
    finally:
        collective.destroy_collective_group("self")
        aktis.shutdown()
