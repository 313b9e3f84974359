"""Shards in loops that are written for torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import aktis  # noqa: E402
import aktis.data  # noqa: E402
from aktis.air.config import DatasetConfig  # noqa: E402
from aktis.train._ingest import Ingest  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("session")]


def dataset() -> Any:
    return aktis.data.range_table(120, parallelism=6).map_batches(
        lambda batch: {"x": np.stack([batch["value"], -batch["value"]], 1).astype("float32"), "y": batch["value"] % 2},
        batch_format="numpy",
    )


@pytest.fixture(params=[-1, 0], ids=["kept", "streamed"])
def shard(request: pytest.FixtureRequest) -> Iterator[Any]:
    config = DatasetConfig(split=True, max_object_store_memory_fraction=request.param, randomize_block_order=False)
    ingest = Ingest({"train": dataset()}, {"train": config}, None)
    yield ingest.shards([None])[0]["train"]  # type: ignore[list-item]
    ingest.close()


def test_batches_of_tensors_go_on_where_they_were(shard: Any) -> None:
    seen: list[float] = []
    for batch in shard.iter_torch_batches(batch_size=50):
        assert batch["x"].dtype == torch.float32 and batch["y"].dtype == torch.int64
        batch["x"] += 0  # they may be written to
        seen += batch["x"][:, 0].tolist()
        break
    shard.load_state_dict(shard.state_dict())
    for batch in shard.iter_torch_batches(batch_size=50, collate_fn=lambda b: torch.from_numpy(b["x"].copy())):
        seen += batch[:, 0].tolist()
    assert seen == list(range(120)) and shard.epoch == 1


def test_pairs_of_features_and_labels(shard: Any) -> None:
    pairs = shard.to_torch(label_column="y", feature_columns=["x"], batch_size=30, unsqueeze_feature_tensors=False)
    for _ in shard.iter_epochs(2):
        sizes = [(tuple(features.shape), tuple(label.shape)) for features, label in pairs]
        assert sizes == [((30, 2), (30, 1))] * 4
    assert shard.epoch == 2
    loader = torch.utils.data.DataLoader(pairs, batch_size=None)
    assert sum(len(label) for _, label in loader) == 120


def test_workers_of_a_data_loader_need_passes_of_their_own(shard: Any, request: pytest.FixtureRequest) -> None:
    pairs = shard.to_torch(label_column="y", batch_size=30)
    if "kept" in request.node.name:
        assert [len(label) for worker in range(2) for _, label in pairs._share(worker, 2, 0)] == [30] * 4
    else:
        with pytest.raises(ValueError, match=r"use DataLoader\(num_workers=0\)"):
            list(pairs._share(0, 2, 0))


def test_a_model_learns_from_it(shard: Any) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    losses = []
    for _ in range(3):
        total = 0.0
        for batch in shard.iter_torch_batches(batch_size=40):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(batch["x"])[:, 0], batch["x"][:, 0])
            loss.backward()
            optimizer.step()
            total += loss.item()
        losses.append(total)
    assert losses[2] < losses[1] < losses[0]
