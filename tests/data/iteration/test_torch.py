"""Batches of tensors, and to_torch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.data.iteration.helpers import Source, numbers, threads

from aktis.data._blocks import ITEM, from_batch
from aktis.data._iteration.methods import BatchSource
from aktis.data.collate_fn import ArrowBatchCollateFn, CollateFn, NumpyBatchCollateFn, PandasBatchCollateFn
from aktis.data.exceptions import BatchTypeError

torch = pytest.importorskip("torch")


def one(block: pa.Table, **arguments: Any) -> Any:
    return next(iter(Source([block]).iter_torch_batches(**arguments)))


def test_tensors_of_columns() -> None:
    batches = list(Source(numbers([5, 4])).iter_torch_batches(batch_size=4))
    assert [batch["x"].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert batches[0]["x"].dtype == torch.int64 and batches[0]["y"].dtype == torch.float64


def test_tensors_may_be_changed_and_share_nothing_with_the_block() -> None:
    (block,) = numbers([6])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for batch in Source([block]).iter_torch_batches(batch_size=3):
            batch["x"] += 100
    assert block.column("x").to_pylist() == list(range(6))


def test_dtypes() -> None:
    (block,) = numbers([3])
    assert {t.dtype for t in one(block, dtypes=torch.float16).values()} == {torch.float16}
    batch = one(block, dtypes={"x": torch.int32})
    assert (batch["x"].dtype, batch["y"].dtype) == (torch.int32, torch.float64)


def test_tensor_and_simple_data() -> None:
    images = np.arange(24.0).reshape(4, 2, 3)
    assert one(from_batch(images)).shape == (4, 2, 3)
    assert one(pa.table({ITEM: [1, 2, 3]})).tolist() == [1, 2, 3]
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.zeros(2), np.ones(3)]
    assert [t.tolist() for t in one(from_batch({"v": ragged}))["v"]] == [[0, 0], [1, 1, 1]]


def test_nulls_are_nan() -> None:
    batch = one(pa.table({"x": [1, None, 3]}))
    assert torch.isnan(batch["x"]).tolist() == [False, True, False]


def test_what_torch_cannot_hold_is_named() -> None:
    with pytest.raises(BatchTypeError, match=r"column 'name' has .*drop_columns"):
        one(pa.table({"x": [1], "name": ["a"]}))
    with pytest.raises(BatchTypeError, match="column 't' has values of type datetime64"):
        one(pa.table({"t": pa.array([0], pa.timestamp("us"))}))
    assert threads() == []


def test_collate_functions() -> None:
    (block,) = numbers([4])
    assert one(block, collate_fn=lambda batch: torch.as_tensor(batch["x"] * 2)).tolist() == [0, 2, 4, 6]

    class Arrow(ArrowBatchCollateFn):
        def __call__(self, batch: pa.Table) -> Any:
            return batch.num_rows, batch.column_names

    class Pandas(PandasBatchCollateFn):
        def __call__(self, batch: Any) -> Any:
            return [torch.tensor(batch["y"].to_numpy().sum())]

    class Numpy(NumpyBatchCollateFn):
        def __call__(self, batch: dict[str, np.ndarray]) -> Any:
            return {"x": torch.from_numpy(batch["x"])}

    class Plain(CollateFn):
        def __call__(self, batch: Any) -> Any:
            return type(batch), batch["x"].sum()

    assert one(block, collate_fn=Plain()) == (dict, 6)
    with pytest.raises(TypeError, match="abstract"):
        CollateFn()
    assert one(block, collate_fn=Arrow()) == (4, ["x", "y"])
    assert one(block, collate_fn=Pandas())[0].item() == 3.0
    assert one(block, collate_fn=Numpy(), device="cpu")["x"].tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="dtypes or a collate_fn"):
        one(block, collate_fn=Numpy(), dtypes=torch.int8)


def test_a_device_gets_all_tensors_of_nested_results() -> None:
    (block,) = numbers([4])
    nested = one(block, collate_fn=lambda b: {"a": [torch.zeros(2)], "b": (torch.ones(1), "text")}, device="meta")
    assert nested["a"][0].device.type == "meta" and nested["b"][0].device.type == "meta" and nested["b"][1] == "text"
    assert one(block, device=torch.device("meta"), batch_size=2)["x"].shape == (2,)
    assert one(block, device=None, pin_memory=True)["x"].device.type == "cpu"


# -- to_torch -----------------------------------------------------------------------------------


def pairs(source: BatchSource, **arguments: Any) -> list[Any]:
    return list(source.to_torch(**arguments))


@pytest.fixture
def flowers() -> Source:
    return Source([pa.table({"a": [1.0, 2.0, 3.0], "b": [4.0, 5.0, 6.0], "c": [7, 8, 9], "label": [0, 1, 0]})])


def test_features_side_by_side_and_a_label(flowers: Source) -> None:
    (features, label), (rest, _) = pairs(flowers, label_column="label", feature_columns=["a", "b"], batch_size=2)
    assert features.tolist() == [[1, 4], [2, 5]] and rest.tolist() == [[3, 6]]
    assert label.tolist() == [[0], [1]]
    dataset = flowers.to_torch(label_column="label", batch_size=3, unsqueeze_label_tensor=False)
    assert len(list(dataset)) == len(list(dataset)) == 1  # each loop is a pass
    features, label = next(iter(dataset))
    assert features.shape == (3, 3) and label.tolist() == [0, 1, 0]


def test_no_label(flowers: Source) -> None:
    ((features, label),) = pairs(flowers, feature_columns=["c"], batch_size=3)
    assert features.tolist() == [[7], [8], [9]] and label is None


def test_groups_of_features(flowers: Source) -> None:
    groups = [["a", "b"], ["c"]]
    ((features, _),) = pairs(
        flowers, feature_columns=groups, batch_size=3, feature_column_dtypes=[torch.float32, torch.int8]
    )
    assert [(f.shape, f.dtype) for f in features] == [((3, 2), torch.float32), ((3, 1), torch.int8)]
    ((features, _),) = pairs(flowers, feature_columns={"x": ["a"], "y": ["b", "c"]}, batch_size=3)
    assert features["x"].tolist() == [[1], [2], [3]] and features["y"].shape == (3, 2)
    with pytest.raises(ValueError, match="feature_column_dtypes has the keys"):
        pairs(flowers, feature_columns={"x": ["a"]}, feature_column_dtypes={"z": torch.int8})


def test_without_unsqueezing(flowers: Source) -> None:
    ((features, _),) = pairs(flowers, feature_columns=["a"], batch_size=3, unsqueeze_feature_tensors=False)
    assert features.tolist() == [1, 2, 3]
    vectors = from_batch({"v": np.ones((3, 5)), "w": np.zeros((3, 2)), "n": np.arange(3.0)})
    ((features, _),) = pairs(
        Source([vectors]), feature_columns=["v", "w"], batch_size=3, unsqueeze_feature_tensors=False
    )
    assert features.shape == (3, 7)
    with pytest.raises(ValueError, match="groups of their own"):
        pairs(Source([vectors]), feature_columns=["v", "n"], batch_size=3)


def test_errors(flowers: Source) -> None:
    with pytest.raises(KeyError, match="no such column: z"):
        pairs(flowers, feature_columns=["z"])
    with pytest.raises(TypeError, match="feature_columns is 'a'"):
        pairs(flowers, feature_columns="a")
    with pytest.raises(ValueError, match="mixes names and lists"):
        pairs(flowers, feature_columns=["a", ["b"]])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_data_loader(flowers: Source) -> None:
    dataset = flowers.to_torch(label_column="label", feature_columns=["c"], batch_size=1)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)
    assert [features.tolist() for features, _ in loader] == [[[7]], [[8]], [[9]]]
