"""Feeding a training loop: the same MLP trained from a shard of a Dataset, and from tensors in memory.

    python benchmarks/_train_ingest.py            both, on 2 workers; and alone, where only the feeding is measured

Each worker is an actor with one thread for torch. All of them train at the same time, first from their shard, then from slices of
tensors that hold the same rows, in turns, so that both see the same machine. No gradients are exchanged: that would hide what is
measured.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

FEATURES, HIDDEN, CLASSES = 64, 128, 10
ROWS = 400_000
ROUNDS = 5


def rows(count: int) -> dict[str, np.ndarray]:
    """Data of a made-up classification."""
    draw = np.random.default_rng(0)
    return {
        "features": draw.standard_normal((count, FEATURES), dtype=np.float32),
        "label": draw.integers(0, CLASSES, count),
    }


class Trainee:
    """A worker: a model, a shard, and tensors with as many rows."""

    def __init__(self, count: int) -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self._torch = torch
        self._model = torch.nn.Sequential(
            torch.nn.Linear(FEATURES, HIDDEN),
            torch.nn.ReLU(),
            torch.nn.Linear(HIDDEN, HIDDEN),
            torch.nn.ReLU(),
            torch.nn.Linear(HIDDEN, CLASSES),
        )
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=0.01)
        data = rows(count)
        self._tensors = {name: torch.from_numpy(values) for name, values in data.items()}

    def from_memory(self, batch_size: int, train: bool) -> tuple[float, float]:
        """Seconds per row of an epoch over slices of tensors: by the clock, and of CPU time of all threads."""
        features, labels = self._tensors["features"], self._tensors["label"]

        def batches() -> Iterator[dict[str, Any]]:
            for at in range(0, len(labels), batch_size):
                yield {"features": features[at : at + batch_size], "label": labels[at : at + batch_size]}

        return self._epoch(batches, train)

    def from_shard(self, shard: Any, batch_size: int, train: bool, options: dict[str, Any]) -> tuple[float, float]:
        """The same over a shard."""
        return self._epoch(lambda: shard.iter_torch_batches(batch_size=batch_size, **options), train)

    def _epoch(self, batches: Callable[[], Any], train: bool) -> tuple[float, float]:
        loss_of = self._torch.nn.functional.cross_entropy
        begin, begin_cpu = time.perf_counter(), time.process_time()
        count = 0
        for batch in batches():
            count += len(batch["label"])
            if train:
                self._optimizer.zero_grad()
                loss_of(self._model(batch["features"]), batch["label"]).backward()
                self._optimizer.step()
        return (time.perf_counter() - begin) / count, (time.process_time() - begin_cpu) / count


def measure(
    batch_size: int,
    *,
    count: int = ROWS,
    workers: int = 2,
    rounds: int = ROUNDS,
    train: bool = True,
    config: Any = None,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Rows per second and worker from shards and from memory, and their ratio: medians of ``rounds`` pairs of epochs.

    ``of_memory_by_cpu_time`` is the ratio that a machine without idle cores sees; others on the machine disturb it little.

    Args:
        train: False: the loop only takes the batches.
        config: The DatasetConfig of the data set; None: kept in memory, and split.
        options: More arguments for ``iter_torch_batches``.
    """
    import aktis
    import aktis.data
    from aktis.air.config import DatasetConfig
    from aktis.train._ingest import Ingest

    dataset = _dataset(count)
    ingest = Ingest({"train": dataset}, {"train": config or DatasetConfig(split=True)}, None)
    trainees = [aktis.remote(num_cpus=1)(Trainee).remote(count // workers) for _ in range(workers)]
    aktis.get([trainee.from_memory.remote(batch_size, train) for trainee in trainees])  # warm
    shards = [shard["train"] for shard in ingest.shards([None] * workers)]
    shard_rates: list[float] = []
    memory_rates: list[float] = []
    cpu_ratios: list[float] = []
    first_s = 0.0
    for number in range(rounds + 1):
        for shard in shards:
            shard.set_epoch(number)
        began = time.perf_counter()
        calls = [t.from_shard.remote(s, batch_size, train, options or {}) for t, s in zip(trainees, shards)]
        of_shard = aktis.get(calls)
        if not number:  # the first epoch has caches to fill
            first_s = time.perf_counter() - began
            continue
        of_memory = aktis.get([trainee.from_memory.remote(batch_size, train) for trainee in trainees])
        shard_rates.append(1 / max(wall for wall, _ in of_shard))
        memory_rates.append(1 / max(wall for wall, _ in of_memory))
        cpu_ratios.append(sum(cpu for _, cpu in of_memory) / sum(cpu for _, cpu in of_shard))
    ingest.close()
    for trainee in trainees:
        aktis.kill(trainee)
    return {
        "batch_size": batch_size,
        "shard_rows_per_s": statistics.median(shard_rates),
        "memory_rows_per_s": statistics.median(memory_rates),
        "of_memory": statistics.median(a / b for a, b in zip(shard_rates, memory_rates)),
        "of_memory_by_cpu_time": statistics.median(cpu_ratios),
        "first_epoch_s": first_s,
    }


def _dataset(count: int) -> Any:
    import aktis.data

    data = rows(count)
    names = list(data)

    def table(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        part = slice(int(at["start"][0]), int(at["start"][0]) + STEP)
        return {name: data[name][part] for name in names}

    starts = [{"start": at} for at in range(0, count, STEP)]
    return aktis.data.from_items(starts).map_batches(table, batch_size=1, batch_format="numpy").materialize()


STEP = 50_000


def main() -> None:
    import aktis

    size = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    aktis.init(num_cpus=2, log_to_driver=False)
    for batch_size in (256, 1024):
        for train in (True, False):
            sys.stdout.write(json.dumps({"train": train, **measure(batch_size, count=size, train=train)}) + "\n")
            sys.stdout.flush()
    aktis.shutdown()


if __name__ == "__main__":
    main()
