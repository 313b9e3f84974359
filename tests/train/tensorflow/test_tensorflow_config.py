"""How TensorFlow workers find each other; none of it needs TensorFlow."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aktis.air.worker_group import WorkerGroup
from aktis.train.tensorflow import TensorflowConfig, _keras_fit
from aktis.train.tensorflow.config import TensorflowBackend, free_ports, tf_config, worker_hosts


@pytest.mark.usefixtures("session")
def test_each_worker_knows_all_of_them_and_itself() -> None:
    config = TensorflowConfig()
    assert config.backend_cls is TensorflowBackend
    with WorkerGroup(2, {"CPU": 1}) as group:
        config.backend_cls().on_start(group, config)
        said = [json.loads(text) for text in group.execute(os.getenv, "TF_CONFIG")]
    addresses = said[0]["cluster"]["worker"]
    assert said == [tf_config(0, addresses), tf_config(1, addresses)]
    assert [entry["task"] for entry in said] == [{"type": "worker", "index": 0}, {"type": "worker", "index": 1}]
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)  # they are on one machine


def worker(node: str, ip: str) -> Any:
    return SimpleNamespace(metadata=SimpleNamespace(node_id=node, node_ip=ip))


class Group(list[Any]):
    """As much of a worker group as is read."""

    @property
    def workers(self) -> list[Any]:
        return self


class Offering(Group):
    """Every machine offers the same ports."""

    def execute(self, function: Any, count: int) -> list[list[int]]:
        return [[7, 8, 9]] * count


def test_workers_of_several_machines_have_their_addresses() -> None:
    group: Any = Group([worker("a", "10.0.0.1"), worker("a", "10.0.0.1"), worker("b", "fd00::2")])
    assert worker_hosts(group) == ["10.0.0.1", "10.0.0.1", "[fd00::2]"]
    assert worker_hosts(Group([worker("a", "10.0.0.1")])) == ["127.0.0.1"]  # type: ignore[arg-type]


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from aktis.train.tensorflow.config import _free_ports

    assert len(set(free_ports(20))) == 20
    group: Any = Offering([None] * 3)
    assert _free_ports(group, ["h", "h", "h"]) == [7, 8, 9]
    assert _free_ports(group, ["h", "other", "h"]) == [7, 7, 8]


def test_keras_is_mended_when_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pretended"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "trainer.py").write_text(
        "class TensorFlowTrainer:\n    def _maybe_symbolic_build(self, iterator=None, data_batch=None): return 'built'\n"
        "def reduce_per_replica(values, strategy, reduction): return 'reduced'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_keras_fit, "TRAINER_MODULE", "pretended.trainer")
    finders = list(sys.meta_path)
    _keras_fit.mend()
    _keras_fit.mend()
    assert len(sys.meta_path) == len(finders) + 1
    import pretended.trainer as module  # type: ignore[import-not-found]

    assert sys.meta_path == finders
    mended = module.TensorFlowTrainer._maybe_symbolic_build
    assert mended.is_mended
    _keras_fit.mend()  # once is enough
    assert module.TensorFlowTrainer._maybe_symbolic_build is mended
    assert module.reduce_per_replica(1, None, "sum") == "reduced"
    trainer = module.TensorFlowTrainer()
    trainer._distribute_strategy = None
    assert trainer._maybe_symbolic_build(iterator=[]) is None
    for name in ("pretended", "pretended.trainer"):
        monkeypatch.delitem(sys.modules, name)


def test_a_keras_that_looks_different_is_left_alone() -> None:
    module = SimpleNamespace(reduce_per_replica=len)
    _keras_fit.mend_module(module)
    assert module.reduce_per_replica is len
