"""A driver to kill: ``python faulty.py FOLDER new|restore [N]``. Prints a line for each result that its runner has consumed."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import aktis
from aktis import air, tune
from aktis.air import session


def slow(config: dict[str, Any]) -> None:
    """Ten results; each is noted, after report() returned, in a file that no library of ours writes."""
    checkpoint = session.get_checkpoint()
    start = checkpoint.to_dict()["step"] if checkpoint is not None else 0
    for step in range(start + 1, 11):
        time.sleep(0.01)
        session.report({"step": step, "x": config["x"]}, checkpoint=air.Checkpoint.from_dict({"step": step}))
        with open(os.path.join(config["notes"], f"{config['x']}"), "a", encoding="utf-8") as notes:
            notes.write(f"{step}\n")


class Stepping(tune.Trainable):
    """The same as a class."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def step(self) -> dict[str, Any]:
        time.sleep(0.01)
        self.count += 1
        return {"step": self.count, "x": self.config["x"], "done": self.count == 10}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"count": self.count}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.count = checkpoint["count"]


def main() -> None:
    folder, what = sys.argv[1], sys.argv[2]
    aktis.init(num_cpus=3)
    print("ready", flush=True)
    if what == "restore":
        tuner = tune.Tuner.restore(os.path.join(folder, "run"))
    else:
        trainable: Any = Stepping if what == "class" else slow
        checkpoints = air.CheckpointConfig(num_to_keep=2, checkpoint_frequency=2 if what == "class" else 0)
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.grid_search(list(range(12))), "notes": os.path.join(folder, "notes")},
            tune_config=tune.TuneConfig(metric="step", mode="max"),
            run_config=air.RunConfig(name="run", local_dir=folder, verbose=1, checkpoint_config=checkpoints),
        )
    results = tuner.fit()
    print("finished", len(results), results.num_errors, flush=True)


if __name__ == "__main__":
    main()
