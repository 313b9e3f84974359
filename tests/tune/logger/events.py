"""Reads event files with the parsers of TensorBoard's format, which know nothing of how ours were written."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def read(folder: str | Path) -> Iterator[Any]:
    """The events of all files in a directory."""
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2", exc_type=ImportError)
    for path in sorted(Path(folder).glob("events.out.tfevents*")):
        content = path.read_bytes()
        at = 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            yield event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
        assert at == len(content)


def scalars(folder: str | Path) -> dict[str, list[tuple[int, float]]]:
    """``(step, value)`` of each tag."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in read(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found
