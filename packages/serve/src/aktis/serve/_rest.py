"""The REST API for config files: a Starlette application over :class:`Administration`, and a server for it in a thread.

::

    GET    /api/serve/applications/        all that runs (ServeInstanceDetails)
    PUT    /api/serve/applications/        deploy a file of several applications (ServeDeploySchema); ?keep_others=true: others stay
    DELETE /api/serve/applications/        end Serve
    GET, PUT, DELETE /api/serve/deployments/, GET /api/serve/deployments/status     the same for one application (Ray 2.3)
    GET    /api/serve/health               {"status": "ok"}

Who may deploy may run code. So: it listens on 127.0.0.1; other users of the machine are refused, where the kernel can tell; a
``Host`` header must name this machine (a page that rebinds its name to 127.0.0.1 has another one); requests that a browser
makes for another site are refused; a token (``AKTIS_SERVE_TOKEN``) must be sent, if there is one; without one, it is not served
to the network.

Errors are JSON: ``{"error": "...", "details": [{"field": "applications.0.name", "message": ..., "value": ...}]}``.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aktis.serve import _settings
from aktis.serve._admin import Administration
from aktis.serve.exceptions import ServeError, ServeNotRunningError
from aktis.serve.schema import ServeApplicationSchema, ServeDeploySchema, explain_validation, validation_text

logger = logging.getLogger("aktis.serve")

DEFAULT_REST_PORT = 52365  # of Ray's agent, which its users know
MAX_BODY = 16 << 20  # bytes of a config
MOST_DROPPED = 128 << 20  # bytes that are read nevertheless: who sends, reads the answer only afterwards
LOCAL_HEADER = "x-aktis-local-code"  # from `serve run`: local directories are meant, on this machine


class _Refused(Exception):
    def __init__(self, status: int, text: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.details = details


def create_app(admin: Administration, *, host: str = "127.0.0.1", token: str = "") -> Starlette:
    """The application. ``host`` is what it is bound to; ``token`` what clients must send, "" for nothing."""
    api = _Endpoints(admin)
    guard = _Guard(host, token)
    routes = [
        Route("/api/serve/applications/", guard(api.applications), methods=["GET", "PUT", "DELETE"]),
        Route("/api/serve/deployments/", guard(api.deployments), methods=["GET", "PUT", "DELETE"]),
        Route("/api/serve/deployments/status", guard(api.status), methods=["GET"]),
        Route("/api/serve/health", guard(api.health), methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _as_json, Exception: _unexpected})


async def _as_json(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail)


async def _unexpected(_request: Request, error: Exception) -> Response:
    logger.error("the REST API failed", exc_info=error)
    return _error(500, f"internal error ({type(error).__name__}); the log of the service has more")


class _Guard:
    """Who is let in, and what is said when something is wrong."""

    def __init__(self, host: str, token: str) -> None:
        self._token = token
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        self._loopback = is_loopback(host)
        if not self._loopback:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def __call__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                self._check(request)
                return await endpoint(request)
            except _Refused as error:
                return _error(error.status, error.text, error.details)
            except ValidationError as error:
                return _error(422, validation_text(error), explain_validation(error))
            except ServeNotRunningError as error:
                return _error(503, str(error))
            except (ServeError, ValueError) as error:
                return _error(400, str(error))

        return guarded

    def _check(self, request: Request) -> None:
        host = _without_port(request.headers.get("host", "")).lower()
        if host not in self._names and (self._loopback or not _is_address(host)):
            raise _Refused(403, f"Host {host!r} is not this machine")
        site = request.headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin"):
            raise _Refused(403, f"a request for another site ({site}) is refused")
        origin = request.headers.get("origin")
        if origin is not None and origin.rpartition("//")[2].lower() != request.headers.get("host", "").lower():
            raise _Refused(403, f"a request from the page {origin!r} is refused")
        if self._token:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise _Refused(
                    401,
                    f"the token is missing or wrong: send it as 'Authorization: Bearer ...' ({_settings.TOKEN.full})",
                )
        elif request.client is not None and request.scope.get("server"):
            owner = peer_uid(request.client, request.scope["server"])
            if owner not in (None, 0, os.getuid()):
                raise _Refused(403, "this service belongs to another user")


class _Endpoints:
    """What each path does. Administration blocks, so it is asked in threads."""

    def __init__(self, admin: Administration) -> None:
        self._admin = admin

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def applications(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(await run_in_threadpool(self._admin.details))
        if request.method == "DELETE":
            return await self._delete()
        local = request.headers.get(LOCAL_HEADER) == "1"
        data = await _json_body(request)
        if "applications" not in data and "import_path" in data:
            raise _Refused(
                422,
                "this is the file of one application: send it to /api/serve/deployments/, or put it under 'applications'",
            )
        schema = ServeDeploySchema.model_validate(data, context={"local": local})
        return await self._deploy(request, schema)

    async def deployments(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(await run_in_threadpool(self._admin.single_config))
        if request.method == "DELETE":
            return await self._delete()
        data = await _json_body(request)
        if "applications" in data:
            raise _Refused(422, "this is a file of several applications: send it to /api/serve/applications/")
        schema = ServeApplicationSchema.model_validate(data)
        return await self._deploy(request, schema)

    async def _deploy(self, request: Request, schema: ServeApplicationSchema | ServeDeploySchema) -> Response:
        keep = request.query_params.get("keep_others", "false")
        if keep not in ("true", "false"):
            raise _Refused(422, f"keep_others must be true or false, and it is {keep!r}")
        deploy = partial(self._admin.deploy, schema, replace_all=keep == "false")
        return JSONResponse({"warnings": await run_in_threadpool(deploy)})

    async def status(self, request: Request) -> Response:
        name = request.query_params.get("name")
        return JSONResponse(await run_in_threadpool(self._admin.single_status, name))

    async def _delete(self) -> Response:
        await run_in_threadpool(self._admin.shutdown)
        return JSONResponse({})


async def _json_body(request: Request) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Refused(415, f"the body must be application/json, not {kind or 'of no type'}")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= MAX_BODY:
            parts.append(part)
        elif size > MOST_DROPPED:
            break
    if size > MAX_BODY:
        raise _Refused(413, f"a config may have {MAX_BODY} bytes")
    try:
        data = json.loads(b"".join(parts))
    except ValueError as error:
        raise _Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _Refused(422, f"a config is an object with 'import_path' or 'applications', not a {type(data).__name__}")
    return data


def _error(status: int, text: str, details: list[dict[str, Any]] | None = None) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": text, **({"details": details} if details else {})}, status, headers=headers)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") <= 1 else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def peer_uid(client: tuple[str, int], server: tuple[str, int]) -> int | None:
    """Whose process is at the other end of a connection over 127.0.0.1; None where the kernel does not say."""
    if not is_loopback(client[0]) or ":" in client[0]:
        return None
    local, remote = (_hex_address(*end) for end in (client, server))
    try:
        with open("/proc/net/tcp", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[1] == local and fields[2] == remote:
                    return int(fields[7])
    except (OSError, ValueError, IndexError):
        return None
    return None


def _hex_address(host: str, port: int) -> str:
    import struct

    return f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{port:04X}"


class RestServer:
    """Serves the application from a thread of its own, until :meth:`close`."""

    def __init__(
        self, admin: Administration, host: str = "127.0.0.1", port: int | None = None, token: str = ""
    ) -> None:
        if not is_loopback(host) and not token:
            raise PermissionError(
                f"the REST API lets its clients run code, so it is not opened on {host} without a token: set {_settings.TOKEN.full}"
            )
        self._socket = _bound(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        self.token = token
        self._app = create_app(admin, host=host, token=token)
        self._server: Any = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serve-rest", daemon=True)
        self._thread.start()
        self._ready.wait(10)

    @property
    def url(self) -> str:
        """Where it is."""
        name = f"[{self.host}]" if ":" in self.host else "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"http://{name}:{self.port}"

    def _run(self) -> None:
        import uvicorn

        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, lifespan="off", timeout_keep_alive=5, server_header=False
        )
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None

        async def serve() -> None:
            self._ready.set()
            await self._server._serve([self._socket])

        asyncio.run(serve())

    def close(self) -> None:
        """Answer what was asked, and end."""
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()


def _bound(host: str, port: int | None) -> socket.socket:
    """A listening socket. Without a port the usual one, or any that is free when that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for choice in (DEFAULT_REST_PORT, 0) if port is None else (port,):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, choice))
            sock.listen(64)
            sock.setblocking(False)
            return sock
        except OSError as error:
            sock.close()
            if port is not None or choice == 0:
                raise OSError(error.errno, f"the REST API cannot listen on {host}:{choice}: {error.strerror}") from None
    raise AssertionError("unreachable")
