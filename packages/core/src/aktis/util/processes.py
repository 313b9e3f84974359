"""Facts about processes, on every system that Aktis runs on."""

from __future__ import annotations

import os

from aktis._systems import count_cpus, peak_memory

__all__ = ["count_cpus", "is_alive", "peak_memory", "started", "state"]


def is_alive(pid: int) -> bool:
    """Whether there is a process with this number, whoever's it is. A zombie is one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def started(pid: int) -> int | None:
    """When a process was started, in hundredths of a second since some moment; None when there is none, or it has ended.

    It tells a process from a later one with the same number. A zombie has ended.
    """
    if os.path.exists("/proc/self/stat"):
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else int(fields[19])
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.Error:
        return None


def state(pid: int) -> str | None:
    """What a process is doing, in a word or two of the system; None when there is none."""
    if os.path.exists("/proc/self/status"):
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                return next((line.split(":", 1)[1].strip() for line in file if line.startswith("State:")), None)
        except OSError:
            return None
    import psutil

    try:
        return str(psutil.Process(pid).status())
    except psutil.Error:
        return None
