"""Two people in a room, over WebSockets: FastAPI's own, in a deployment.

Run: python examples/serve_websocket.py
Needs: pip install aktis-serve
Prints: what was heard in the room.
"""

from __future__ import annotations

import asyncio

import websockets
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from aktis import serve

app = FastAPI()


@serve.deployment
@serve.ingress(app)
class Room:
    def __init__(self) -> None:
        self.there: dict[str, WebSocket] = {}

    @app.websocket("/{name}")
    async def enter(self, socket: WebSocket, name: str) -> None:
        await socket.accept()
        self.there[name] = socket
        await self.tell(f"{name} came")
        try:
            while True:
                await self.tell(f"{name}: {await socket.receive_text()}")
        except WebSocketDisconnect:
            del self.there[name]
            await self.tell(f"{name} left")

    async def tell(self, text: str) -> None:
        for socket in list(self.there.values()):
            await socket.send_text(text)


async def talk(url: str) -> list[str]:
    async with websockets.connect(f"{url}/ada") as ada:
        heard = [await ada.recv()]
        async with websockets.connect(f"{url}/bob") as bob:
            heard.append(await ada.recv())
            await ada.send("hello")
            await bob.recv()
            assert await bob.recv() == "ada: hello"
            heard.append(await ada.recv())
        heard.append(await ada.recv())
    return [str(line) for line in heard]


def main() -> None:
    client = serve.start(http_options={"port": 0})
    try:
        serve.run(Room.bind(), route_prefix="/room")
        heard = asyncio.run(talk(client.root_url.replace("http", "ws") + "/room"))
        print("\n".join(heard))
        assert heard == ["ada came", "bob came", "ada: hello", "bob left"]
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
