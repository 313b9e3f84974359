"""A service with replicas on both nodes: HTTP, a handle, more replicas, and deleted again."""

from __future__ import annotations

import requests
from starlette.requests import Request

import aktis
from aktis import serve


@serve.deployment(num_replicas=1)
class Doubler:
    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, request: Request) -> dict[str, object]:
        return {"word": self.word, "double": 2 * int(request.query_params["x"])}

    def node(self) -> str:
        return str(aktis.get_runtime_context().get_node_id())


def main() -> None:
    client = serve.start(http_options={"port": 0})
    try:
        handle = serve.run(Doubler.bind("first"), name="app")
        for x in range(5):
            reply = requests.get(client.root_url, params={"x": x}, timeout=30)
            assert reply.json() == {"word": "first", "double": 2 * x}, reply.text
        assert handle.node.remote().result()

        serve.run(Doubler.options(num_replicas=3).bind("second"), name="app")
        states = serve.status().applications["app"].deployments["Doubler"].replica_states
        assert states["RUNNING"] == 3, states
        assert requests.get(client.root_url, params={"x": 4}, timeout=30).json() == {"word": "second", "double": 8}

        serve.delete("app")
        assert "app" not in serve.status().applications
        assert requests.get(client.root_url, params={"x": 1}, timeout=30).status_code == 404
    finally:
        serve.shutdown()


if __name__ == "__main__":
    with aktis.init():
        main()
    print("done")
