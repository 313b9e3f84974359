"""From no replica to several and back: the number of replicas follows the load.

Run: python examples/serve_autoscaling.py
Needs: pip install aktis-serve
Prints: the number of replicas without load, under load, and after it.
"""

from __future__ import annotations

import asyncio
import time

from aktis import serve


@serve.deployment(
    max_ongoing_requests=4,
    autoscaling_config={
        "min_replicas": 0,
        "max_replicas": 3,
        "target_ongoing_requests": 2,
        # Quick, so that this program ends soon: the defaults take minutes to go down, and that is wise.
        "metrics_interval_s": 0.1,
        "look_back_period_s": 0.3,
        "upscale_delay_s": 0.1,
        "downscale_delay_s": 0.3,
    },
)
class Slow:
    async def __call__(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds


def replicas() -> int:
    return serve.status().applications["default"].deployments["Slow"].replica_states.get("RUNNING", 0)


def wait_for(count: int) -> int:
    deadline = time.monotonic() + 30
    while (found := replicas()) != count and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def main() -> None:
    serve.start(proxy_location="Disabled")  # no HTTP: handles only
    try:
        handle = serve.run(Slow.bind())
        print("nobody asks:", replicas(), "replicas")
        assert replicas() == 0

        print("the first request, which waits for the first replica:", handle.remote(0.01).result())
        responses = [handle.remote(60.0) for _ in range(12)]
        print("twelve at the same time:", wait_for(3), "replicas")
        assert replicas() == 3
        for response in responses:
            response.cancel()  # their code gets a CancelledError

        print("nobody asks any more:", wait_for(0), "replicas")
        assert replicas() == 0
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
