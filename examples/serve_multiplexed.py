"""A model for each customer, more of them than fit into memory: replicas keep those that were asked for last.

Run: python examples/serve_multiplexed.py
Needs: pip install aktis-serve requests
Prints: the answers, and which models were loaded for them, in which order.
"""

from __future__ import annotations

import requests
from starlette.requests import Request

from aktis import serve

CUSTOMERS = {"ada": 2.0, "bob": 3.0, "cleo": 5.0}  # each with the one weight of its model


class Model:
    def __init__(self, weight: float) -> None:
        self.weight = weight

    def predict(self, x: float) -> float:
        return self.weight * x


@serve.deployment
class Models:
    def __init__(self) -> None:
        self.loads: list[str] = []

    @serve.multiplexed(max_num_models_per_replica=2)
    async def get_model(self, model_id: str) -> Model:
        self.loads.append(model_id)  # here: download and read it
        return Model(CUSTOMERS[model_id])

    async def __call__(self, request: Request) -> float:
        model = await self.get_model(serve.get_multiplexed_model_id())
        return model.predict(float(request.query_params["x"]))

    async def loaded(self) -> list[str]:
        return self.loads


def main() -> None:
    client = serve.start(http_options={"port": 0})
    try:
        handle = serve.run(Models.bind())

        def ask(customer: str, x: float) -> float:
            headers = {"serve_multiplexed_model_id": customer}
            return float(requests.get(client.root_url, {"x": x}, headers=headers, timeout=30).json())

        answers = [ask(customer, 10) for customer in ("ada", "bob", "ada", "bob", "cleo", "bob", "ada")]
        print(answers)
        assert answers == [20, 30, 20, 30, 50, 30, 20]

        # cleo took the place of ada, who had not been asked for longest, and ada later that of cleo.
        loads = handle.loaded.remote().result()
        print("loaded:", ", ".join(loads))
        assert loads == ["ada", "bob", "cleo", "ada"]
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
