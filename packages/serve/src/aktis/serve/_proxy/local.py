"""Paths of our own, under ``/-/``: routes, health, metrics and the page."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from aktis.serve._proxy import replies
from aktis.serve._proxy.replies import Reply

if TYPE_CHECKING:
    from aktis.serve._proxy.dispatch import Dispatcher

NO_STORE = (b"cache-control", b"no-store")


class Local:
    """Answers paths under ``/-/``.

    Args:
        dispatcher: whose routes are shown.
        options: HTTPOptions.
        data: gives what the page shows.
        draining: whether this proxy is about to end.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        options: Any,
        data: Callable[[], Coroutine[Any, Any, dict[str, Any]]],
        draining: Callable[[], bool],
    ) -> None:
        self._dispatcher = dispatcher
        self._page = bool(options.status_page)
        self._metrics = bool(options.metrics)
        self._data = data
        self._draining = draining

    def __call__(self, method: str, path: str) -> Reply | Coroutine[Any, Any, Reply] | None:
        """The reply, or a coroutine that gives it; None for paths that are not ours."""
        if path == "/-/healthz":
            if self._draining():
                return replies.text(503, "This proxy is draining.", replies.CLOSE, NO_STORE)
            return _get_only(method) or replies.text(200, "success", NO_STORE)
        if path == "/-/routes":
            return _get_only(method) or replies.as_json(self._dispatcher.table.listing())
        if path == "/-/metrics" and self._metrics:
            return _get_only(method) or self._exposition()
        if self._page:
            if path == "/-/aktis":
                return _get_only(method) or _page()
            if path == "/-/aktis/":
                return Reply(308, ((b"location", b"../aktis"), NO_STORE), b"")
            if path == "/-/aktis/data":
                return _get_only(method) or self._page_data()
        return None

    async def _exposition(self) -> Reply:
        import asyncio

        from aktis.util import metrics

        found = await asyncio.get_running_loop().run_in_executor(None, metrics.exposition)
        body = found if isinstance(found, bytes) else str(found).encode()
        return Reply(200, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"), NO_STORE), body)

    async def _page_data(self) -> Reply:
        return replies.as_json(await self._data())


def _get_only(method: str) -> Reply | None:
    if method in ("GET", "HEAD"):
        return None
    return replies.text(405, f"{method} is not allowed here.", (b"allow", b"GET, HEAD"))


def _page() -> Reply:
    from aktis.serve._observe.page import headers, html

    return Reply(200, headers(), html())
