"""The contents of files whose names are in a column."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from aktis.data.exceptions import ReadError
from aktis.data.expressions._evaluation import Evaluation
from aktis.data.expressions._expr import Expr
from aktis.data.expressions._functions import Value, one_array
from aktis.data.expressions._types import is_text

_THREADS = 16  # transfers at a time per task: they wait for the network, mostly


@dataclass(frozen=True, eq=False, repr=False)
class DownloadExpr(Expr):
    """Bytes of the files that a column names."""

    uri_column_name: str
    filesystem: Any = None
    on_error: Literal["raise", "null"] = "raise"
    max_threads: int = _THREADS

    def _reads(self) -> frozenset[str] | None:
        return frozenset([self.uri_column_name])

    @property
    def _total(self) -> bool:
        return False

    def _compute(self, evaluation: Evaluation) -> Value:
        uris = evaluation.get_column(self.uri_column_name)
        if not is_text(uris.type) and not pa.types.is_null(uris.type):
            raise TypeError(f"Column {self.uri_column_name!r} has no paths or URIs, but values of type {uris.type}")
        encoded = one_array(uris.dictionary_encode())  # each file is fetched once per block
        distinct = encoded.dictionary.to_pylist()
        if not distinct:
            return pa.nulls(len(uris), pa.binary())
        with ThreadPoolExecutor(min(self.max_threads, len(distinct)), thread_name_prefix="aktis-download") as pool:
            contents = list(pool.map(self._fetch, distinct))
        type_ = pa.large_binary() if sum(len(c or b"") for c in contents) >= 2**31 - 1 else pa.binary()
        return pa.array(contents, type_).take(encoded.indices)

    def _fetch(self, uri: str) -> bytes | None:
        try:
            return _read(uri, self.filesystem)
        except Exception as error:
            if self.on_error == "null":
                return None
            failure = ReadError(
                f"{uri} (column {self.uri_column_name!r}) could not be downloaded: {error}. "
                "With download(..., on_error='null') such rows get null"
            )
            failure.path = uri
            raise failure from error

    def _text(self) -> str:
        policy = "" if self.on_error == "raise" else f", on_error={self.on_error!r}"
        return f"download({self.uri_column_name!r}{policy})"


def _read(uri: str, filesystem: Any) -> bytes:
    import pyarrow.fs as pafs

    if filesystem is not None and not isinstance(filesystem, pafs.FileSystem):  # fsspec
        data: bytes = filesystem.cat_file(uri)
        return data
    if filesystem is None:
        if "://" not in uri:
            with open(uri, "rb") as file:
                return file.read()
        try:
            filesystem, uri = pafs.FileSystem.from_uri(uri)
        except (pa.ArrowInvalid, NotImplementedError):  # a scheme that only fsspec knows: http, memory, ...
            import fsspec

            with fsspec.open(uri, "rb") as file:
                contents: bytes = file.read()
            return contents
    elif "://" in uri:
        uri = uri.split("://", 1)[1]
    with filesystem.open_input_stream(uri, compression=None) as stream:
        return bytes(stream.read())


def download(
    uri_column_name: str,
    *,
    filesystem: Any = None,
    on_error: Literal["raise", "null"] = "raise",
    max_threads: int = _THREADS,
) -> Expr:
    """The contents (bytes) of the files that a column names; null for null.

    Args:
        uri_column_name: a column of paths, or URIs (``s3://``, ``https://``, ...).
        filesystem: of pyarrow or fsspec. None: found by each URI.
        on_error: what a file that cannot be read does: ``"raise"`` a ReadError that names it, or give ``"null"``.
        max_threads: transfers at a time in each task.
    """
    if on_error not in ("raise", "null"):
        raise ValueError(f"on_error is 'raise' or 'null', not {on_error!r}")
    if max_threads < 1:
        raise ValueError(f"max_threads is at least 1, not {max_threads}")
    if not isinstance(uri_column_name, str):
        raise TypeError(f"download() takes the name of a column, not {uri_column_name!r}")
    return DownloadExpr(uri_column_name, filesystem, on_error, max_threads)
