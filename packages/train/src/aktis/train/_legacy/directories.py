"""Where the runs of a trainer go::

~/aktis_results/train_2026-11-25_12-00-00/     the trainer
    run_001/                                   its first run, which callbacks write to
        results.json
        checkpoints/
            checkpoint_000001/
    run_002/
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from aktis.air.storage import default_results_dir

__all__ = ["TrainerDirectory"]

_RUN = re.compile(r"run_(\d{3,})")


class TrainerDirectory:
    """The directory of a trainer, which is made when the trainer starts.

    Args:
        logdir: What the user chose: an absolute path, or one in the results directory. None: a new directory there.
    """

    def __init__(self, logdir: str | os.PathLike[str] | None = None) -> None:
        if logdir is not None and not isinstance(logdir, (str, os.PathLike)):
            raise TypeError(f"logdir must be a path or None, not {logdir!r}")
        self._named = logdir is not None
        name = time.strftime("train_%Y-%m-%d_%H-%M-%S") if logdir is None else os.fspath(logdir)
        self.path = (Path(default_results_dir()) / Path(name).expanduser()).resolve()
        self._made = False

    def make(self) -> None:
        """Make it, unless that has been done. One that we named becomes a directory that nobody else has."""
        if self._made:
            return
        wanted = self.path
        number = 1
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=self._named)
                break
            except FileExistsError:
                if self._named:
                    raise NotADirectoryError(f"logdir {str(self.path)!r} is a file, not a directory") from None
                number += 1
                self.path = wanted.with_name(f"{wanted.name}_{number}")
        self._made = True

    def new_run(self) -> Path:
        """A directory for the next run. Runs that were there before (of an earlier trainer) stay, and are counted."""
        self.make()
        matches = [_RUN.fullmatch(entry.name) for entry in self.path.iterdir()]
        number = max([int(match[1]) for match in matches if match], default=0)
        while True:
            number += 1
            run = self.path / f"run_{number:03d}"
            try:
                run.mkdir()
            except FileExistsError:  # another trainer in the same directory was faster
                continue
            return run
