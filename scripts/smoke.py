"""Install the wheels as people do, in fresh environments outside of this repository, and try what is in them.

    python scripts/smoke.py                    build the wheels, then each alone, then all in one environment
    python scripts/smoke.py dist               the wheels of this folder
    python scripts/smoke.py dist --alone       without the environment that has all
    python scripts/smoke.py --only serve       one of them

What is tried is in ``smoke_test.py``. Dependencies come from the package index; siblings only from the folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from _workspace import ROOT, packages
from build_wheels import build

INSTALL_S, TRY_S = 600, 120
"""How long pip, and one smoke test, may take."""


def wheels_in(folder: Path) -> list[Path]:
    found = sorted(folder.glob("aktis_*.whl"))
    names = {path.name.split("-")[0].removeprefix("aktis_") for path in found}
    missing = {package.name for package in packages()} - names
    if missing or len(found) != len(names):
        raise SystemExit(
            f"{folder}: expected one wheel of each distribution; {len(found)} are there, missing: {missing or 'none'}"
        )
    return found


def try_wheels(wheels: list[Path], workdir: Path) -> None:
    """One environment with these wheels, and the smoke test of each. Raises CalledProcessError or TimeoutExpired."""
    environment = workdir / "venv"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin/python")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--find-links",
        str(wheels[0].parent),
    ]
    subprocess.run([*install, *map(str, wheels), "numpy"], check=True, timeout=INSTALL_S, cwd=workdir)
    subprocess.run([python, "-m", "pip", "check"], check=True, timeout=TRY_S, cwd=workdir, stdout=subprocess.DEVNULL)
    script = shutil.copy(ROOT / "scripts/smoke_test.py", workdir)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for wheel in wheels:
        subprocess.run([python, script, wheel.name], check=True, timeout=TRY_S, cwd=workdir, env=clean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", nargs="?", type=Path, help="folder with the wheels; default: they are built")
    parser.add_argument("--alone", action="store_true", help="each wheel in an environment of its own, and no more")
    parser.add_argument("--only", metavar="NAME", help="one distribution, such as serve")
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        dist = arguments.dist.resolve() if arguments.dist else Path(temporary, "dist")
        if not arguments.dist:
            for package in packages():
                build(package, dist)
        wheels = wheels_in(dist)
        groups = {wheel.name.split("-")[0].removeprefix("aktis_"): [wheel] for wheel in wheels}
        if arguments.only:
            groups = {arguments.only: groups[arguments.only]}
        elif not arguments.alone:
            groups["all of them"] = wheels
        for name, group in groups.items():
            begin = time.monotonic()
            print(f"---- {name}", flush=True)
            with tempfile.TemporaryDirectory(dir=temporary) as workdir:
                try:
                    try_wheels(group, Path(workdir))
                except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                    failed.append(name)
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
            print(f"{time.monotonic() - begin:.0f} s", flush=True)
    raise SystemExit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
