"""A service with FastAPI: checked bodies, a dependency, documentation under its prefix, and a model behind it.

Run: python examples/serve_fastapi.py
Needs: pip install aktis-serve requests
Prints: an answer, a refusal with its reason, and the paths that the documentation has.
"""

from __future__ import annotations

from typing import Annotated, Any

import requests
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

from aktis import serve
from aktis.serve import DeploymentHandle

app = FastAPI(title="Iris")
SPECIES = ("setosa", "versicolor", "virginica")


class Flower(BaseModel):
    petal_length: float = Field(gt=0, description="in cm")
    petal_width: float = Field(gt=0, description="in cm")


def user(x_key: Annotated[str, Header()] = "") -> str:
    if x_key != "secret":
        raise HTTPException(401, "who are you?")
    return "Ada"


@serve.deployment(num_replicas=2)
class Classifier:
    def predict(self, length: float, width: float) -> int:
        return 0 if length < 2.5 else 1 if width < 1.75 else 2


@serve.deployment
@serve.ingress(app)
class Service:
    def __init__(self, classifier: DeploymentHandle[Any]) -> None:
        self.classifier = classifier
        self.answered = 0

    @app.post("/classify")
    async def classify(self, flower: Flower, name: Annotated[str, Depends(user)]) -> dict[str, Any]:
        self.answered += 1
        species = await self.classifier.predict.remote(flower.petal_length, flower.petal_width)
        return {"species": SPECIES[species], "for": name}

    @app.get("/answered")
    def count(self) -> int:
        return self.answered


def main() -> None:
    client = serve.start(http_options={"port": 0})
    try:
        serve.run(Service.bind(Classifier.bind()), name="iris", route_prefix="/iris")
        url = f"{client.root_url}/iris"
        headers = {"X-Key": "secret"}
        flower = {"petal_length": 4.7, "petal_width": 1.4}

        reply = requests.post(f"{url}/classify", json=flower, headers=headers, timeout=30)
        print(reply.status_code, reply.json())
        assert reply.json() == {"species": "versicolor", "for": "Ada"}

        refused = requests.post(f"{url}/classify", json={**flower, "petal_width": -1}, headers=headers, timeout=30)
        print(refused.status_code, refused.json()["detail"][0]["msg"])
        assert refused.status_code == 422
        assert requests.post(f"{url}/classify", json=flower, timeout=30).status_code == 401

        document = requests.get(f"{url}/openapi.json", timeout=30).json()
        print(sorted(document["paths"]), document["servers"])
        assert requests.get(f"{url}/docs", timeout=30).status_code == 200
        assert requests.get(f"{url}/answered", timeout=30).json() == 1
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
