"""Predictions for a table in memory: with aktis.train's BatchPredictor, with Ray Data, and in a plain loop.

``python _train_prediction_programs.py PEER MODEL --rows N --model-file FILE`` writes one line of JSON. The clock starts when
the data are in memory (Ray's in its object store, ours in the driver: what puts them into the store counts) and the model's library
is imported, and stops when all predictions are there, too.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _measure import descendants

FEATURES = 10
BATCH = 4096
BLOCKS = 40
TREES, DEPTH = 50, 5
HIDDEN = (128, 64)
COLUMNS = [f"f{i}" for i in range(FEATURES)]


def table(rows: int) -> dict[str, np.ndarray]:
    """Random features, the same ones in every process."""
    rng = np.random.default_rng(11)
    return {name: rng.standard_normal(rows, dtype=np.float32) for name in COLUMNS}


def matrix(batch: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([batch[name] for name in COLUMNS], axis=1)


def dataset(data: Any, model: str, rows: int) -> Any:
    """A Dataset in memory, of aktis.data or ray.data: columns for XGBoost, rows that are arrays for torch."""
    import pyarrow as pa

    size = -(-rows // BLOCKS)
    if model == "torch":
        inputs = matrix(table(rows))
        return data.from_numpy([inputs[start : start + size] for start in range(0, rows, size)]).materialize()
    whole = pa.table(table(rows))
    return data.from_arrow([whole.slice(start, size) for start in range(0, rows, size)]).materialize()


# ---- models ----


def make_xgboost(path: Path) -> None:
    import xgboost

    sample = table(50_000)
    target = sample["f0"] * sample["f1"] + sample["f2"] > 0
    matrix = xgboost.DMatrix(np.stack(list(sample.values()), axis=1), target, feature_names=COLUMNS)
    params = {"max_depth": DEPTH, "tree_method": "hist", "objective": "binary:logistic", "seed": 3, "nthread": 1}
    xgboost.train(params, matrix, TREES).save_model(path)


def load_xgboost(path: str) -> Any:
    import xgboost

    return xgboost.Booster(model_file=path)


def network() -> Any:
    import torch

    first, second = HIDDEN
    return torch.nn.Sequential(
        torch.nn.Linear(FEATURES, first),
        torch.nn.ReLU(),
        torch.nn.Linear(first, second),
        torch.nn.ReLU(),
        torch.nn.Linear(second, 1),
        torch.nn.Flatten(0),
    )


def make_torch(path: Path) -> None:
    import torch

    torch.manual_seed(3)
    torch.save(network().state_dict(), path)


def load_torch(path: str) -> Any:
    import torch

    model = network()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def predict_xgboost(model: Any, batch: Any) -> np.ndarray:
    """The way of the documentation for frames, the fastest one for arrays."""
    if isinstance(batch, dict):
        return np.asarray(model.inplace_predict(matrix(batch), validate_features=False))
    import xgboost

    return np.asarray(model.predict(xgboost.DMatrix(batch)))


def predict_torch(model: Any, batch: Any) -> np.ndarray:
    import torch

    inputs = batch["data"] if isinstance(batch, dict) else batch
    with torch.inference_mode():
        return np.asarray(model(torch.as_tensor(inputs)).numpy()).reshape(-1)


LOADERS: dict[str, Callable[[str], Any]] = {"xgboost": load_xgboost, "torch": load_torch}
PREDICTORS: dict[str, Callable[[Any, Any], np.ndarray]] = {"xgboost": predict_xgboost, "torch": predict_torch}


class Scorer:
    """What others than aktis.train need for it: a class for map_batches."""

    def __init__(self, model: str, path: str) -> None:
        self._predict = PREDICTORS[model]
        self._model = LOADERS[model](path)

    def __call__(self, batch: Any) -> dict[str, np.ndarray]:
        return {"predictions": self._predict(self._model, batch)}


# ---- peers ----


class Clock:
    """Seconds, and CPU seconds of this process and all that come from it (also of those that have ended meanwhile)."""

    def __init__(self) -> None:
        self._cpu, self._begin = cpu_of_all(), time.perf_counter()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self._begin, "cpu_seconds": cpu_of_all() - self._cpu}


def cpu_of_all() -> float:
    ticks = 0
    for pid in {os.getpid()} | descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        ticks += sum(int(field) for field in fields[11:15])  # of itself, and of its children that have ended
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(times: dict[str, float], rows: int, mean: float) -> Measured:
    return {**times, "rows": rows, "mean": float(mean)}


Measured = dict[str, float]


def plain(model: str, path: str, rows: int, variant: str) -> Measured:
    """One process, one thread: a batch of the table after the other. ``variant`` as Ray's."""
    import pandas as pd

    columns = table(rows)
    frame, inputs = pd.DataFrame(columns), matrix(columns)
    loaded, predict = LOADERS[model](path), PREDICTORS[model]
    batch_format, _, rows_of_batch = variant.partition("-")
    size = int(rows_of_batch or BATCH)

    def batch(start: int) -> Any:
        if model == "torch":
            return inputs[start : start + size]
        if batch_format == "pandas":
            return frame.iloc[start : start + size]
        return {name: values[start : start + size] for name, values in columns.items()}

    predict(loaded, batch(0))
    clock = Clock()
    found = [predict(loaded, batch(start)) for start in range(0, rows, size)]
    times = clock.read()
    result = np.concatenate(found)
    return measured(times, len(result), result.mean())


def ray(model: str, path: str, rows: int, variant: str) -> Measured:
    """``variant``: the format of the batches, and how many rows they have."""
    import ray
    import ray.data

    batch_format, _, size = variant.partition("-")
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.get(ray.remote(lambda: None).remote())  # until then the session is still starting
    data = dataset(ray.data, model, rows)
    clock = Clock()
    made = data.map_batches(
        Scorer,
        fn_constructor_args=(model, path),
        batch_size=int(size),
        batch_format=batch_format,
        concurrency=os.cpu_count(),
    ).materialize()
    times = clock.read()
    return measured(times, made.count(), made.mean("predictions"))


def aktis(model: str, path: str, rows: int, variant: str) -> Measured:
    import aktis
    import aktis.data
    from aktis.train.batch_predictor import BatchPredictor

    predictor = BatchPredictor(*aktis_model(model, path))
    aktis.init(num_cpus=os.cpu_count(), preload=[model])  # torch would be, anyway: aktis.train.torch sees to it
    aktis.data.set_progress_bars(False)
    aktis.get(aktis.remote(os.getpid).remote())
    data = dataset(aktis.data, model, rows)
    clock = Clock()
    made = predictor.predict(data).materialize()
    times = clock.read()
    return measured(times, made.count(), made.mean("predictions"))


def aktis_model(model: str, path: str) -> tuple[Any, Any]:
    """The checkpoint, and the class of predictors."""
    if model == "xgboost":
        from aktis.train.xgboost import XGBoostCheckpoint, XGBoostPredictor

        return XGBoostCheckpoint.from_model(load_xgboost(path)), XGBoostPredictor
    from aktis.train.torch import TorchCheckpoint, TorchPredictor

    return TorchCheckpoint.from_model(load_torch(path)), TorchPredictor


PEERS: dict[str, Callable[[str, str, int, str], Measured]] = {"aktis": aktis, "ray": ray, "plain": plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=[*PEERS, "make"])
    parser.add_argument("model", choices=LOADERS)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--model-file", type=Path, required=True)
    parser.add_argument("--variant", default="")
    arguments = parser.parse_args()
    if arguments.peer == "make":
        (make_xgboost if arguments.model == "xgboost" else make_torch)(arguments.model_file)
        return
    __import__(arguments.model)
    run = PEERS[arguments.peer]
    result = run(arguments.model, str(arguments.model_file), arguments.rows, arguments.variant)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
