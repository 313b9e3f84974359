"""The tour: from a CSV file through preprocessing, training on two workers, tuning and batch prediction to a service.

    hatch run quickstart

569 tumours were measured, and scikit-learn ships the measurements: which of the tumours are benign?
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import requests
import torch
from pyarrow.csv import ReadOptions
from rich.console import Console
from rich.table import Table
from sklearn import datasets, linear_model, metrics, pipeline, preprocessing
from torch import nn

import aktis
from aktis import air, serve, train, tune
from aktis.air import html, session
from aktis.data.preprocessors import Chain, Concatenator, StandardScaler
from aktis.serve.http_adapters import pandas_read_json
from aktis.train.batch_predictor import BatchPredictor
from aktis.train.torch import TorchCheckpoint, TorchPredictor, TorchTrainer
from aktis.train.xgboost import XGBoostPredictor, XGBoostTrainer
from aktis.tune.schedulers import ASHAScheduler
from aktis.tune.search.optuna import OptunaSearch

FEATURES = [str(name) for name in datasets.load_breast_cancer().feature_names]
LABEL, LOSS = "benign", "valid-logloss"
ROUNDS, TRIALS = 24, 10


def train_mlp(config: dict[str, Any]) -> None:
    """Runs in each worker, with rows of its own; the gradients of all workers are put together."""
    torch.manual_seed(0)
    hidden = nn.Linear(len(FEATURES), config["hidden"])
    network = nn.Sequential(hidden, nn.ReLU(), nn.Linear(config["hidden"], 1), nn.Sigmoid(), nn.Flatten(0))
    model = train.torch.prepare_model(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])

    def losses(name: str) -> Iterator[torch.Tensor]:
        for rows in session.get_dataset_shard(name).iter_torch_batches(batch_size=32, dtypes=torch.float32):
            yield nn.functional.binary_cross_entropy(model(rows["x"]), rows[LABEL])

    for _ in range(ROUNDS):
        for loss in losses("train"):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found = torch.stack(list(losses("valid"))).mean().item()
        session.report({LOSS: found}, checkpoint=TorchCheckpoint.from_model(model))


def models(**common: Any) -> Iterator[tuple[str, Any, dict[str, Any], Any]]:
    """Name, trainer with a first guess, what to tune, predictor."""
    params = {"objective": "binary:logistic", "eval_metric": "logloss", "eta": 0.3, "max_depth": 6}
    xgboost = XGBoostTrainer(
        label_column=LABEL, params=params, num_boost_round=ROUNDS, preprocessor=StandardScaler(FEATURES), **common
    )
    space = {"eta": tune.loguniform(0.03, 1.0), "max_depth": tune.randint(1, 8), "subsample": tune.uniform(0.4, 1.0)}
    yield "XGBoost", xgboost, {"params": space}, XGBoostPredictor

    as_one = Chain(StandardScaler(FEATURES), Concatenator(include=FEATURES, output_column_name="x"))
    mlp = TorchTrainer(train_mlp, train_loop_config={"hidden": 16, "lr": 0.001}, preprocessor=as_one, **common)
    space = {"hidden": tune.choice([8, 32, 128]), "lr": tune.loguniform(3e-4, 0.1)}
    yield "torch MLP", mlp, {"train_loop_config": space}, TorchPredictor


def read() -> tuple[Any, Any, Any]:
    """The rows to train with, those to choose a model by, and those for the test."""
    path = files("sklearn.datasets.data") / "breast_cancer.csv"
    columns = ReadOptions(skip_rows=1, column_names=[*FEATURES, LABEL])  # the file has no names of columns
    tumours = aktis.data.read_csv(str(path), read_options=columns)
    learn, test = tumours.train_test_split(0.25, shuffle=True, seed=4)
    return *learn.train_test_split(0.25), test


def search(trainer: Any, space: dict[str, Any], run: air.RunConfig) -> Any:
    """Optuna proposes what to try, and ASHA stops what does not look promising."""
    asha = ASHAScheduler(max_t=ROUNDS, grace_period=4)
    how = tune.TuneConfig(metric=LOSS, mode="min", num_samples=TRIALS, search_alg=OptunaSearch(seed=0), scheduler=asha)
    results = tune.Tuner(trainer, param_space=space, tune_config=how, run_config=run).fit()
    if results.num_terminated < TRIALS:  # after Ctrl-C there are the results so far
        sys.exit("The search has not come to its end.")
    return results


def ask_service(address: str, frame: pd.DataFrame) -> list[float]:
    """One request for each row, from four clients at a time."""

    def ask(row: int) -> float:
        reply = requests.post(address, data=frame[row : row + 1].to_json(orient="records"), timeout=30)
        reply.raise_for_status()
        return float(reply.json()[0]["predictions"])

    with ThreadPoolExecutor(4) as clients:
        return list(clients.map(ask, range(len(frame))))


def main(report: str) -> None:
    began, console = time.perf_counter(), Console()
    with tempfile.TemporaryDirectory() as folder, aktis.init():
        console.rule("Read, shuffle, split")
        fit, valid, test = read()
        unseen, truth = test.drop_columns([LABEL]), test.to_pandas()[LABEL]
        print(f"{fit.count()} tumours to train with, {valid.count()} to choose by, {len(truth)} for the test")

        table: list[list[Any]] = []  # model, loss on what it was chosen by, accuracy and AUC of the test

        def judge(name: str, loss: float | None, predictions: Any) -> None:
            accuracy = metrics.accuracy_score(truth, predictions > 0.5)
            table.append([name, loss, accuracy, metrics.roc_auc_score(truth, predictions)])

        run = air.RunConfig(local_dir=folder, verbose=1)
        workers = air.ScalingConfig(num_workers=2, trainer_resources={"CPU": 0})
        searches, finals = {}, []
        for name, trainer, space, predictor in models(
            datasets={"train": fit, "valid": valid}, scaling_config=workers, run_config=run
        ):
            console.rule(f"{name}: train, tune, predict")
            first = trainer.fit()
            searches[name] = search(trainer, space, run)
            best = searches[name].get_best_result()
            for words, result in (("first guess", first), ("tuned", best)):
                batch = BatchPredictor.from_checkpoint(result.checkpoint, predictor)
                predictions = batch.predict(unseen).to_pandas()["predictions"]
                judge(f"{name}, {words}", result.metrics[LOSS], predictions)
            finals.append((best.metrics[LOSS], name, best.checkpoint, predictor, predictions))

        known, frame = fit.union(valid).to_pandas(), unseen.to_pandas()
        plain = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
        plain.fit(known[FEATURES], known[LABEL])
        judge("plain scikit-learn, logistic regression", None, plain.predict_proba(frame)[:, 1])

        _, name, checkpoint, predictor, predictions = min(finals, key=lambda final: final[0])
        console.rule(f"Serve the best by validation: {name}")
        address = serve.start(http_options={"port": 0}).root_url  # any port that is free
        serve.run(serve.PredictorDeployment.bind(predictor, checkpoint, http_adapter=pandas_read_json))
        answers = ask_service(address, frame)
        np.testing.assert_allclose(answers, predictions, rtol=1e-5)
        print(f"{len(answers)} answers over HTTP, all of them equal to the batch prediction")

        page = html.Page("Which tumours are benign?", "scikit-learn's breast cancer data, from a CSV file to a service")
        header = ["model", LOSS, "accuracy", "AUC"]
        page.section(f"On {len(truth)} tumours that no model has seen").add(html.table(header, table))
        for name, results in searches.items():
            page.add(f"{name}, tuned", results, "Optuna proposes; ASHA stops what does not look promising.")
        page.add("The service", serve.traffic(), "One request for each tumour of the test, four at a time.")
        written = page.write(report).absolute()
        serve.shutdown()

    summary = Table(*header, title=f"On {len(truth)} tumours that no model has seen")
    for name, *numbers in table:
        summary.add_row(name, *("" if number is None else f"{number:.3f}" for number in numbers))
    console.print(summary)
    print(f"{time.perf_counter() - began:.0f} s. The report: {written.as_uri()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="From a CSV file to a service, and a report about all of it.")
    parser.add_argument("--report", default="quickstart.html", help="where to write it; default: %(default)s")
    main(parser.parse_args().report)
