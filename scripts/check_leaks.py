"""After a run of CI: is a process or a shared-memory file of ours still there?

    python scripts/check_leaks.py remember FILE      notes what is in /dev/shm
    python scripts/check_leaks.py compare FILE       fails for what is new, and for processes that outlived the run

Processes are recognised by the environment variable AKTIS_CI_RUN, which every process of the run inherits.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PATIENCE_S = 10.0  # sessions end within two seconds of their driver


def shared_memory() -> set[str]:
    return {entry.name for entry in SHARED_MEMORY.iterdir()} if SHARED_MEMORY.is_dir() else set()


def ancestors() -> set[int]:
    """This process and all above it: they carry the mark, and are no leak."""
    found, pid = set(), os.getpid()
    while pid > 1:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found


def left_processes(mark: str) -> dict[int, str]:
    needle = f"AKTIS_CI_RUN={mark}".encode()
    left = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in ancestors():
            continue
        try:
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                left[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended while we looked
            continue
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["remember", "compare"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.action == "remember":
        arguments.file.write_text(json.dumps(sorted(shared_memory())))
        return
    before = set(json.loads(arguments.file.read_text()))
    mark = os.environ["AKTIS_CI_RUN"]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        processes = left_processes(mark)
        files = {name for name in shared_memory() - before if "aktis" in name}
        if not processes and not files:
            print("no process and no shared memory left")
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    for pid, command in sorted(processes.items()):
        print(f"process {pid} is left: {command[:200]}", file=sys.stderr)
    for name in sorted(files):
        print(f"{SHARED_MEMORY / name} is left", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
