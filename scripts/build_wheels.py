"""Build the source distribution and the wheel of every package into dist/ (or the folder given), and check them.

What is checked: the metadata, as an index would (twine); that the source distribution makes the very wheel that the
source tree makes; that the wheel holds our licence. The build backend runs in this process: no network, and the same
backend for all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from _workspace import ROOT, packages


def build(package: Path, outdir: Path, *, sdist: bool = False) -> Path:
    """The wheel (or source distribution) of a source tree. Its path."""
    from hatchling import build as backend  # it works on the current directory

    before = Path.cwd()
    outdir = outdir.resolve()
    outdir.mkdir(parents=True, exist_ok=True)
    os.chdir(package)
    try:
        return outdir / (backend.build_sdist if sdist else backend.build_wheel)(str(outdir))
    finally:
        os.chdir(before)


def files_of(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def wheel_of_sdist(sdist: Path, workdir: Path) -> Path:
    """The wheel that somebody gets who installs from the source distribution."""
    with tarfile.open(sdist) as archive:
        archive.extractall(workdir, filter="data")
    return build(workdir / sdist.name.removesuffix(".tar.gz"), workdir / "wheel")


def check(sdist: Path, wheel: Path, workdir: Path) -> None:
    direct, again = files_of(wheel), files_of(wheel_of_sdist(sdist, workdir))
    different = sorted(name for name in {*direct, *again} if direct.get(name) != again.get(name))
    if different:
        raise SystemExit(f"{sdist.name} makes another wheel than the source tree: {', '.join(different[:10])}")
    licence = (ROOT / "LICENSE").read_bytes()
    if licence not in [data for name, data in direct.items() if name.endswith(".dist-info/licenses/LICENSE")]:
        raise SystemExit(f"{wheel.name} does not hold the licence of the repository")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outdir", nargs="?", type=Path, default=ROOT / "dist")
    outdir = parser.parse_args().outdir.resolve()
    built = []
    for package in packages():
        sdist, wheel = build(package, outdir, sdist=True), build(package, outdir)
        with tempfile.TemporaryDirectory() as workdir:
            check(sdist, wheel, Path(workdir))
        built += [sdist, wheel]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)], check=True)
    for path in built:
        print(f"{path.stat().st_size:9,d}  {path.name}")


if __name__ == "__main__":
    main()
