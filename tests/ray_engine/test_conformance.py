"""The conformance suite on the cluster of two nodes, from in it and from outside of it; and on Ray itself, the oracle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..helpers.ray_cluster import RayCluster

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 1500

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT_S + 100)]


def run_suite(arguments: list[str], environment: dict[str, str]) -> None:
    """Run it in a process of its own, and fail with its last lines."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=200", *arguments]
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "conformance")], env=environment, cwd=ROOT, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, "\n".join((done.stdout + done.stderr).splitlines()[-80:])
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 100, done.stdout[-500:]


def test_suite_on_two_nodes(cluster: RayCluster, address: str) -> None:
    environment = cluster.environment_of_driver()
    environment.pop("AKTIS_ADDRESS")
    run_suite(["--engine", "ray"], environment | {"AKTIS_TEST_RAY_ADDRESS": address})


def test_suite_on_ray_itself() -> None:
    pytest.importorskip("ray")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTEST_"))}
    run_suite(["--api", "ray"], environment | {"RAY_USAGE_STATS_ENABLED": "0"})
