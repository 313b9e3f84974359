"""serve.start() and Class.deploy(), as in Ray 1.9."""

import json
import sys
import urllib.request

import ray
from ray import serve

ray.init(num_cpus=4, log_to_driver=False)
port = int(sys.argv[1])
serve.start(http_options={"host": "127.0.0.1", "port": port})


@serve.deployment(name="counter", route_prefix="/counter", num_replicas=1)
class Counter:
    def __init__(self, start):
        self.count = start

    async def __call__(self, request):
        self.count += 1
        return {"count": self.count, "by": request.query_params.get("by", "nobody")}

    def plain(self, value):
        return self.count + value


@serve.deployment
def hello(request):
    return "hello"


Counter.deploy(10)
hello.deploy()
with urllib.request.urlopen(f"http://127.0.0.1:{port}/counter?by=me", timeout=20) as answer:
    print("http", json.loads(answer.read()))
with urllib.request.urlopen(f"http://127.0.0.1:{port}/hello", timeout=20) as answer:
    print("function", answer.read().decode())
print("handle", ray.get(Counter.get_handle().plain.remote(5)))
print("deployments", sorted(serve.list_deployments()))
serve.shutdown()
