"""One Ray cluster of two nodes for all tests of this folder; on its nodes no Aktis is installed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..helpers.ray_cluster import RayCluster

PROGRAMS = Path(__file__).parent / "programs"


def interpreter_without_aktis(folder: Path) -> str:
    """A virtual environment that sees what is installed here as files; Aktis is installed here as links (editable)."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    installed = dict.fromkeys(path for path in [*site.getsitepackages(), *sys.path] if path.endswith("site-packages"))
    (folder_of_packages(folder) / "installed.pth").write_text("\n".join(installed))
    python = str(folder / "bin" / "python")
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [python, "-c", "import aktis"], env=without, cwd=folder, capture_output=True, timeout=60, check=False
    )
    if not found.returncode:
        pytest.skip("Aktis is installed here as files: install it with --editable")
    return python


def folder_of_packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))


def interpreter_with_only_ray(folder: Path) -> str:
    """A virtual environment with Ray and what Ray asks for: links to the files that are installed here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    packages = folder_of_packages(folder)
    wanted, seen = ["ray", "grpcio"], set()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        required = [text for text in distribution.requires or () if "extra ==" not in text]
        wanted += [match[0] for text in required if (match := re.match(r"[\w.-]+", text))]
        for file in distribution.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__"):
                link, source = packages / top, Path(str(distribution.locate_file(top)))
                if not link.exists() and source.exists():
                    link.symlink_to(source)
    return str(folder / "bin" / "python")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Two nodes of two CPUs, with every library but Aktis."""
    pytest.importorskip("ray")
    pytest.importorskip("grpc")
    python = interpreter_without_aktis(tmp_path_factory.mktemp("nodes") / "python")
    with RayCluster.start(python) as cluster:
        yield cluster
        assert not cluster.gone(), [node.said() for node in cluster.gone()]
    assert cluster.processes() == {}


@pytest.fixture(params=["ray", "client"])
def address(request: pytest.FixtureRequest, cluster: RayCluster) -> str:
    """As a process of the cluster, and from outside of it."""
    return "ray" if request.param == "ray" else cluster.client_address
