"""A service of several models: three of scikit-learn behind one address, each scaled and updated on its own.

A gateway looks at the path and asks the model of that name; ``/all`` asks every model at the same time, and ``/models`` says what
there is. Models are deployments of one class with other arguments, so a fourth is a line. Requests that come at the same
time are predicted together.

Run: python examples/serve_many_models.py
Needs: pip install aktis-serve requests scikit-learn
Prints: the accuracy of each model over HTTP, which is that of the model asked directly.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import requests
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from starlette.requests import Request
from starlette.responses import JSONResponse

from aktis import serve
from aktis.serve import DeploymentHandle

DATA = {"cancer": load_breast_cancer(), "iris": load_iris(), "wine": load_wine()}


@serve.deployment
class Model:
    def __init__(self, classifier: ClassifierMixin, names: list[str]) -> None:
        self.classifier, self.names = classifier, names
        self.width = classifier.n_features_in_

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.005)
    async def predict(self, rows: list[list[float]]) -> list[str]:
        return [self.names[i] for i in self.classifier.predict(np.array(rows))]

    def describe(self) -> dict[str, Any]:
        return {"features": self.width, "classes": self.names}


@serve.deployment
class Gateway:
    def __init__(self, models: dict[str, DeploymentHandle[Any]]) -> None:
        self.models = models

    async def __call__(self, request: Request) -> Any:
        name = request.url.path.strip("/")
        if name == "models":
            return await self.ask_all("describe", dict.fromkeys(self.models, ()))
        body = await request.json()
        if name == "all":
            return await self.ask_all("predict", {name: (body[name],) for name in self.models if name in body})
        if name not in self.models:
            return JSONResponse({"error": f"no model {name!r}, there are {sorted(self.models)}"}, status_code=404)
        return await self.models[name].predict.remote(body)

    async def ask_all(self, method: str, arguments: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
        responses = [getattr(self.models[name], method).remote(*args) for name, args in arguments.items()]
        return dict(zip(arguments, await asyncio.gather(*responses)))


def main() -> None:
    classifiers = {
        name: make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(data.data[::2], data.target[::2])
        for name, data in DATA.items()
    }
    models = {
        name: Model.options(name=name).bind(classifier, [str(label) for label in DATA[name].target_names])
        for name, classifier in classifiers.items()
    }
    client = serve.start(http_options={"port": 0})
    try:
        serve.run(Gateway.bind(models))
        with requests.Session() as http, ThreadPoolExecutor(8) as pool:
            print("models:", http.get(f"{client.root_url}/models", timeout=30).json())
            for name, data in DATA.items():
                rows, truth = data.data[1::4], data.target_names[data.target[1::4]]

                def ask(row: np.ndarray, url: str = f"{client.root_url}/{name}") -> str:
                    return str(http.post(url, json=row.tolist(), timeout=30).text)

                answers = np.array(list(pool.map(ask, rows)))
                directly = data.target_names[classifiers[name].predict(rows)]
                print(f"{name}: {np.mean(answers == truth):.1%} of {len(rows)} right")
                assert (answers == directly).all() and np.mean(answers == truth) > 0.9
            first = {name: data.data[0].tolist() for name, data in DATA.items()}
            print("all at once:", http.post(f"{client.root_url}/all", json=first, timeout=30).json())
            missing = http.post(f"{client.root_url}/tea", json=[], timeout=30)
            print(missing.status_code, missing.json()["error"])
            assert missing.status_code == 404
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
