"""What is a URI, and what is a path on this machine."""

from __future__ import annotations

import os
import re

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*://")


def is_uri(text: str) -> bool:
    """Whether ``text`` begins with a scheme (``s3://``, ``file://``, ``memory://``, ...)."""
    return _SCHEME.match(text) is not None


def scheme(uri: str) -> str:
    """The scheme of a URI, without ``://``."""
    return uri.partition("://")[0].lower()


def local_path(text: str | os.PathLike[str]) -> str | None:
    """The path on this machine that is meant: plain paths with ``~`` expanded, ``file://``; None for other URIs."""
    text = os.fspath(text)
    if not is_uri(text):
        return os.path.expanduser(text)
    if scheme(text) not in ("file", "local"):
        return None
    from urllib.parse import unquote

    rest = text.partition("://")[2]
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost"):  # file://relative/path, as people write it
        return unquote(rest)
    return unquote(slash + path)


def join(base: str, *parts: str) -> str:
    """``base`` (a path or a URI, which may have a query) with further parts."""
    head, mark, query = base.partition("?") if is_uri(base) else (base, "", "")
    root = _SCHEME.match(head)
    start = root.group() if root is not None else ""
    return (
        start
        + "/".join(filter(None, [head[len(start) :].rstrip("/"), *(part.strip("/") for part in parts)]))
        + mark
        + query
    )


def file_uri(path: str) -> str:
    """The ``file://`` URI of a local path."""
    from urllib.parse import quote

    return "file://" + quote(os.path.abspath(path))
