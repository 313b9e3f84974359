"""What dies on a Ray cluster ends every wait for it, with an exception of ours, and takes nothing else along."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..helpers.ray_cluster import RayCluster
from .conftest import PROGRAMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def until_ready(cluster: RayCluster, address: str, program: str, *arguments: str) -> subprocess.Popen[str]:
    """A driver that runs, and has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / program), *arguments],
        env=cluster.environment_of_driver(address), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        process.kill()
        raise AssertionError(process.communicate()[1])
    return process


def test_workers_die(cluster: RayCluster, address: str, tmp_path: Path) -> None:
    assert "done" in cluster.run_file(PROGRAMS / "worker_deaths.py", str(tmp_path), address=address, limit_s=400)


def test_a_node_dies(cluster: RayCluster, address: str) -> None:
    node = cluster.add_node(1)
    resource = f"node-{len(cluster.nodes) - 1}"
    driver = until_ready(cluster, address, "node_death.py", resource)
    node.kill()
    output, errors = driver.communicate(timeout=300)
    cluster.nodes.remove(node)
    assert driver.returncode == 0, errors
    assert "done" in output


def test_the_driver_dies(cluster: RayCluster, address: str) -> None:
    driver = until_ready(cluster, address, "driver_death.py")
    driver.send_signal(signal.SIGKILL)
    driver.communicate(timeout=30)
    assert "done" in cluster.run_file(PROGRAMS / "driver_death.py", "look", address=address, limit_s=300)


CONNECTS = """
import aktis
try:
    aktis.init()
except ConnectionError as error:
    print("ConnectionError:", error)
"""


def test_a_wrong_token_is_refused(cluster: RayCluster, address: str) -> None:
    said = cluster.run(CONNECTS, address, 120, RAY_AUTH_TOKEN="0" * 64)
    assert said.startswith("ConnectionError:")
    assert "token" in said.lower()


def test_no_token_is_refused(cluster: RayCluster, address: str, tmp_path: Path) -> None:
    said = cluster.run(CONNECTS, address, 120, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="", HOME=str(tmp_path))
    assert said.startswith("ConnectionError:")
    assert "token" in said.lower()


@pytest.mark.parametrize("place", ["ray://127.0.0.1:1", "ray+127.0.0.1:1"])
def test_nobody_is_there(cluster: RayCluster, place: str) -> None:
    said = cluster.run(CONNECTS, place, 120)
    assert said.startswith("ConnectionError:")
    assert place in said
