"""The HTTP edge of one node: what the actor of ``actor.py`` has inside. See docs/internals-serve.md.

::

    controller ── start, stats, drain ──► ProxyHost ──► Listener (the port), uvicorn (connections), Dispatcher (requests)
    watcher's thread ── routes ─────────► loop

One loop, the actor's own; no threads but core's and the watcher's. A proxy that was restarted listens again by itself, on the port
that it had, as soon as it knows the routes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import aktis
from aktis.serve._observe.counters import Counters
from aktis.serve._protocol import PROXY_NAME, ROUTES, RouteView
from aktis.serve._proxy.app import ProxyApp, wrap
from aktis.serve._proxy.dispatch import Dispatcher
from aktis.serve._proxy.edge import Edge
from aktis.serve._proxy.local import Local
from aktis.serve._proxy.protocol import protocol_class
from aktis.serve._proxy.sockets import Listener
from aktis.serve._routing.router import Router
from aktis.serve._routing.watcher import watcher
from aktis.serve.exceptions import ServeError
from aktis.util.files import write_whole

logger = logging.getLogger("aktis.serve")

ROUTES_WITHIN_S = 3.0  # how long a proxy waits for the first routes before it answers without them
FLUSH_EVERY_S = 1.0
BACKLOG = 2048


class ProxyHost:
    """Takes HTTP connections and passes requests to replicas.

    Args:
        index: which one: "SERVE_PROXY#<index>".
        http_options: HTTPOptions.
        grpc_options: gRPCOptions, or None.
    """

    def __init__(self, index: int, http_options: Any, grpc_options: Any = None) -> None:
        self._index = index
        self._http_options = http_options
        self._grpc_options = grpc_options
        self._addresses: dict[str, tuple[str, int]] | None = None
        self._starting: asyncio.Future[dict[str, Any]] | None = None
        self._listener: Listener | None = None
        self._server: Any = None
        self._app: ProxyApp | None = None
        self._grpc: Any = None
        self._counters = Counters()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._known = asyncio.Event()
        self._draining = False
        self._loop = asyncio.get_running_loop()
        self._observer: Any = None
        self._dispatcher = Dispatcher(http_options, Router.of, self._counters, self._loop)
        self._edge = Edge(http_options, self._dispatcher, self._counters, self._loop)
        self._dispatcher.local = Local(self._dispatcher, http_options, self._page_data, lambda: self._draining)
        if aktis.get_runtime_context().was_current_actor_reconstructed:
            self._restart = self._loop.create_task(self._start_again())

    # start -----------------------------------------------------------------------------------------------------------
    async def start(self) -> dict[str, Any]:
        """Listens. Returns the addresses: ``{"http": (host, port), "grpc": (host, port), "pid": pid}``. May be called again.

        Raises:
            PortInUseError: somebody else has the port.
        """
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.ensure_future(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> dict[str, Any]:
        from aktis.serve._observe import proxy_log
        from aktis.serve._observe.observer import Observer

        options = self._http_options
        addresses: dict[str, tuple[str, int]] = {}
        if self._observer is None:
            proxy_log.set_up(self._index, os.path.join(aktis.get_runtime_context().get_session_dir(), "logs", "serve"))
            self._observer = Observer(self._index, options, self._counters, self._dispatcher)
            watcher().subscribe((ROUTES,), self._routes_came)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._known.wait(), ROUTES_WITHIN_S)
        try:
            if options.enabled:
                port = options.port or self._remembered("http") or 0
                self._listener = Listener(options.host, port, _session())
                await self._serve(self._listener)
                addresses["http"] = self._listener.address
                self._remember("http", self._listener.address[1])
            if self._grpc_options is not None and getattr(self._grpc_options, "enabled", False):
                addresses["grpc"] = await self._start_grpc()
        except BaseException:
            if self._listener is not None:
                self._listener.close()
            raise
        self._addresses = addresses
        if self._flush_timer is None:
            self._flush()
        logger.info("proxy %d listens on %s", self._index, addresses)
        return {**addresses, "pid": os.getpid()}

    async def _start_again(self) -> None:
        """After a crash: nobody may call start() again."""
        try:
            await self.start()
        except Exception:
            logger.exception("proxy %d was restarted and cannot listen", self._index)

    async def _serve(self, listener: Listener) -> None:
        import uvicorn

        options = self._http_options
        self._app = ProxyApp(self._dispatcher, self._edge)
        app = wrap(self._app, options.middlewares or ())
        config = uvicorn.Config(
            app,
            http=protocol_class(self._edge),
            ws=_websocket_protocol(),
            ws_max_size=options.websocket_max_bytes,
            lifespan="auto" if options.middlewares else "off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            interface="asgi3",
            timeout_keep_alive=max(1, int(options.keep_alive_timeout_s)),
            backlog=BACKLOG,
        )
        config.load()
        config.ssl = _tls(options)
        self._server = uvicorn.Server(config)
        self._server.lifespan = config.lifespan_class(config)
        self._edge.server_state = self._server.server_state
        self._edge.start()
        try:
            await self._server.startup(sockets=[listener.socket])
        except SystemExit:  # uvicorn's way to say so
            raise ServeError("A middleware did not start: it answered lifespan.startup with a failure.") from None

    async def _start_grpc(self) -> tuple[str, int]:
        from aktis.serve._grpc.server import GrpcServer

        port = self._grpc_options.port or self._remembered("grpc") or 0
        self._grpc = GrpcServer(self._grpc_options, self._dispatcher.table, port=port, dispatcher=self._dispatcher)
        address: tuple[str, int] = await self._grpc.start()
        self._remember("grpc", address[1])
        return address

    def _routes_came(self, views: tuple[RouteView, ...] | None) -> None:
        """On the watcher's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._set_routes, tuple(views or ()))

    def _set_routes(self, views: tuple[RouteView, ...]) -> None:
        self._dispatcher.set_routes(views)
        if self._grpc is not None:
            self._grpc.set_routes(views)
        self._known.set()

    # ports -----------------------------------------------------------------------------------------------------------
    def _port_file(self, kind: str) -> Path:
        return Path(aktis.get_runtime_context().get_session_dir()) / f"{PROXY_NAME}{self._index}.{kind}.port"

    def _remembered(self, kind: str) -> int:
        """The port that this proxy had before it was restarted; 0: none."""
        if not aktis.get_runtime_context().was_current_actor_reconstructed:
            return 0
        try:
            return int(self._port_file(kind).read_text())
        except (OSError, ValueError):
            return 0

    def _remember(self, kind: str, port: int) -> None:
        with suppress(OSError):  # a session without a folder: then a restart takes another port
            write_whole(self._port_file(kind), str(port))

    # what it knows ---------------------------------------------------------------------------------------------------
    async def stats(self) -> dict[str, Any]:
        """Numbers for the controller, the page and the REST API."""
        return {
            "index": self._index,
            "pid": os.getpid(),
            "node_id": aktis.get_runtime_context().get_node_id() or "",
            "addresses": dict(self._addresses or {}),
            "draining": self._draining,
            "ongoing": self._dispatcher.ongoing,
            "connections": len(self._edge.connections),
            "opened": self._edge.opened,
            "websockets": self._counters.websockets,
            "refused": dict(self._counters.refused),
            "routes": self._observer.routes() if self._observer is not None else [],
        }

    async def _page_data(self) -> dict[str, Any]:
        from aktis.serve._observe.page import gather

        return await gather(await self.stats(), bool(self._http_options.development))

    def _flush(self) -> None:
        self._flush_timer = self._loop.call_later(FLUSH_EVERY_S, self._flush)
        self._observer.flush()

    # end -------------------------------------------------------------------------------------------------------------
    async def drain(self, timeout: float | None = None) -> bool:
        """Takes no more connections, finishes what it has. True: everything was finished within ``timeout`` seconds."""
        self._draining = self._edge.draining = True
        limit = self._http_options.drain_timeout_s if timeout is None else timeout
        if self._server is not None:
            for server in self._server.servers:
                server.close()
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._edge.connections):
            connection.shutdown()
        deadline = self._loop.time() + limit
        if self._app is not None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._app.websockets.leave(), limit)
        while self._dispatcher.ongoing and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        done = not self._dispatcher.ongoing
        for task in list(self._dispatcher.tasks):
            task.cancel()
        for connection in list(self._edge.connections):
            connection.transport.close()
        if self._grpc is not None:
            await self._grpc.stop(max(0.0, deadline - self._loop.time()))
        if self._server is not None and self._server.lifespan is not None:
            await self._server.lifespan.shutdown()
        self._edge.stop()
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        if self._observer is not None:
            self._observer.flush()
            self._observer.close()
        return done


def _session() -> str:
    return str(aktis.get_runtime_context().get_session_name())


def _websocket_protocol() -> Any:
    try:
        from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
    except ImportError:  # an older uvicorn
        return "websockets"
    return WebSocketsSansIOProtocol


def _tls(options: Any) -> ssl.SSLContext | None:
    """The TLS context of the options; None without."""
    if not options.ssl_certfile:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile, options.ssl_keyfile_password)
    if options.ssl_ca_certs:
        context.load_verify_locations(options.ssl_ca_certs)
        context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return context
