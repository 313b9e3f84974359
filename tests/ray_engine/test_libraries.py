"""Every library from one end to the other, as a user's program whose only change is the address."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..helpers.ray_cluster import RayCluster
from .conftest import PROGRAMS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart.py"
NEEDS = {"xgboost_program": "xgboost", "torch_program": "torch", "rllib_program": "torch"}
ALL = ("basics", "data_program", "tune_program", "xgboost_program", "torch_program", "rllib_program", "serve_program")


@pytest.mark.parametrize("program", ALL)
def test_program_as_a_process_of_the_cluster(program: str, cluster: RayCluster, tmp_path: Path) -> None:
    if program in NEEDS:
        pytest.importorskip(NEEDS[program])
    assert "done" in cluster.run_file(PROGRAMS / f"{program}.py", str(tmp_path), limit_s=500)


@pytest.mark.parametrize("program", ALL)
def test_program_through_the_client(program: str, cluster: RayCluster, tmp_path: Path) -> None:
    if program in NEEDS:
        pytest.importorskip(NEEDS[program])
    output = cluster.run_file(PROGRAMS / f"{program}.py", str(tmp_path), address=cluster.client_address, limit_s=500)
    assert "done" in output


@pytest.mark.timeout(900)
def test_the_quickstart(cluster: RayCluster, tmp_path: Path) -> None:
    for name in ("optuna", "torch", "xgboost"):
        pytest.importorskip(name)
    report = tmp_path / "quickstart.html"
    output = cluster.run_file(QUICKSTART, "--report", str(report), limit_s=800)
    assert "all of them equal to the batch prediction" in output
    assert report.is_file()
