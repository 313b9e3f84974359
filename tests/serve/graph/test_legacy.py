"""Which code is written for handles of Ray 2.3."""

from __future__ import annotations

import ast
import asyncio
import textwrap
from typing import Any

import pytest

from aktis.serve import _settings
from aktis.serve._graph.legacy import source_looks_legacy, uses_legacy_handles

LEGACY = [
    "return await (await self.h.remote(x))",
    "ref = await self.h.predict.remote(x)\nreturn await ref",
    "refs = [await h.remote(x) for h in self.hs]\nreturn await asyncio.gather(*refs)",
    "refs = []\nfor h in self.hs:\n    refs.append(await h.remote(x))\nreturn [await r for r in refs]",
    "task = self.h.remote(x)\nref = await task\nreturn ray.get(ref)",
    "a, b = await asyncio.gather(self.h.remote(1), self.h.remote(2))\nreturn await a + await b",
    "if (ref := await self.h.remote(x)) is not None:\n    return await ref",
    "refs = await asyncio.gather(*[h.remote(x) for h in self.hs])\nreturn await refs[0]",
]
TODAY = [
    "return await self.h.remote(x)",
    "value = await self.h.remote(x)\nreturn value + 1",
    "y = await self.a.remote(x)\nreturn await self.b.remote(y)",
    "responses = [h.remote(x) for h in self.hs]\nreturn await asyncio.gather(*responses)",
    "ref = await self.h.remote(x)\nreturn await self.other(ref)",
]


def parsed(body: str) -> ast.AST:
    return ast.parse("class A:\n    async def __call__(self, x):\n" + textwrap.indent(body, "        "))


@pytest.mark.parametrize("body", LEGACY)
def test_awaited_twice(body: str) -> None:
    assert source_looks_legacy(parsed(body))


@pytest.mark.parametrize("body", TODAY)
def test_awaited_once(body: str) -> None:
    assert not source_looks_legacy(parsed(body))


class Old:
    def __init__(self, handle: Any) -> None:
        self.handle = handle

    async def __call__(self, x: int) -> Any:
        return await asyncio.gather(*[await self.handle.remote(x)])


class Inherits(Old):
    pass


class Annotated:
    def __init__(self, handle: RayServeDeploymentHandle) -> None:  # type: ignore[name-defined]  # noqa: F821
        self.handle = handle


def new(handle: Any) -> Any:
    return handle


def test_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert uses_legacy_handles(Old) and uses_legacy_handles(Inherits) and uses_legacy_handles(Annotated)
    assert not uses_legacy_handles(new) and not uses_legacy_handles(int)
    monkeypatch.setenv(_settings.LEGACY_HANDLES.full, "1")
    assert uses_legacy_handles(new)
    monkeypatch.setenv(_settings.LEGACY_HANDLES.full, "0")
    assert not uses_legacy_handles(Old)
