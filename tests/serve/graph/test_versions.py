"""Versions: the same code and arguments have the same, in all processes; other code has another."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis import serve
from aktis.serve._graph.build import build_application
from aktis.serve._graph.version import digest, version_of
from aktis.serve.dag import InputNode
from aktis.serve.drivers import DAGDriver

PROGRAM = """
from aktis import serve
from aktis.serve._graph.build import build_application
import numpy as np

FACTOR = {factor}
NAMES = {{"b", "a", "c", "d"}}

def helper(x):
    return x * FACTOR

class Base:
    def act(self, x): return helper(x){extra}

@serve.deployment
class Model(Base):
    def __init__(self, w, other=None): self.w = w
    def __call__(self, request): return [self.act(self.w), NAMES, (lambda y: y + 1)(2)]

@serve.deployment
class Other:
    pass

spec = build_application(Model.bind(np.arange({size}), other=[Other.bind()]))
versions = [each.version for each in spec.deployments]
"""


def here(code: str) -> list[str]:
    """The versions that a program has in this process."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "<program>", "exec", dont_inherit=True), names)
    return list(names["versions"])


def elsewhere(code: str) -> list[str]:
    """The same in another process, whose sets have another order."""
    code = f"import sys\nsys.path[:0] = {sys.path!r}\n{code}\nprint(*versions)"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


def program(factor: int = 2, extra: str = "", size: int = 3) -> str:
    return PROGRAM.format(factor=factor, extra=extra, size=size)


def test_programs() -> None:
    first = here(program())
    assert first == here(program()) == elsewhere(program())
    for changed in (here(program(factor=3)), here(program(extra=" + 1")), here(program(size=4))):
        assert changed[0] == first[0]  # Other did not change
        assert changed[1] != first[1]


SERVICE = """
import abc, functools, logging, threading
from contextlib import asynccontextmanager
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from aktis import serve
from aktis.serve._graph.build import build_application

log, lock = logging.getLogger("x"), threading.Lock()

class Item(BaseModel):
    x: int = {default}

@functools.lru_cache
def cached(x): return x

half = functools.partial(cached, 2)

def user(token: str = ""): return token + {suffix!r}

class Abstract(abc.ABC):
    @abc.abstractmethod
    def act(self): ...

@asynccontextmanager
async def lifespan(app): yield

app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["*"])

@app.exception_handler(ValueError)
async def handler(request, error): return None

app.mount("/sub", FastAPI())

@serve.deployment
@serve.ingress(app)
class Service(Abstract):
    @app.post("/")
    def act(self, item: Item, who: str = Depends(user)) -> Item:
        with lock:
            log.info(app.title)
        return cached(item) + half()

    @serve.batch(max_batch_size=4)
    async def batched(self, items): return items

    @serve.multiplexed(max_num_models_per_replica=2)
    async def model(self, name): return name

versions = [build_application(Service.bind()).deployments[0].version]
"""


def service(default: int = 1, suffix: str = "") -> str:
    return SERVICE.format(default=default, suffix=suffix)


def test_services() -> None:
    first = here(service())
    assert first == here(service()) == elsewhere(service())
    assert len({*first, *here(service(default=2)), *here(service(suffix="x"))}) == 3


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=50)
@given(values, values)
def test_equal_values_and_only_those(one: Any, other: Any) -> None:
    assert digest(one) == digest(copy.deepcopy(one))
    if digest(one) == digest(other):
        assert one == other
    if one != other:
        assert digest(one) != digest(other)


def test_closures_defaults_and_recursion() -> None:
    def make(n: int, default: int = 0) -> Any:
        def inner(x: int, y: int = default) -> Any:
            return inner(x - 1) if x else n

        return inner

    def version(code: Any) -> str:
        return version_of(code, ((), {}), lambda value: "")

    assert version(make(1)) == version(make(1))
    assert len({version(make(1)), version(make(2)), version(make(1, 5))}) == 3


class Weird:
    def __reduce__(self) -> Any:
        raise TypeError("no")


def test_what_cannot_be_pickled_is_never_the_same() -> None:
    assert digest(Weird()) != digest(Weird())
    assert digest(np.ones(2)) == digest(np.ones(2)) != digest(np.zeros(2))


@pytest.mark.parametrize("value", [float("nan"), {"a": {1, 2}}, [print, np], Weird, property(lambda self: 1)])
def test_other_values(value: Any) -> None:
    assert digest(value) == digest(value)


def _driver_version(graph: str) -> str:
    def combine(left: Any, right: Any) -> Any: ...

    class Model:
        def predict(self, value: Any) -> Any: ...

    call, model = serve.deployment(combine), serve.deployment(Model).bind()
    with InputNode() as inp:
        result = {
            "items": lambda: call.bind(model.predict.bind(inp[0]), inp[1]),
            "attributes": lambda: call.bind(model.predict.bind(inp.a), inp.b),
            "other order": lambda: call.bind(inp[1], model.predict.bind(inp[0])),
            "constant": lambda: call.bind(model.predict.bind(inp[0]), 3),
        }[graph]()
        spec = build_application(DAGDriver.bind(result))
    return next(each.version for each in spec.deployments if each.name == "DAGDriver")


def test_what_a_function_of_a_graph_is_called_with_counts() -> None:
    versions = {graph: _driver_version(graph) for graph in ("items", "attributes", "other order", "constant")}
    assert len(set(versions.values())) == len(versions), versions
    assert _driver_version("items") == versions["items"]
