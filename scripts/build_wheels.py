"""Build the wheel and the source distribution of every package into dist/ (or the folder given).

The build backend runs in this interpreter's environment, which has it: no network, and the same backend for all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from _workspace import ROOT, packages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", nargs="?", type=Path, default=ROOT / "dist")
    outdir = parser.parse_args().outdir
    for package in packages():
        command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(outdir), str(package)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for path in sorted(outdir.iterdir()):
        print(f"{path.stat().st_size:9,d}  {path.name}")


if __name__ == "__main__":
    main()
