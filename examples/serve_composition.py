"""Three models behind one address: an ensemble asks two of them at the same time, and a switch decides which texts they see.

Run: python examples/serve_composition.py
Needs: pip install aktis-serve requests
Prints: the scores of some texts, and the deployments that are behind the address.
"""

from __future__ import annotations

import asyncio
from typing import Any

import requests
from starlette.requests import Request

from aktis import serve
from aktis.serve import DeploymentHandle

GOOD, BAD = {"good", "great", "fine"}, {"bad", "awful", "broken"}


@serve.deployment
class Lexicon:
    """Counts words."""

    def score(self, text: str) -> float:
        words = text.lower().split()
        return float(sum(word in GOOD for word in words) - sum(word in BAD for word in words))


@serve.deployment(num_replicas=2)
class Shouting:
    """Capitals make everything worse."""

    async def score(self, text: str) -> float:
        return -2.0 if text.isupper() else 0.0


@serve.deployment
class Ensemble:
    def __init__(self, models: dict[str, DeploymentHandle[Any]], weights: dict[str, float]) -> None:
        self.models, self.weights = models, weights

    async def score(self, text: str) -> dict[str, float]:
        responses = {name: model.score.remote(text) for name, model in self.models.items()}  # all have begun here
        scores = dict(zip(responses, await asyncio.gather(*responses.values())))
        return scores | {"total": sum(self.weights[name] * score for name, score in scores.items())}


@serve.deployment
class Switch:
    def __init__(self, ensemble: DeploymentHandle[Any], limit: int) -> None:
        self.ensemble, self.limit = ensemble, limit

    async def __call__(self, request: Request) -> Any:
        text = (await request.json())["text"]
        if len(text) > self.limit:
            return {"error": f"at most {self.limit} characters, please"}
        return await self.ensemble.score.remote(text)


def build() -> serve.Application:
    models = {
        "words": Lexicon.bind(),
        "shouting": Shouting.bind(),
    }  # handles are found inside of dictionaries and lists
    return Switch.bind(Ensemble.bind(models, {"words": 1.0, "shouting": 0.5}), limit=100)


def main() -> None:
    client = serve.start(http_options={"port": 0})
    try:
        serve.run(build())

        def ask(text: str) -> Any:
            return requests.post(client.root_url, json={"text": text}, timeout=30).json()

        for text in ("a great day", "THIS IS BROKEN", "x" * 101):
            print(f"{text[:20]:<22}{ask(text)}")
        assert ask("a great day") == {"words": 1.0, "shouting": 0.0, "total": 1.0}
        assert ask("THIS IS BROKEN")["total"] == -2.0
        assert ask("x" * 101) == {"error": "at most 100 characters, please"}
        print(sorted(serve.status().applications["default"].deployments))
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
