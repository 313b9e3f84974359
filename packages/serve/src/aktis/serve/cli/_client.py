"""Talks to the REST API of a service that runs, and finds it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
import urllib.parse
from typing import Any

from aktis.serve import _settings
from aktis.serve._state import living_hosts
from aktis.serve.cli import CommandError

DEFAULT_ADDRESS = "http://127.0.0.1:52365"
TIMEOUT = 60.0  # seconds for an answer


class RestClient:
    """Requests to one service. CommandError for whatever does not work."""

    def __init__(self, address: str, token: str = "", pid: int = 0) -> None:
        parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"--address {address!r} must look like {DEFAULT_ADDRESS}")
        self.address = f"{parts.scheme}://{parts.netloc}"
        self.pid = pid
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if self._secure else 80)
        self._token = token

    def answers(self) -> bool:
        """Whether somebody listens there."""
        try:
            socket.create_connection((self._host, self._port), 2).close()
        except OSError:
            return False
        return True

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The answer's JSON."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body, default=str), sent)
            answer = connection.getresponse()
            data = answer.read()
        except ConnectionRefusedError:
            raise CommandError(
                f"nothing answers at {self.address}: start Serve with `serve start` or `serve run`, or say where it is "
                "with --address"
            ) from None
        except (OSError, http.client.HTTPException, socket.gaierror) as error:
            raise CommandError(f"{self.address} does not answer: {error or type(error).__name__}") from None
        finally:
            connection.close()
        try:
            content = json.loads(data)
        except ValueError:
            raise CommandError(
                f"{self.address} is no REST API of Serve: it answered {answer.status} {answer.reason}"
            ) from None
        if answer.status >= 400:
            raise CommandError(str(content.get("error", content)) if isinstance(content, dict) else str(content))
        return content


def connect(address: str | None, *, look: bool = False) -> Any:
    """A client of the service at ``address``: a URL, or a session (its directory, or "auto").

    Without one: what variables name, or the service that was started last; to ``look`` also a program's session in which
    Serve runs.
    """
    given = address or _settings.ADDRESS.read() or None
    token = _settings.TOKEN.read()
    hosts = living_hosts()
    if given is not None:
        if given == "auto" or os.path.sep in given.partition("://")[0]:
            return _session(given)
        client = RestClient(given, token)
        same = [state for state in hosts if state.rest == client.address.replace("localhost", "127.0.0.1")]
        return RestClient(given, token or same[0].token, same[0].pid) if same else client
    if hosts:
        if len(hosts) > 1:
            others = ", ".join(state.rest for state in hosts[:-1])
            print(f"serve: this is {hosts[-1].rest}; with --address also {others}", file=sys.stderr)
        return RestClient(hosts[-1].rest, token or hosts[-1].token, hosts[-1].pid)
    client = RestClient(DEFAULT_ADDRESS, token)
    if look and not client.answers():
        with contextlib.suppress(CommandError):
            return _session("auto")
    return client


def _session(address: str) -> Any:
    from aktis.serve.cli._session import SessionClient

    return SessionClient(address)
