"""Which shard a training loop gets."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from aktis.train._ingest import pick_shard
from aktis.train.error import DatasetMissingError

SHARDS: Any = {"train": object(), "valid": object()}


def test_by_name_or_the_only_one() -> None:
    assert pick_shard(SHARDS, "valid") is SHARDS["valid"]
    assert pick_shard({"a": SHARDS["train"]}) is SHARDS["train"]


@pytest.mark.parametrize(
    ("shards", "name", "message"),
    [
        (SHARDS, "nope", "'nope', which the trainer was not given; given are: 'train', 'valid'"),
        (SHARDS, None, r"several data sets \('train', 'valid'\): say which one, such as get_dataset_shard\('train'\)"),
        (
            {},
            "train",
            r"asked for the data set 'train', but the trainer was given none: pass datasets=\{'train': ...\}",
        ),
        ({}, None, "asked for a data set, but the trainer was given none"),
    ],
)
def test_a_data_set_that_is_missing(shards: Any, name: Any, message: str) -> None:
    with pytest.raises(DatasetMissingError, match=message):
        pick_shard(shards, name)


def test_a_name_that_is_none() -> None:
    with pytest.raises(TypeError, match="must be a string, not 3"):
        pick_shard(SHARDS, 3)  # type: ignore[arg-type]


def test_importing_it_is_cheap() -> None:
    code = "import sys, aktis.train._ingest; print({'pyarrow', 'pandas', 'numpy', 'torch', 'aktis.data'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
