"""Which application a path belongs to. Pure.

A prefix matches at the borders of segments, the longest one wins, and only what the client literally wrote counts: an encoded
slash does not end a segment, and dot segments are not resolved. So no spelling of a path reaches an application
other than the one whose prefix the path begins with, which is what a proxy in front of us sees, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from aktis.serve._protocol import RouteView

INTERNAL = "/-/"  # paths of our own


class Target(NamedTuple):
    """A request's path, taken apart."""

    path: str  # decoded, as ASGI has it; without the configured root_path
    matched: str  # what routes are compared with: the same, but slashes that were encoded are no slashes in it
    raw_path: bytes
    query: bytes


def parse_target(target: bytes) -> Target:
    """The target of a request line: "/path?query", or "*".

    Raises:
        ValueError: it is neither, or has characters that a target cannot have.
    """
    raw_path, _, query = target.partition(b"?")
    if not raw_path.startswith(b"/") and raw_path != b"*":
        raise ValueError("the target of a request must be a path that begins with /")
    if b"#" in target:
        raise ValueError("the target of a request has no fragment (#)")
    try:
        text = raw_path.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("the path of a request must be ASCII; encode other characters as %XX") from None
    if "%" not in text:
        return Target(text, text, raw_path, query)
    path = unquote(text)
    matched = path
    if "%2f" in text or "%2F" in text:
        matched = "/".join([unquote(segment).replace("/", "\0") for segment in text.split("/")])
    return Target(path, matched, raw_path, query)


class RouteTable:
    """Prefixes and their applications.

    Args:
        views: what the controller says.
        root_path: the path under which a proxy in front of us publishes us. It is taken off paths that have it; paths
            without it are fine as well, because such proxies strip it as a rule.
    """

    __slots__ = ("_by_prefix", "_deepest", "root_path", "views")

    def __init__(self, views: Iterable[RouteView] = (), root_path: str = "") -> None:
        self.views = tuple(views)
        self.root_path = root_path.rstrip("/")
        self._by_prefix = {view.prefix.rstrip("/") or "/": view for view in self.views}
        self._deepest = max((prefix.count("/") for prefix in self._by_prefix if prefix != "/"), default=0)

    def strip(self, path: str) -> str:
        """The path without the configured root path."""
        root = self.root_path
        if root and path.startswith(root) and (len(path) == len(root) or path[len(root)] == "/"):
            return path[len(root) :] or "/"
        return path

    def match(self, path: str) -> RouteView | None:
        """The route of a path (as :attr:`Target.matched` has it, stripped), or None."""
        by_prefix = self._by_prefix
        if self._deepest:
            segments = path.split("/", self._deepest + 1)
            for count in range(min(len(segments), self._deepest + 1), 1, -1):
                view = by_prefix.get("/".join(segments[:count]))
                if view is not None:
                    return view
        return by_prefix.get("/") if path.startswith("/") else None

    def listing(self) -> dict[str, str]:
        """What ``/-/routes`` shows: prefixes and the deployments behind them."""
        return {view.prefix: view.deployment for view in self.views}
