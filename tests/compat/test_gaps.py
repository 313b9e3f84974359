"""Parameters and names that programs for Ray give, and that were added for them."""

from __future__ import annotations

from collections.abc import Iterator
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
