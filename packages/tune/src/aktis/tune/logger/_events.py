"""TensorBoard event files, written without TensorFlow, protobuf or threads.

Importing a library for this would cost a run seconds at its start (tensorboardX imports torch and matplotlib where they are
installed), and a thread for each trial. The format is small::

    file    = record*
    record  = uint64 length | uint32 masked crc32c of the length | event | uint32 masked crc32c of the event
    event   = protocol buffer ``tensorflow.Event`` { 1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary }
    Summary = { 1: repeated Value { 1: tag, 2: float simple_value, 5: HistogramProto, 9: metadata } }

Sources: tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto, tensorflow/core/lib/io/record_writer.h,
tensorboard/plugins/hparams/{api,plugin_data}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

__all__ = ["event", "file_version", "hparams", "histogram", "read_events", "record", "scalar"]

_DOUBLE = struct.Struct("<d").pack
_FLOAT = struct.Struct("<f").pack
_HEADER = struct.Struct("<Q")
_CRC = struct.Struct("<I")


# -- protocol buffers, as far as needed -------------------------------------------------------------


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((max(number, 0),))
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    """A field with a length: a message, a string or packed numbers."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8", "backslashreplace"))


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + _DOUBLE(value)


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


# -- events -----------------------------------------------------------------------------------------


def scalar(tag: str, value: float) -> bytes:
    """A number, as a ``Summary.Value``."""
    try:
        return _scalar_prefix(tag) + _FLOAT(value)
    except (OverflowError, struct.error):  # too large for 32 bits, or an int for 64
        return _scalar_prefix(tag) + _FLOAT(float("inf") if value > 0 else float("-inf"))


def _scalar_prefix(tag: str) -> bytes:
    prefix = _PREFIXES.get(tag)
    if prefix is None:
        name = _text(1, tag)
        prefix = b"\x0a" + _varint(len(name) + 5) + name + b"\x15"
        if len(_PREFIXES) < _MOST_PREFIXES:
            _PREFIXES[tag] = prefix
    return prefix


# The tags of an experiment are few and come again with each result.
_PREFIXES: dict[str, bytes] = {}
_MOST_PREFIXES = 10_000


def histogram(tag: str, values: Iterable[float], bins: int = 30) -> bytes | None:
    """The distribution of numbers in buckets of equal width, as a ``Summary.Value``; None without a finite number.

    30 buckets, as TensorBoard's own summaries have.
    """
    import numpy

    numbers = numpy.asarray(values, dtype=numpy.float64).ravel()
    numbers = numbers[numpy.isfinite(numbers)]
    if not numbers.size:
        return None
    low, high = float(numbers.min()), float(numbers.max())
    with numpy.errstate(all="ignore"):
        total, square = float(numbers.sum()), float(numbers @ numbers)
        try:
            counts, edges = numpy.histogram(numbers, bins=bins if high > low else 1)
        except (ValueError, IndexError):  # so near to each other, or so large, that no buckets fit between
            counts, edges = numpy.array([numbers.size]), numpy.array([low, high])
    content = _double(1, low) + _double(2, high) + _double(3, float(numbers.size))
    content += _double(4, total) + _double(5, square)
    content += _field(6, edges[1:].astype("<f8").tobytes()) + _field(7, counts.astype("<f8").tobytes())
    return _field(1, _text(1, tag) + _field(5, content))


def event(values: Iterable[bytes], step: int, wall_time: float) -> bytes:
    """An event with any number of ``Summary.Value``."""
    return _double(1, wall_time) + _int(2, step) + _field(5, b"".join(values))


def file_version(wall_time: float) -> bytes:
    """The event that every file begins with."""
    return _double(1, wall_time) + _text(3, "brain.Event:2")


def record(data: bytes) -> bytes:
    """An event as it is in a file."""
    length = _HEADER.pack(len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


# -- hyper-parameters -------------------------------------------------------------------------------


def hparams(
    params: Mapping[str, Any], metrics: Iterable[str], name: str, failed: bool, wall_time: float
) -> list[bytes]:
    """The three values that make a trial a row of TensorBoard's HPARAMS page.

    Args:
        params: Booleans, numbers and strings by name.
        metrics: Tags of the numbers to show beside.
        name: What the row is called.
        failed: Whether the trial failed.
        wall_time: When it ended.
    """
    infos = b"".join(_field(4, _text(1, key) + _int(4, _hparam_type(value))) for key, value in params.items())
    infos += b"".join(_field(5, _field(1, _text(2, tag))) for tag in metrics)
    start = b"".join(_field(1, _text(1, key) + _field(2, _hparam_value(value))) for key, value in params.items())
    start += _text(4, name)
    end = _int(1, 2 if failed else 1) + _double(2, wall_time)
    return [
        _plugin_value("_hparams_/experiment", _field(2, infos)),
        _plugin_value("_hparams_/session_start_info", _field(3, start)),
        _plugin_value("_hparams_/session_end_info", _field(4, end)),
    ]


def _plugin_value(tag: str, content: bytes) -> bytes:
    metadata = _field(1, _text(1, "hparams") + _field(2, content))
    return _field(1, _text(1, tag) + _field(9, metadata))


def _hparam_type(value: Any) -> int:
    return 1 if isinstance(value, str) else 2 if isinstance(value, bool) else 3


def _hparam_value(value: Any) -> bytes:
    if isinstance(value, str):
        return _text(3, value)
    return _int(4, int(value)) if isinstance(value, bool) else _double(2, float(value))


# -- records ----------------------------------------------------------------------------------------


def _masked_crc(data: bytes) -> bytes:
    crc = _crc32c()(data)
    return _CRC.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _crc32c() -> Callable[[bytes], int]:
    try:
        from crc32c import crc32c
    except ImportError:  # correct, and about a thousand times slower: a tenth of a millisecond for a usual result
        return _crc32c_in_python
    function: Callable[[bytes], int] = crc32c
    return function


def _crc32c_in_python(data: bytes) -> int:
    table = _crc_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    """One step of CRC-32C for each byte (the polynomial of RFC 3720, reflected)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


def read_events(content: bytes) -> Iterator[tuple[int, int, int]]:
    """The whole records of a file as ``(end of the record in the file, step, bytes of the summary)``; a torn end is left out."""
    at = 0
    while at + 12 <= len(content):
        (length,) = _HEADER.unpack_from(content, at)
        end = at + 12 + length + 4
        if end > len(content):
            return
        data = content[at + 12 : end - 4]
        if content[at + 8 : at + 12] != _masked_crc(content[at : at + 8]):
            return
        if end + 16 > len(content) and content[end - 4 : end] != _masked_crc(
            data
        ):  # only the last one can be half there
            return
        yield end, *_step_and_summary(data)
        at = end


def _step_and_summary(data: bytes) -> tuple[int, int]:
    """Of an event that :func:`event` wrote: time, step, summary, in this order."""
    if len(data) < 10 or data[9] != 2 << 3:
        return 0, -1
    step = shift = 0
    for at in range(10, len(data)):
        step |= (data[at] & 0x7F) << shift
        shift += 7
        if data[at] < 0x80:
            break
    return step, len(data) - at - 1
