"""From training to a service: a checkpoint of scikit-learn is served, and exchanged for a better one without a restart.

Run: python examples/serve_predictor.py
Needs: pip install aktis-serve requests "aktis-train[sklearn]"
Prints: the accuracy over HTTP, with the first checkpoint and with the better one.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from aktis import serve
from aktis.serve import PredictorDeployment
from aktis.train.sklearn import SklearnCheckpoint, SklearnPredictor


def main() -> None:
    flowers, species = load_iris(return_X_y=True)
    first = SklearnCheckpoint.from_estimator(DummyClassifier().fit(flowers, species))
    better = SklearnCheckpoint.from_estimator(LogisticRegression(max_iter=500).fit(flowers, species))
    batches = {"max_batch_size": 32, "batch_wait_timeout_s": 0.01}  # requests are predicted together

    client = serve.start(http_options={"port": 0})
    try:
        iris = PredictorDeployment.options(name="iris")
        serve.run(iris.bind(SklearnPredictor, first, batching_params=batches))

        def ask(flower: Any) -> int:
            reply = requests.post(client.root_url, json={"array": flower.tolist()}, timeout=60)
            reply.raise_for_status()
            return int(reply.json())

        def right() -> float:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(ask, flowers[::5]))
            return float((answers == species[::5]).mean())

        print(f"the first checkpoint:  {right():.0%} right")
        with tempfile.TemporaryDirectory() as folder:
            again = iris.options(user_config={"checkpoint": f"file://{better.to_directory(folder)}"})
            serve.run(again.bind(SklearnPredictor, first, batching_params=batches))
        print(f"the better checkpoint: {right():.0%} right")
        assert right() > 0.9
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
