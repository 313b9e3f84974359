"""``aktis.util.inspect_serializability``: what in an object cannot be sent to a worker."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from aktis._serialization.diagnose import diagnose


class FailureTuple:
    """Something that cannot be pickled: ``obj``, its ``name`` (the path to it) and the ``parent`` that holds it."""

    __slots__ = ("name", "obj", "parent")

    def __init__(self, obj: Any, name: str, parent: Any) -> None:
        self.obj = obj
        self.name = name
        self.parent = parent

    def __repr__(self) -> str:
        return f"FailureTuple(obj={self.obj!r}, name={self.name!r}, parent={self.parent!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FailureTuple) and self.obj is other.obj and self.name == other.name

    def __hash__(self) -> int:
        return hash((id(self.obj), self.name))


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: TextIO | None = None
) -> tuple[bool, set[FailureTuple]]:
    """Say whether an object can be sent to a worker, print what stands in the way, and return it.

    ``depth`` bounds how far the object is taken apart. Returns ``(True, set())`` when there is nothing to find.
    """
    if name is None:
        name = getattr(base_obj, "__qualname__", None) or f"<{type(base_obj).__name__}>"
    out = sys.stdout if print_file is None else print_file
    found = diagnose(base_obj, name, max_depth=depth, max_found=20)
    if not found:
        print(f"{name} can be serialized", file=out)
        return True, set()
    print(f"{name} cannot be serialized:", file=out)
    for culprit in found:
        print(f"  {culprit}", file=out)
    return False, {FailureTuple(culprit.value, culprit.path, culprit.parent) for culprit in found}
