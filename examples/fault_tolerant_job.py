"""A job that survives: its process is killed in the middle, the actor starts again, and goes on from the state that it saved.

``max_restarts`` gives the actor a new process, ``max_task_retries`` gives the call that was under way to it. The state is the
actor's own business: it is saved after each piece of work, written whole (a temporary file, then renamed). Here a saboteur
kills the process twice, with the signal that the kernel uses when memory is short.

Run: python examples/fault_tolerant_job.py
Needs: pip install aktis-core
Prints: which process did which pieces, how often the job was started, and that the sum is right, each piece counted once.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path

import aktis

PIECES = 12
KILLED_AT = (4, 9)


@aktis.remote(max_restarts=-1, max_task_retries=-1)
class Job:
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.file = self.folder / "state.json"
        self.state = {"done": [], "sum": 0, "starts": 0, "pieces_by_pid": {}}
        if self.file.exists():  # a process before this one got that far
            self.state = json.loads(self.file.read_text())
        self.state["starts"] += 1
        self.save()

    def save(self) -> None:
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(self.state))
        temporary.replace(self.file)

    def work(self, piece: int) -> int:
        """Do a piece, unless it is done: calls may come again after their answers were lost, and in another order."""
        if piece in self.state["done"]:
            return piece
        self.sabotage(piece)
        pid = str(os.getpid())
        self.state["sum"] += piece**2
        self.state["done"].append(piece)
        self.state["pieces_by_pid"].setdefault(pid, []).append(piece)
        self.save()
        return piece

    def sabotage(self, piece: int) -> None:
        mark = self.folder / f"killed-at-{piece}"
        if piece in KILLED_AT and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def result(self) -> dict[str, object]:
        return self.state


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, aktis.init():
        job = Job.remote(folder)
        assert aktis.get([job.work.remote(piece) for piece in range(PIECES)]) == list(range(PIECES))
        state = aktis.get(job.result.remote())
    for number, pieces in enumerate(state["pieces_by_pid"].values(), 1):
        print(f"process {number}: pieces {pieces}")
    expected = sum(piece**2 for piece in range(PIECES))
    print(f"started {state['starts']} times; the sum is {state['sum']}, it should be {expected}")
    assert state["sum"] == expected
    assert state["starts"] == 1 + len(KILLED_AT)


if __name__ == "__main__":
    main()
