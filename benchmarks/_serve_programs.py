"""The programs that benchmarks/serve.py runs, each in a process of its own.

``python _serve_programs.py server LIBRARY APP FORM REPLICAS PORT`` serves an echo until its standard input ends. LIBRARY is aktis,
ray, fastapi or litserve; APP is plain or fastapi (an ingress); FORM is async or def. The other programs print lines of JSON:
``handles LIBRARY SECONDS`` and ``batch LIBRARY BATCHES``.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

HOST = "127.0.0.1"
BATCH = 16
COST_S = 0.02  # of one call of the model, whatever the size of its batch


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def libraries(name: str) -> tuple[Any, Any]:
    """The core and the serve of a library."""
    if name == "ray":
        import ray
        from ray import serve

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        return ray, serve
    import aktis
    from aktis import serve

    return aktis, serve


# servers --------------------------------------------------------------------------------------


def plain_application(serve: Any, form: str, replicas: int) -> Any:
    @serve.deployment(num_replicas=replicas, max_ongoing_requests=100)
    class AsyncEcho:
        async def __call__(self, request: Any) -> str:
            return str(request.query_params["q"])

    @serve.deployment(num_replicas=replicas, max_ongoing_requests=100)
    class Echo:
        def __call__(self, request: Any) -> str:
            return str(request.query_params["q"])

    return (AsyncEcho if form == "async" else Echo).bind()


def fastapi_application(serve: Any, form: str, replicas: int) -> Any:
    from fastapi import FastAPI

    app = FastAPI()
    if form == "async":

        class Echo:
            @app.get("/")
            async def echo(self, q: str) -> str:
                return q
    else:

        class Echo:  # type: ignore[no-redef]
            @app.get("/")
            def echo(self, q: str) -> str:
                return q

    return serve.deployment(num_replicas=replicas, max_ongoing_requests=100)(serve.ingress(app)(Echo)).bind()


def run_deployment(library: str, app: str, form: str, replicas: int, port: int) -> None:
    core, serve = libraries(library)
    make = plain_application if app == "plain" else fastapi_application
    serve.start(http_options={"host": HOST, "port": port})
    serve.run(make(serve, form, replicas))
    os.read(0, 1)
    serve.shutdown()
    core.shutdown()


def run_fastapi(form: str, port: int) -> None:
    import threading

    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()
    if form == "async":

        @app.get("/")
        async def echo(q: str) -> str:
            return q
    else:

        @app.get("/")
        def echo_in_thread(q: str) -> str:
            return q

    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, log_level="warning", access_log=False))

    def stop() -> None:
        os.read(0, 1)
        server.should_exit = True

    threading.Thread(target=stop, daemon=True).start()
    server.run()


def run_litserve(port: int) -> None:
    import signal
    import threading

    import litserve

    from _serve_litserve import Echo

    def stop() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    server = litserve.LitServer(Echo(), accelerator="cpu")
    server.run(host=HOST, port=port, generate_client_file=False, log_level="warning", access_log=False)


def server(library: str, app: str, form: str, replicas: str, port: str) -> None:
    if library == "fastapi":
        run_fastapi(form, int(port))
    elif library == "litserve":
        run_litserve(int(port))
    else:
        run_deployment(library, app, form, int(replicas), int(port))


# handle calls ---------------------------------------------------------------------------------


def one_at_a_time(call: Callable[[], Any], result: Callable[[Any], Any], seconds: float) -> float:
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(20):
            result(call())
        count += 20
    return count / (time.perf_counter() - begin)


def in_flight(call: Callable[[], Any], result: Callable[[Any], Any], seconds: float, most: int = 100) -> float:
    waiting: deque[Any] = deque()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(20):
            waiting.append(call())
            if len(waiting) >= most:
                result(waiting.popleft())
        count += 20
    while waiting:
        result(waiting.popleft())
    return count / (time.perf_counter() - begin)


def handles(library: str, seconds: str) -> None:
    """Handle calls and calls of actors of the same kind, in turns."""
    core, serve = libraries(library)
    if library == "aktis":
        core.init(num_cpus=2)
    serve.start(http_options={"host": HOST, "port": 0 if library == "aktis" else 18432})

    class AsyncEcho:
        async def __call__(self, x: int) -> int:
            return x

        async def f(self, x: int) -> int:
            return x

    class Echo:
        def __call__(self, x: int) -> int:
            return x

        def f(self, x: int) -> int:
            return x

    handle = {}
    for name, cls in (("async", AsyncEcho), ("def", Echo)):
        deployment = serve.deployment(name=name, max_ongoing_requests=200, ray_actor_options={"num_cpus": 0})(cls)
        handle[name] = serve.run(deployment.bind(), name=name, route_prefix=f"/{name}")
    actors = {
        "async": core.remote(num_cpus=0)(AsyncEcho).remote(),
        "def": core.remote(num_cpus=0, max_concurrency=100)(Echo).remote(),
        "plain": core.remote(num_cpus=0)(Echo).remote(),
    }
    calls: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {}
    for name, actor in actors.items():
        calls[f"actor {name}"] = (lambda actor=actor: actor.f.remote(1)), core.get
    for name, one in handle.items():
        calls[f"handle {name}"] = (lambda one=one: one.remote(1)), (lambda response: response.result())
    rates: dict[str, list[float]] = {}
    for _ in range(16):
        for name, (call, result) in calls.items():
            rates.setdefault(f"{name} 1", []).append(one_at_a_time(call, result, float(seconds)))
            rates.setdefault(f"{name} 100", []).append(in_flight(call, result, float(seconds)))
    say(**{name: samples[4:] for name, samples in rates.items()})  # the first ones warm up
    serve.shutdown()
    core.shutdown()


# batches --------------------------------------------------------------------------------------


def batch(library: str, batches: str) -> None:
    """Requests per second of a model that takes the same time for any batch: blocking, and beside the event loop."""
    import asyncio

    core, serve = libraries(library)
    if library == "aktis":
        core.init(num_cpus=2)
    serve.start(http_options={"host": HOST, "port": 0 if library == "aktis" else 18432})

    class Blocking:
        @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.05)  # type: ignore[untyped-decorator, unused-ignore]
        async def model(self, xs: list[int]) -> list[int]:
            time.sleep(COST_S)
            return xs

        async def __call__(self, x: int) -> int:
            return int(await self.model(x))

    class Beside:
        @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.05)  # type: ignore[untyped-decorator, unused-ignore]
        async def model(self, xs: list[int]) -> list[int]:
            await asyncio.sleep(COST_S)
            return xs

        async def __call__(self, x: int) -> int:
            return int(await self.model(x))

    found = {}
    for name, cls in (("blocking", Blocking), ("beside", Beside)):
        deployment = serve.deployment(name=name, max_ongoing_requests=8 * BATCH, ray_actor_options={"num_cpus": 0})(cls)
        handle = serve.run(deployment.bind(), name=name, route_prefix=f"/{name}")
        [response.result() for response in [handle.remote(1) for _ in range(4 * BATCH)]]
        samples = []
        for _ in range(3):
            begin = time.perf_counter()
            waiting: deque[Any] = deque()
            for x in range(BATCH * int(batches)):
                waiting.append(handle.remote(x))
                if len(waiting) >= 4 * BATCH:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
            samples.append(BATCH * int(batches) / (time.perf_counter() - begin))
        found[name] = statistics.median(samples)
    say(ideal=BATCH / COST_S, **found)
    serve.shutdown()
    core.shutdown()


if __name__ == "__main__":
    {"server": server, "handles": handles, "batch": batch}[sys.argv[1]](*sys.argv[2:])
