"""How busy the machine is, read from /proc."""

from __future__ import annotations

__all__ = ["Usage"]


class Usage:
    """Use of CPU and memory, in percent. That of the CPU is of the time since it was last asked for."""

    def __init__(self) -> None:
        self._last = _cpu_times()

    def read(self) -> dict[str, float]:
        """``cpu_util_percent`` and ``ram_util_percent``; nothing where the system does not say."""
        now, before = _cpu_times(), self._last
        made: dict[str, float] = {}
        if now is not None and before is not None and now[1] > before[1]:
            self._last = now
            made["cpu_util_percent"] = round(100 * (now[0] - before[0]) / (now[1] - before[1]), 1)
        memory = _memory()
        if memory is not None:
            made["ram_util_percent"] = memory
        return made


def _cpu_times() -> tuple[int, int] | None:
    """Ticks that were worked, and all, of all CPUs together."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(part) for part in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def _memory() -> float | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = dict(line.split(":", 1) for line in file)
        total, free = (int(found[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):
        return None
    return round(100 * (total - free) / total, 1)
