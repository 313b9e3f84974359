"""Try an installed distribution as a person would, where nothing else is installed: ``python smoke_test.py WHEEL``."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def library(wheel: str) -> str:
    """aktis_core-0.1.0-py3-none-any.whl is ``aktis``, aktis_tune-... is ``aktis.tune``."""
    name = wheel.split("-")[0].removeprefix("aktis_")
    return "aktis" if name == "core" else f"aktis.{name}"


def check_core() -> None:
    import numpy as np

    import aktis

    assert "site-packages" in str(aktis.__file__), f"this is not the installed one: {aktis.__file__}"

    @aktis.remote
    def total(array: np.ndarray) -> float:
        assert not array.flags.writeable, "a task got a copy"
        return float(array.sum())

    @aktis.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self, k: int) -> int:
            self.n += k
            return self.n

    with aktis.init(num_cpus=2):
        array = aktis.put(np.ones(1_000_000))
        assert aktis.get([total.remote(array) for _ in range(4)]) == [1e6] * 4
        counter = Counter.remote()
        assert aktis.get([counter.add.remote(1) for _ in range(5)]) == [1, 2, 3, 4, 5]
    assert not aktis.is_initialized()


def check_data() -> None:
    """Files to blocks, Python functions over them, and back to files, with the declared dependencies alone."""
    import pandas as pd

    import aktis.data

    def with_tax(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(total=frame["price"] * 1.2)

    numbers = aktis.data.from_items([{"data": i} for i in range(10_000)])
    squares = numbers.map(lambda row: row["data"] ** 2).filter(lambda x: x % 2 == 0)
    assert squares.take(3) == [0, 4, 16]
    with tempfile.TemporaryDirectory() as folder, aktis.init(num_cpus=2):
        for i in range(4):
            frame = pd.DataFrame({"id": range(50_000 * i, 50_000 * (i + 1)), "price": 2.5})
            frame.to_parquet(Path(folder, f"{i}.parquet"))
        ds = aktis.data.read_parquet(folder)
        assert ds.count() == 200_000
        ds.map_batches(with_tax).write_parquet(Path(folder, "out").as_posix())
        again = aktis.data.read_parquet(Path(folder, "out").as_posix())
        assert again.sum("total") == 200_000 * 3.0
        assert again.filter(lambda row: row["id"] == 123_456).take_all() == [
            {"id": 123_456, "price": 2.5, "total": 3.0}
        ]


def check_air() -> None:
    """A checkpoint through a directory, and a configuration that is refused."""
    import numpy as np

    from aktis import air

    weights = {"weights": np.arange(5.0), "step": (1, "two")}
    with tempfile.TemporaryDirectory() as folder:
        air.Checkpoint.from_dict(weights).to_directory(folder)
        again = air.Checkpoint.from_directory(folder).to_dict()
    assert again["step"] == (1, "two") and again["weights"].tolist() == [0, 1, 2, 3, 4]
    try:
        air.CheckpointConfig(num_to_keep=0)
    except ValueError as error:
        assert "0" in str(error)
    else:
        raise AssertionError("num_to_keep=0 was accepted")


def check_tune() -> None:
    """A search with the declared dependencies alone: grid, stopping early, resuming, and the command line."""
    from aktis import air, tune

    def train(config: dict[str, float]) -> None:
        for step in range(5):
            tune.report(loss=(config["x"] - 2) ** 2 + 1 / (step + 1))

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            train,
            param_space={"x": tune.grid_search([0.0, 1.0, 2.0, 3.0])},
            tune_config=tune.TuneConfig(metric="loss", mode="min", scheduler="asha"),
            run_config=air.RunConfig(name="smoke", local_dir=folder, verbose=1),
        )
        results = tuner.fit()
        assert results.get_best_result().config == {"x": 2.0}
        assert len(tune.Tuner.restore(f"{folder}/smoke").fit()) == 4
        command = [str(Path(sys.executable).with_name("tune")), "ls", f"{folder}/smoke"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and "TERMINATED" in done.stdout, done.stdout + done.stderr
        command = [
            str(Path(sys.executable).with_name("tune")),
            "report",
            f"{folder}/smoke",
            "-o",
            f"{folder}/page.html",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and "<html" in Path(folder, "page.html").read_text(), done.stdout + done.stderr
    import aktis

    aktis.shutdown()


def check_train() -> None:
    """Two workers and a data set, with the declared dependencies alone, and what is said where a framework is missing."""
    import aktis
    import aktis.data
    from aktis import air, train

    def loop(config: dict[str, int]) -> None:
        total = 0
        for epoch in range(config["epochs"]):
            for batch in train.get_dataset_shard("train").iter_batches(batch_format="numpy"):
                total += int(batch["x"].sum())
            metrics = {"total": total, "workers": train.world_size()}
            train.report(metrics, checkpoint=air.Checkpoint.from_dict({"epoch": epoch}))

    dataset = aktis.data.from_items([{"x": 1} for _ in range(1_000)])
    with tempfile.TemporaryDirectory() as folder, aktis.init(num_cpus=2):
        result = train.DataParallelTrainer(
            loop,
            train_loop_config={"epochs": 2},
            scaling_config=air.ScalingConfig(num_workers=2),
            run_config=air.RunConfig(name="smoke", local_dir=folder, verbose=1),
            datasets={"train": dataset},
        ).fit()
        assert result.metrics is not None and result.metrics["total"] == 1_000 and result.metrics["workers"] == 2
        assert result.checkpoint is not None and result.checkpoint.to_dict() == {"epoch": 1}
        try:
            from aktis.train.torch import TorchTrainer

            TorchTrainer(loop, train_loop_config={"epochs": 1}, run_config=air.RunConfig(local_dir=folder)).fit()
        except (ImportError, train.TrainingFailedError) as error:
            assert 'pip install "aktis-train[torch]"' in f"{error} {error.__cause__}", error
        else:
            raise AssertionError("there is a torch here")


def check_rllib() -> None:
    """An environment of one's own, sampled by a worker with random actions, and what is said where a framework is missing."""
    import json

    from aktis.rllib.algorithms.ppo import PPOConfig

    try:
        PPOConfig().environment("CartPole-v1").build()
    except ImportError as error:
        assert 'pip install "aktis-rllib[torch]"' in str(error), error
    else:
        raise AssertionError("there is a torch here")
    command = [str(Path(sys.executable).with_name("rllib")), "example", "list"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "cartpole-ppo" in done.stdout, done.stdout + done.stderr
    assert json.loads(json.dumps(PPOConfig().to_dict()["lr"])) == 5e-5


def check_serve() -> None:
    """A function answers over HTTP, with the declared dependencies alone, and the command is there."""
    import urllib.request

    from aktis import serve

    @serve.deployment
    def shout(request: Any) -> str:
        return str(request.query_params["word"]).upper()

    client = serve.start(http_options={"port": 0})
    serve.run(shout.bind())
    with urllib.request.urlopen(f"{client.root_url}/?word=hello", timeout=60) as answer:
        assert answer.read() == b"HELLO"
    serve.shutdown()
    import aktis

    aktis.shutdown()
    command = [str(Path(sys.executable).with_name("serve")), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("start", "run", "deploy", "status", "build", "shutdown"):
        assert word in done.stdout, f"`serve --help` does not mention {word}:\n{done.stdout}"


def check_command_line() -> None:
    command = Path(sys.executable).with_name("aktis")
    done = subprocess.run([str(command), "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("status", "memory", "timeline", "list", "stack", "stop"):
        assert word in done.stdout, f"`aktis --help` does not mention {word}:\n{done.stdout}"


def main() -> None:
    module = library(sys.argv[1])
    print(f"{importlib.import_module(module).__name__} from {sys.argv[1]}", flush=True)
    check_core()
    check_command_line()
    print("a task, an actor, a shared array and the command line work")
    if module == "aktis.data":
        check_data()
        print("Parquet files were read, transformed and written")
    if module in ("aktis.air", "aktis.tune", "aktis.train"):
        check_air()
        print("a checkpoint came back as it was")
    if module == "aktis.tune":
        check_tune()
        print("four trials ran, were looked at and resumed")
    if module == "aktis.train":
        check_train()
        print("two workers trained on their parts of a data set")
    if module == "aktis.rllib":
        check_rllib()
        print("examples are listed, and what is missing is named")
    if module == "aktis.serve":
        check_serve()
        print("a function answered over HTTP, and the command is there")


if __name__ == "__main__":
    main()
