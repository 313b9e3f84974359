"""Parameters and names that programs for Ray give, and that were added for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.shutdown()
    aktis.init(mode="inline", num_cpus=2, log_to_driver=False)
    yield
    aktis.shutdown()


def test_references_by_keyword() -> None:
    from aktis.experimental import get_object_locations
    from aktis.internal import free

    ref = aktis.put(1)
    assert aktis.get(object_refs=ref) == 1
    assert aktis.wait(object_refs=[ref], num_returns=1) == ([ref], [])
    aktis.cancel(object_ref=ref)
    assert list(get_object_locations(obj_refs=[ref])) == [ref]
    free(object_refs=[ref])
    with pytest.raises(aktis.exceptions.ObjectFreedError):
        aktis.get(ref, timeout=5)


def test_names_of_core() -> None:
    from aktis.util.accelerators import NVIDIA_A100, NVIDIA_TESLA_A100

    assert NVIDIA_TESLA_A100 == NVIDIA_A100
    assert aktis.get_runtime_context().current_placement_group_id is None


def test_a_trainable_under_its_older_name(tmp_path: Path) -> None:
    from aktis import air, tune

    def first(config: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("not yet")

    def second(config: dict[str, Any]) -> dict[str, Any]:
        return {"score": 1}

    run = air.RunConfig(name="run", local_dir=str(tmp_path), verbose=0)
    assert tune.Tuner(first, run_config=run).fit().num_errors == 1
    path = str(tmp_path / "run")
    with pytest.raises(ValueError, match="give one of them"):
        tune.Tuner.restore(path, first, overwrite_trainable=second)
    grid = tune.Tuner.restore(path, overwrite_trainable=second, restart_errored=True).fit()
    assert grid[0].metrics["score"] == 1


@pytest.mark.torch
def test_names_of_rllib() -> None:
    torch = pytest.importorskip("torch")
    from aktis.rllib.agents.ppo import APPOTorchPolicy
    from aktis.rllib.agents.sac import SACTorchPolicy
    from aktis.rllib.utils import force_list
    from aktis.rllib.utils.framework import get_activation_fn
    from aktis.rllib.utils.torch_utils import Swish

    assert (APPOTorchPolicy.__name__, SACTorchPolicy.__name__) == ("APPOTorchPolicy", "SACTorchPolicy")
    assert force_list(1, to_tuple=True) == (1,)
    assert force_list(None) == []
    assert get_activation_fn("relu") is torch.nn.ReLU
    x = torch.linspace(-2, 2, 5)
    assert torch.allclose(Swish()(x), torch.nn.functional.silu(x))
