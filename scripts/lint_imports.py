"""Check the import contracts of pyproject.toml over all distributions, as if they were one package.

import-linter looks for a package in one folder only, and ours is spread over packages/*: so the sources are put together
in a temporary folder first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from _workspace import ROOT, packages


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for package in packages():
            shutil.copytree(package / "src", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        environment = os.environ | {"PYTHONPATH": folder}
        command = [
            str(Path(sys.executable).with_name("lint-imports")),
            "--config",
            str(ROOT / "pyproject.toml"),
            "--no-cache",
        ]
        raise SystemExit(subprocess.run([*command, *sys.argv[1:]], cwd=folder, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
