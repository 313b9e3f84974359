"""Peak memory of a process and all that it started, sampled from outside."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from _measure import descendants

INTERVAL_S = 0.05
MOST_DUTY = (
    0.05  # of the time: reading the tables of big processes takes a while, and must not slow down what is measured
)
LOOK_FOR_PROCESSES_S = 0.25
SHARED_MEMORY = Path("/dev/shm")


def rollup_mb(pid: int) -> tuple[float, float]:
    """A process's share of memory in MB, each page shared out among those who map it: (private and files, shared memory)."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended, or is another user's
        return 0.0, 0.0
    values = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    shared = values.get("Pss_Shmem", 0)
    return (values["Pss"] - shared) / 1024, shared / 1024


def shared_memory_mb() -> float:
    """What lies in /dev/shm, whether somebody maps it or not."""
    if not SHARED_MEMORY.is_dir():
        return 0.0
    facts = os.statvfs(SHARED_MEMORY)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize / (1 << 20)


class MemorySampler(threading.Thread):
    """Samples until :meth:`stop`; ``peak_mb`` is the most that was seen between :meth:`begin` and :meth:`end`.

    Memory is the sum of the processes' proportional set sizes without shared memory, and all shared memory once: what is
    mapped, or what was added to /dev/shm since we started, whichever is more.
    """

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.peak_mb = self.before_mb = 0.0
        self.samples = 0
        self._shared_before = shared_memory_mb()
        self._counts = False
        self._stopped = threading.Event()

    def begin(self) -> None:
        self.before_mb = self.sample({self.root} | descendants(self.root))
        self.peak_mb, self._counts = self.before_mb, True

    def end(self) -> None:
        self._counts = False

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def sample(self, pids: set[int]) -> float:
        parts = [rollup_mb(pid) for pid in pids]
        mapped = sum(shared for _, shared in parts)
        return sum(private for private, _ in parts) + max(mapped, shared_memory_mb() - self._shared_before)

    def run(self) -> None:
        pids, looked = {self.root}, 0.0
        while not self._stopped.is_set():
            begin = time.monotonic()
            if self._counts:
                if begin - looked > LOOK_FOR_PROCESSES_S:
                    pids, looked = {self.root} | descendants(self.root), begin
                found = self.sample(pids)
                if self._counts:
                    self.peak_mb = max(self.peak_mb, found)
                    self.samples += 1
            self._stopped.wait(max(INTERVAL_S, (time.monotonic() - begin) / MOST_DUTY))
