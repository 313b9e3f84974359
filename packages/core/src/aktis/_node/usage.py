"""Memory figures: from /proc and the control group on Linux, which costs little, from psutil elsewhere."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_HAS_PROC = os.path.exists("/proc/self/statm")
_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def machine() -> tuple[int, int]:
    """(used, total) bytes of the machine or of our control group, whichever is tighter."""
    fields = _table("/proc/meminfo")
    if not fields:
        import psutil

        memory = psutil.virtual_memory()
        return memory.total - memory.available, memory.total
    total = fields.get("MemTotal", 0) * 1024
    used = total - fields.get("MemAvailable", 0) * 1024
    for limit_file, current_file, stat_file in _CGROUP_FILES:
        limit, current = _number(limit_file), _number(current_file)
        if limit is None or current is None or limit >= total:
            continue
        cache = _table(stat_file).get("inactive_file", 0)
        if limit - (current - cache) < total - used:
            used, total = max(0, current - cache), limit
    return used, total


def available_memory() -> int:
    """Bytes that could be used now."""
    used, total = machine()
    return max(0, total - used)


def unshared(pid: int) -> int:
    """Resident bytes of a process that are not files or shared memory; 0 when it is gone. Elsewhere: all resident bytes."""
    if not _HAS_PROC:
        import psutil

        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):  # "max", or no such controller
        return None


def _table(path: str) -> dict[str, int]:
    table: dict[str, int] = {}
    try:
        with open(path) as file:
            for line in file:
                name, _, rest = line.replace(":", " ", 1).partition(" ")
                number = rest.split()
                if number and number[0].isdigit():
                    table[name] = int(number[0])
    except OSError:
        pass
    return table
