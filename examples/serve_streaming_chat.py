"""A chat whose answer arrives word by word, as server-sent events; when the reader leaves, the model stops.

Run: python examples/serve_streaming_chat.py
Needs: pip install aktis-serve requests
Prints: the answer as it arrives, and that the model stopped.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import requests
from starlette.requests import Request
from starlette.responses import StreamingResponse

from aktis import serve
from aktis.serve import DeploymentHandle


@serve.deployment
class Model:
    """Says the words of its prompt, slowly."""

    def __init__(self) -> None:
        self.stopped = 0

    async def generate(self, prompt: str) -> AsyncIterator[str]:
        try:
            for word in prompt.split():
                yield word
                await asyncio.sleep(0.01)
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise

    async def how_often_stopped(self) -> int:
        return self.stopped


@serve.deployment
class Chat:
    def __init__(self, model: DeploymentHandle[Any]) -> None:
        self.model = model.options(stream=True)

    async def __call__(self, request: Request) -> StreamingResponse:
        prompt = (await request.json())["prompt"]
        return StreamingResponse(self.events(prompt), media_type="text/event-stream")

    async def events(self, prompt: str) -> AsyncIterator[str]:
        async for word in self.model.generate.remote(prompt):
            yield f"data: {json.dumps({'word': word})}\n\n"
        yield "data: [DONE]\n\n"


def words(reply: requests.Response) -> list[str]:
    lines = [line.removeprefix("data: ") for line in reply.iter_lines(decode_unicode=True) if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line)["word"] for line in lines]


def main() -> None:
    client = serve.start(http_options={"port": 0})
    try:
        serve.run(Chat.bind(Model.bind()))
        with requests.post(client.root_url, json={"prompt": "to be or not to be"}, stream=True, timeout=30) as reply:
            print(reply.headers["content-type"])
            found = words(reply)
        print(found)
        assert found == ["to", "be", "or", "not", "to", "be"]

        # A reader who has heard enough: what generates for it is told.
        with requests.post(client.root_url, json={"prompt": "la " * 10_000}, stream=True, timeout=30) as reply:
            print(next(reply.iter_lines(decode_unicode=True)))
        model = serve.get_deployment_handle("Model")
        for _ in range(500):
            if model.how_often_stopped.remote().result():
                break
        assert model.how_often_stopped.remote().result() == 1
        print("the reader left, and the model stopped")
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
