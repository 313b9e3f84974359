"""Which addresses mean a Ray cluster, and what may be said along with them. Ray itself is not needed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import aktis
from aktis import _session, _settings


def resolve(**given: Any) -> tuple[str, _settings.InitSettings]:
    names = (
        "address", "num_cpus", "num_gpus", "resources", "labels", "object_store_memory", "mode", "preload", "namespace",
        "runtime_env", "log_to_driver", "logging_level", "logging_config", "job_config",
    )  # fmt: skip
    return _settings.resolve({**dict.fromkeys(names), **given}, {})


@pytest.mark.parametrize("address", ["ray", "ray://head:10001", "ray+10.0.0.1:6379"])
def test_addresses_of_ray_clusters(address: str) -> None:
    mode, settings = resolve(address=address)
    assert (mode, settings.address) == ("ray", address)


def test_other_addresses_are_not() -> None:
    assert resolve(address="rays:1234")[0] == "native"
    assert resolve()[0] == "native"


def test_the_mode_alone_is_the_cluster_that_can_be_found() -> None:
    mode, settings = resolve(mode="ray")
    assert (mode, settings.address) == ("ray", "ray")


def test_mode_and_address_must_fit() -> None:
    with pytest.raises(ValueError, match="mode='inline' cannot connect to the Ray cluster at address='ray'"):
        resolve(mode="inline", address="ray")
    with pytest.raises(ValueError, match=r"'ray://host:10001' or 'ray\+host:6379', got '10.0.0.1:1'"):
        resolve(mode="ray", address="10.0.0.1:1")


@pytest.mark.parametrize(
    "capacity", [{"num_cpus": 2}, {"num_gpus": 1}, {"resources": {"x": 1}}, {"labels": {"a": "b"}}, {"num_cpus": 0}]
)
def test_a_cluster_has_the_capacity_that_it_has(capacity: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(capacity))}: a session that runs already"):
        resolve(address="ray://head:10001", **capacity)


def test_capacities_are_left_aside_where_the_environment_chose_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKTIS_ADDRESS", "ray://head:10001")
    mode, settings = resolve(num_cpus=2, resources={"widget": 1})
    assert (mode, settings.address) == ("ray", "ray://head:10001")
    assert settings.num_cpus is None
    assert settings.resources == {}
    assert settings.left_aside == ("num_cpus", "resources")


def test_what_is_left_aside_is_said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """In the first session of a process too, and before the connection is tried."""
    monkeypatch.setenv("AKTIS_ADDRESS", "ray://127.0.0.1:1")
    program = "import aktis\ntry:\n    aktis.init(num_cpus=2)\nexcept (ConnectionError, ImportError):\n    pass"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert "num_cpus: left aside, this session runs on the cluster at ray://127.0.0.1:1" in capfd.readouterr().err
    with pytest.raises(ValueError, match="num_cpus"):
        resolve(address="ray", num_cpus=2)


@pytest.fixture
def no_session() -> None:
    if aktis.is_initialized():
        aktis.shutdown()


def test_without_ray_the_error_names_the_extra(no_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "aktis-core\[ray\]"'):
        aktis.init("ray://head:10001", configure_logging=False)
    assert _session.current is None


def test_aktis_compat_and_a_ray_cluster_exclude_each_other(no_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import aktis.compat._install as install

    monkeypatch.setattr(install, "_finders", [object()])
    with pytest.raises(ImportError, match="import aktis as ray"):
        aktis.init("ray", configure_logging=False)
