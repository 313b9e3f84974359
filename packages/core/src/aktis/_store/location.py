"""Where the store's files go, and how much memory they may take."""

from __future__ import annotations

import os
import tempfile

SHM = "/dev/shm"
MIN_CAPACITY = 75 << 20
MEMORY_FRACTION = 0.3  # of the memory that is available when the session starts
SHM_FRACTION = 0.95  # of the space in /dev/shm: others use it too


def choose_store_dir(
    session_name: str, capacity: int | None = None, *, session_dir: str | None = None, shm: str = SHM
) -> tuple[str, str | None]:
    """Make the directory of the segments. Returns its path, and a text for the user when it could not be in memory.

    ``capacity``: what it must hold; by default what :func:`default_capacity` says.
    """
    wanted = default_capacity(shm) if capacity is None else capacity
    notice = None
    if not os.path.isdir(shm):
        notice = f"there is no {shm} on this machine" if shm == SHM and os.path.exists("/proc") else None
    elif not _is_tmpfs(shm) or not os.access(shm, os.W_OK | os.X_OK):
        notice = f"{shm} is not a writable file system in memory"
    else:
        room = _room(shm)
        if room >= max(wanted, MIN_CAPACITY):
            path = os.path.join(shm, f"aktis-{session_name}")
            os.makedirs(path, mode=0o700, exist_ok=True)
            return path, None
        needed = max(wanted, MIN_CAPACITY)
        notice = (
            f"{shm} has only {room / 1e6:,.0f} MB free, and the object store needs {needed / 1e6:,.0f} MB "
            f"(in Docker: docker run --shm-size={(needed >> 20) + 64}m)"
        )
    parent = session_dir or os.path.join(tempfile.gettempdir(), f"aktis-{session_name}")
    path = os.path.join(parent, "store")
    os.makedirs(path, mode=0o700, exist_ok=True)
    if notice is not None:
        notice += f": objects are files in {path}, which is slower"
    return path, notice


def default_capacity(shm: str = SHM) -> int:
    """30% of the available memory, as far as /dev/shm has room for it; never less than 75 MiB."""
    capacity = int(available_memory() * MEMORY_FRACTION)
    if os.path.isdir(shm) and _is_tmpfs(shm):
        room = int(_room(shm) * SHM_FRACTION)
        if room >= MIN_CAPACITY:
            capacity = min(capacity, room)
    return max(capacity, MIN_CAPACITY)


def available_memory() -> int:
    """Bytes that can be used without swapping, within the limit of the container."""
    available = 0
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    available = int(line.split()[1]) * 1024
    except OSError:  # macOS
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit_file, usage_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            with open(limit_file, encoding="ascii") as limit, open(usage_file, encoding="ascii") as usage:
                available = min(available, int(limit.read()) - int(usage.read()))
        except (OSError, ValueError):  # "max", or no such controller
            continue
    return max(available, 0)


def _room(path: str) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _is_tmpfs(path: str) -> bool:
    try:
        with open("/proc/mounts", encoding="utf-8", errors="replace") as file:
            kinds = {fields[1]: fields[2] for fields in map(str.split, file) if len(fields) > 2}
    except OSError:
        return False
    while path not in kinds and path != "/":
        path = os.path.dirname(path)
    return kinds.get(path) in ("tmpfs", "ramfs")
