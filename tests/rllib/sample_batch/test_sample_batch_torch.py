"""Batches of tensors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from aktis.rllib.policy.sample_batch import SampleBatch, concat_samples

pytestmark = pytest.mark.torch


def test_to_device_and_what_works_with_tensors() -> None:
    batch = SampleBatch(
        {"obs": {"a": np.zeros((4, 3))}, "infos": [{}] * 4, "actions": np.arange(4), "seq_lens": [1, 3]}
    )
    batch.to_device("cpu")
    assert batch["obs"]["a"].dtype == torch.float32 and batch["actions"].dtype == torch.int64
    assert batch["infos"].dtype == object
    assert batch.count == 4
    part = batch.slice(1, 4)
    assert part["actions"].tolist() == [1, 2, 3]
    joined = concat_samples([batch, batch])
    assert isinstance(joined["actions"], torch.Tensor) and joined.count == 8
    padded = batch.copy().right_zero_pad(3)
    assert padded["actions"].reshape(2, 3).tolist() == [[0, 0, 0], [1, 2, 3]]
