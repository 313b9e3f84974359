"""From a function to a service: it answers over HTTP and from Python, and is updated while it runs.

Run: python examples/serve_quickstart.py
Needs: pip install aktis-serve requests
Prints: answers over HTTP and from Python, before and after the update, and the status.
"""

from __future__ import annotations

import requests
from starlette.requests import Request

from aktis import serve


@serve.deployment(num_replicas=2)
class Greeter:
    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, request: Request) -> dict[str, str]:
        return {"answer": self.greet(request.query_params.get("name", "world"))}

    def greet(self, name: str) -> str:
        return f"{self.word}, {name}!"


def main() -> None:
    client = serve.start(http_options={"port": 0})  # any free port; the default is 8000
    try:
        handle = serve.run(Greeter.bind("Hello"))
        reply = requests.get(client.root_url, params={"name": "Ada"}, timeout=30)
        print(reply.status_code, reply.json())
        assert reply.json() == {"answer": "Hello, Ada!"}

        # The same from Python: no HTTP, and arguments as they are.
        responses = [handle.greet.remote(name) for name in ("Bob", "Cleo")]
        print([response.result() for response in responses])

        # Deployed again, with something else: replicas are replaced one after another, and requests go on meanwhile.
        serve.run(Greeter.bind("Good evening"))
        assert handle.greet.remote("Ada").result() == "Good evening, Ada!"

        status = serve.status().applications["default"]
        print(status.status.value, status.deployments["Greeter"].status.value)
        assert status.deployments["Greeter"].replica_states["RUNNING"] == 2
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
