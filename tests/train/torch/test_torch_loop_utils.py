"""What a training loop calls, without a trainer: parts are given to pretended workers, one after the other."""

from __future__ import annotations

import copy
import os
import pickle
import random
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from torch import nn  # noqa: E402
from torch.utils.data import (  # noqa: E402
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from aktis.train import torch as train_torch  # noqa: E402
from aktis.train.torch import _amp, _data_loader, _world  # noqa: E402
from aktis.train.torch._worker_modules import worker_modules  # noqa: E402
from aktis.train.torch._world import World  # noqa: E402

TWO = [World(2, 0, 0), World(2, 1, 1)]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a test turns on stays on."""
    monkeypatch.setattr(_world, "_alone", _world.Run())
    yield
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)


def numbers(count: int = 10) -> TensorDataset:
    return TensorDataset(torch.arange(count))


def seen(loader: Any) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


# -- loaders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
def test_batches_are_those_of_a_distributed_sampler(shuffle: bool, drop_last: bool) -> None:
    for where in TWO:
        mine = _data_loader.distribute(DataLoader(numbers(11), 2, shuffle=shuffle, drop_last=drop_last), where)
        sampler = DistributedSampler(numbers(11), where.size, where.rank, shuffle=shuffle)
        plain = DataLoader(numbers(11), 2, sampler=sampler, drop_last=drop_last)
        assert len(mine) == len(plain)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            assert seen(mine) == seen(plain)


def test_an_epoch_can_be_set_and_counting_goes_on() -> None:
    mine = _data_loader.distribute(DataLoader(numbers(), 5, shuffle=True), TWO[0])
    epochs = [seen(mine) for _ in range(4)]
    assert epochs[0] != epochs[1]
    mine.sampler.set_epoch(2)
    assert [seen(mine), seen(mine)] == epochs[2:]
    for _ in range(2):  # of a loop that says it each time
        mine.sampler.set_epoch(1)
        assert seen(mine) == epochs[1]


def test_all_other_arguments_are_kept() -> None:
    generator = torch.Generator()
    collate = list
    init = print
    loader = DataLoader(
        numbers(), 3, shuffle=True, num_workers=2, collate_fn=collate, drop_last=True, timeout=7, worker_init_fn=init,
        generator=generator, prefetch_factor=5, persistent_workers=True, multiprocessing_context="spawn",
    )  # fmt: skip
    made = _data_loader.distribute(loader, TWO[1])
    for name in ("num_workers", "collate_fn", "drop_last", "timeout", "worker_init_fn", "generator", "prefetch_factor",
                 "persistent_workers", "multiprocessing_context", "batch_size", "dataset", "pin_memory"):  # fmt: skip
        assert getattr(made, name) == getattr(loader, name), name


def test_a_custom_sampler_is_replaced_with_a_warning() -> None:
    loader = DataLoader(numbers(), 2, sampler=WeightedRandomSampler([1.0] * 10, 10))
    with pytest.warns(UserWarning, match="replaces the WeightedRandomSampler"):
        made = _data_loader.distribute(loader, TWO[0])
    assert sorted(number for batch in seen(made) for number in batch) != list(range(10))
    assert made.sampler.shuffle


def test_what_is_distributed_already_is_left_alone() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    for loader in (
        DataLoader(Stream(), 2),
        DataLoader(numbers(), 2, sampler=DistributedSampler(numbers(), 2, 0)),
        DataLoader(numbers(), batch_sampler=BatchSampler(DistributedSampler(numbers(), 2, 0), 2, False)),
    ):
        assert _data_loader.distribute(loader, TWO[0]) is loader


def test_a_plain_batch_sampler_and_no_batches_at_all() -> None:
    loader = DataLoader(numbers(8), batch_sampler=BatchSampler(range(8), 3, True))
    with pytest.warns(UserWarning, match="replaces the range"):
        assert [len(batch) for batch in seen(_data_loader.distribute(loader, TWO[0]))] == [3]
    single = _data_loader.distribute(DataLoader(numbers(8), batch_size=None), TWO[1])
    assert [int(item[0]) for item in single] == [1, 3, 5, 7]


class Pairs(BatchSampler):
    """A batch sampler of the user's own."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[index, index] for index in range(self.count)])

    def __len__(self) -> int:
        return self.count


@given(count=st.integers(0, 20), size=st.integers(1, 6))
def test_batches_of_the_users_own_are_dealt_out(count: int, size: int) -> None:
    parts = [
        seen(_data_loader.distribute(DataLoader(numbers(20), batch_sampler=Pairs(count)), World(size, rank, 0)))
        for rank in range(size)
    ]
    rounds = -(-count // size)
    assert [len(part) for part in parts] == [rounds] * size
    dealt = [parts[index % size][index // size] for index in range(rounds * size)]
    assert dealt[:count] == [[index, index] for index in range(count)]
    assert all(batch in dealt[:count] for batch in dealt[count:])
    assert (
        len(_data_loader.distribute(DataLoader(numbers(20), batch_sampler=Pairs(count)), World(size, 0, 0))) == rounds
    )


def test_a_loader_that_cannot_be_made_anew() -> None:
    class Odd(DataLoader):
        def __init__(self, size: int) -> None:
            super().__init__(numbers(size))

    with pytest.raises(TypeError, match=r"cannot make another Odd .*add_dist_sampler=False"):
        _data_loader.distribute(Odd(4), TWO[0])


def test_processes_of_a_loader() -> None:
    loader = DataLoader(numbers(), 2, shuffle=True, num_workers=1, persistent_workers=True)
    made = _data_loader.distribute(loader, TWO[0])
    plain = _data_loader.distribute(DataLoader(numbers(), 2, shuffle=True), TWO[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fork in a process with threads
        for _ in range(2):
            assert seen(made) == seen(plain)
    del made


def test_alone_a_loader_stays_as_it_is() -> None:
    loader = DataLoader(numbers(), 2)
    assert train_torch.prepare_data_loader(loader) is loader
    with pytest.raises(TypeError, match="needs a torch.utils.data.DataLoader, not list"):
        train_torch.prepare_data_loader([1])  # type: ignore[arg-type]


class Point(NamedTuple):
    x: Any
    name: str


def test_batches_of_all_forms_go_to_the_device() -> None:
    """The device "meta" stands for a GPU."""
    tensor = torch.ones(2)
    batch = {"a": [tensor, "text"], "b": (tensor, {"c": tensor}), "point": Point(tensor, "p"), "n": 3}
    loader = DataLoader([batch], batch_size=None, collate_fn=lambda item: item)
    prepared = _data_loader.PreparedDataLoader(loader, torch.device("meta"), auto_transfer=True)
    (moved,) = list(prepared)
    assert {t.device.type for t in (moved["a"][0], moved["b"][0], moved["b"][1]["c"], moved["point"].x)} == {"meta"}
    assert (moved["a"][1], moved["point"].name, moved["n"]) == ("text", "p", 3)
    assert isinstance(prepared, DataLoader)
    assert (len(prepared), prepared.batch_size, prepared.sampler) == (1, None, loader.sampler)


# -- models ------------------------------------------------------------------------------------------------------------


def test_alone_a_model_stays_as_it_is() -> None:
    model = nn.Linear(2, 2)
    assert train_torch.prepare_model(model) is model
    assert train_torch.prepare_model(model, parallel_strategy="fsdp") is model
    assert train_torch.prepare_model(model, wrap_ddp=False) is model
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    assert train_torch.prepare_optimizer(optimizer) is optimizer
    assert train_torch.get_device() == torch.device("cpu")
    assert train_torch.get_devices() == [torch.device("cpu")]
    train_torch.backward(model(torch.ones(1, 2)).sum())
    assert model.weight.grad is not None


def test_what_cannot_be_prepared() -> None:
    with pytest.raises(TypeError, match="needs a torch.nn.Module, not str"):
        train_torch.prepare_model("model")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be 'ddp', 'fsdp', 'fsdp2' or None, not 'dp'"):
        train_torch.prepare_model(nn.Linear(1, 1), parallel_strategy="dp")
    with pytest.raises(TypeError, match=r"needs a torch.optim.Optimizer, not Linear"):
        train_torch.prepare_optimizer(nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed must be"):
        train_torch.enable_reproducibility(-1)


def test_mixed_precision_alone_and_without() -> None:
    train_torch.accelerate(amp=True)
    model = train_torch.prepare_model(nn.Linear(2, 2))
    assert model(torch.ones(1, 2)).dtype is torch.bfloat16
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.weight.zero_()
        twin.bias.zero_()
    assert twin(torch.ones(1, 2)).abs().sum() == 0
    assert model(torch.ones(1, 2)).abs().sum() > 0  # each has its own parameters
    plain = _amp.plain_forward(model)
    assert plain.weight is model.weight
    assert plain(torch.ones(1, 2)).dtype is torch.float32
    assert pickle.loads(pickle.dumps(plain))(torch.ones(1, 2)).dtype is torch.float32
    train_torch.accelerate()  # alone it may be changed
    assert train_torch.prepare_model(nn.Linear(2, 2))(torch.ones(1, 2)).dtype is torch.float32


def test_an_optimizer_with_scaled_gradients() -> None:
    """As on a GPU, with the scaler of the CPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    model = nn.Linear(2, 1)
    inner = torch.optim.SGD(model.parameters(), lr=1.0)
    optimizer = _amp.ScaledOptimizer(inner, scaler)
    assert isinstance(optimizer, torch.optim.Optimizer)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    scaler.scale(model(torch.ones(1, 2)).sum()).backward()
    before = model.bias.item()
    optimizer.unscale()
    optimizer.step()
    assert model.bias.item() == pytest.approx(before - 1)
    optimizer.zero_grad()
    assert model.bias.grad is None
    scheduler.step()
    assert inner.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"] == 0.5
    optimizer.load_state_dict(optimizer.state_dict())
    assert "SGD" in repr(optimizer)
    with pytest.raises(RuntimeError, match="needs a closure"):
        optimizer.step(lambda: 0.0)


def test_reproducibility() -> None:
    def draw() -> list[Any]:
        train_torch.enable_reproducibility(3)
        loader = train_torch.prepare_data_loader(DataLoader(numbers(), 5, shuffle=True))
        return [torch.rand(1).item(), random.random(), float(np.random.rand()), seen(loader), seen(loader)]

    assert draw() == draw()
    assert torch.are_deterministic_algorithms_enabled()


class Noise(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([random.random(), float(np.random.rand()), torch.rand(1).item()], dtype=torch.float64)


def test_processes_of_loaders_are_seeded_and_keep_what_the_user_gave() -> None:
    calls = torch.zeros(1).share_memory_()

    def init(worker_id: int) -> None:
        calls.add_(1)

    def draw() -> Any:
        train_torch.enable_reproducibility(0)
        loader = DataLoader(Noise(), 4, num_workers=1, worker_init_fn=init)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return next(iter(train_torch.prepare_data_loader(loader))).tolist()

    assert draw() == draw()
    assert calls.item() == 2


def test_seeding_keeps_samplers() -> None:
    for loader in (
        DataLoader(numbers(), 2, sampler=RandomSampler(numbers())),
        DataLoader(numbers(), batch_sampler=Pairs(3)),
        DataLoader(numbers(), batch_size=None),
    ):
        made = _data_loader.seeded(loader, 1)
        assert len(made) == len(loader)
        assert list(made) is not None


@pytest.mark.parametrize(
    ("given", "visible", "found"),
    [(["0"], None, [0]), (["3"], "", [3]), (["3", "1"], "1,3", [1, 0]), (["GPU-a"], "GPU-b, GPU-a", [1])],
)
def test_gpus_as_this_process_counts_them(given: list[str], visible: str | None, found: list[int]) -> None:
    assert _world.visible_indexes(given, visible) == found


def test_a_gpu_that_was_hidden() -> None:
    with pytest.raises(RuntimeError, match=r"CUDA_VISIBLE_DEVICES=0,1 lacks GPU 3"):
        _world.visible_indexes(["3"], "0,1")


def test_traces_of_the_profiler(tmp_path: Any) -> None:
    with pytest.warns(DeprecationWarning, match="TorchWorkerProfiler is deprecated"):
        profiler = train_torch.TorchWorkerProfiler(str(tmp_path / "traces"))
    activities = [torch.profiler.ProfilerActivity.CPU]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.profiler.profile(activities=activities, on_trace_ready=profiler.trace_handler):
            torch.ones(2) + 1
    ((name, text),) = profiler.get_and_clear_profile_traces()[profiler.KEY]
    assert name.startswith("worker_0_epoch_")
    assert "traceEvents" in text
    assert profiler.get_and_clear_profile_traces()[profiler.KEY] == []


def test_preloading_starts_no_threads_and_touches_no_gpu() -> None:
    """Else the process that workers are forked from would not take it (see the zygote), or forks could not use the GPU."""
    code = (
        "import os, torch\n"
        "def refuse(*_): raise AssertionError('the GPU is asked for')\n"
        "torch.cuda.is_available = torch.cuda.device_count = torch.cuda._lazy_init = refuse\n"
        "import aktis.train.torch._preload\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
    )
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=55, env={**os.environ, **single})


def test_workers_get_the_libraries_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformers", "transformers.models", "transformers.models.bert", "transformers._private"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    found = worker_modules()
    assert found[0] == "aktis.train.torch._preload"
    assert {"transformers", "transformers.models"} <= set(found)
    assert not {"transformers.models.bert", "transformers._private", "json"} & set(found)
