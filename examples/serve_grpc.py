"""A service of one's own over gRPC, beside HTTP: generated from a .proto file, answered by a deployment.

Run: python examples/serve_grpc.py
Needs: pip install "aktis-serve[grpc]" grpcio-tools
Prints: a price, and the status of a question that cannot be answered.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from aktis import serve

PROTO = """
syntax = "proto3";
package fruit;

message Fruit { string name = 1; }
message Price { int32 cents = 1; }

service Stand {
  rpc Ask(Fruit) returns (Price);
  rpc Watch(Fruit) returns (stream Price);
}
"""


@serve.deployment
class Stand:
    async def Ask(self, fruit: Any, grpc_context: Any) -> Any:
        from fruit_pb2 import Price

        if not fruit.name:
            grpc_context.abort(grpc.StatusCode.INVALID_ARGUMENT, "which fruit?")
        return Price(cents=10 * len(fruit.name))

    async def Watch(self, fruit: Any) -> AsyncIterator[Any]:
        from fruit_pb2 import Price

        for cents in range(3):
            yield Price(cents=cents)


def ask(address: str) -> None:
    from fruit_pb2 import Fruit
    from fruit_pb2_grpc import StandStub

    with grpc.insecure_channel(address) as channel:
        stand = StandStub(channel)
        print("an apple:", stand.Ask(Fruit(name="apple"), timeout=30).cents, "cents")
        assert stand.Ask(Fruit(name="apple"), timeout=30).cents == 50
        assert [price.cents for price in stand.Watch(Fruit(name="apple"), timeout=30)] == [0, 1, 2]
        try:
            stand.Ask(Fruit(), timeout=30)
        except grpc.RpcError as error:
            print(error.code(), error.details())
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        else:
            raise AssertionError("nothing is not a fruit")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "fruit.proto").write_text(PROTO)
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--grpc_python_out=."]
        subprocess.run([*command, "fruit.proto"], cwd=folder, check=True)
        sys.path.insert(0, folder)  # before the session starts: its processes look for modules where this one does
        add = "fruit_pb2_grpc.add_StandServicer_to_server"
        client = serve.start(http_options={"port": 0}, grpc_options={"port": 0, "grpc_servicer_functions": [add]})
        try:
            serve.run(Stand.bind())
            host, port = client.grpc[0]
            ask(f"{host}:{port}")
        finally:
            serve.shutdown()


if __name__ == "__main__":
    main()
