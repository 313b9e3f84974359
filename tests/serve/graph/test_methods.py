"""Which names a handle can call."""

from __future__ import annotations

from typing import Any

from aktis.serve._graph.handles import methods_of


def function(x: int) -> int:
    return x


class Plain:
    def __init__(self) -> None:
        self.predict = function

    def __call__(self) -> None: ...

    def act(self) -> None: ...


class Child(Plain):
    def more(self) -> None: ...


class Dynamic:
    def __getattr__(self, name: str) -> Any:
        return function


class Sets:
    def __init__(self, **given: Any) -> None:
        for name, value in given.items():
            setattr(self, name, value)


def test_methods() -> None:
    assert methods_of(function) == ("__call__",)
    assert methods_of(Plain) == ("__call__", "act", "predict")
    assert methods_of(Child) == ("__call__", "act", "more", "predict")
    assert methods_of(Dynamic) is None
    assert methods_of(Sets) is None
