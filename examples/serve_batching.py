"""A model whose cost is per call, not per item: requests that come at the same time are computed together.

Run: python examples/serve_batching.py
Needs: pip install aktis-serve numpy
Prints: the seconds for 128 requests, with batches and without.
"""

from __future__ import annotations

import time

import numpy as np

from aktis import serve


@serve.deployment(max_ongoing_requests=64, user_config={"max_batch_size": 16, "wait_s": 0.5})
class Model:
    def __init__(self) -> None:
        self.weights = np.arange(4.0)
        self.sizes: list[int] = []

    def reconfigure(self, config: dict[str, float]) -> None:
        self.predict.set_max_batch_size(int(config["max_batch_size"]))
        self.predict.set_batch_wait_timeout_s(config["wait_s"])

    @serve.batch
    async def predict(self, rows: list[list[float]]) -> list[float]:
        self.sizes.append(len(rows))
        time.sleep(0.01)  # what a call costs, however many rows there are
        return (np.array(rows) @ self.weights).tolist()

    async def __call__(self, row: list[float]) -> float:
        return await self.predict(row)

    def seen(self) -> list[int]:
        return self.sizes


def measure(handle: serve.DeploymentHandle, count: int = 128) -> float:
    started = time.perf_counter()
    responses = [handle.remote([i, 0.0, 0.0, 1.0]) for i in range(count)]
    assert [response.result() for response in responses] == [3.0] * count
    return time.perf_counter() - started


def main() -> None:
    serve.start(proxy_location="Disabled")  # no HTTP: handles only
    try:
        handle = serve.run(Model.bind())
        together = measure(handle)
        sizes = handle.seen.remote().result()
        print(f"batches of up to {max(sizes)}: 128 requests in {together:.2f} s, {len(sizes)} calls of the model")
        assert max(sizes) == 16 and len(sizes) < 64

        # The same replica, one request at a time: nothing is restarted.
        serve.run(Model.options(user_config={"max_batch_size": 1, "wait_s": 0.0}).bind())
        alone = measure(handle)
        print(f"one at a time:      128 requests in {alone:.2f} s")
        assert len(handle.seen.remote().result()) == len(sizes) + 128
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
