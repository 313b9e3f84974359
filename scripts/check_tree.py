"""What must not be in the repository: large or built files, somebody's home directory, secrets, unfinished code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from _workspace import ROOT

LARGEST = 500_000
BUILT = {".so", ".pyc", ".whl", ".gz", ".egg", ".o", ".a", ".dylib"}
FOREIGN = "tests/air/data/ray23"
EVERYWHERE = {
    "somebody's home directory": re.compile(r"/(?:home|Users)/[a-z]\w+/|/root/"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a merge conflict": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
}
IN_PACKAGES = {
    # An extension point may raise NotImplementedError, with a message that says which method to define.
    "unfinished code": re.compile(r"\b(?:TODO|FIXME|XXX)\b|raise NotImplementedError\b(?!\(\s*f?\"[^\"]{20,})"),
    "a debugger": re.compile(r"^\s*(?:import pdb|breakpoint\(\))", re.MULTILINE),
}


def problems(path: Path) -> list[str]:
    name = path.relative_to(ROOT)
    if path.suffix in BUILT:
        return [f"{name}: a built file"]
    data = path.read_bytes()
    if len(data) > LARGEST:
        return [f"{name}: {len(data):,} bytes, more than {LARGEST:,}"]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        is_sample = name.is_relative_to(FOREIGN)  # what other programs wrote, for us to read
        return [] if is_sample or path.suffix in {".png", ".ico", ".woff2"} else [f"{name}: neither text nor a picture"]
    rules = EVERYWHERE | (IN_PACKAGES if name.parts[0] == "packages" and path.suffix == ".py" else {})
    found = []
    for what, pattern in rules.items():
        if match := pattern.search(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{name}:{line}: {what}: {match.group().strip()}")
    return found


def main() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name and name != "scripts/check_tree.py"]
    found = [problem for path in files if path.is_file() for problem in problems(path)]
    print("\n".join(found) or f"{len(files)} files: nothing that should not be there", file=sys.stderr)
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
