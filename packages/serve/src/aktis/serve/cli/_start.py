"""`serve start` and `serve shutdown`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from aktis.serve import _settings, _state
from aktis.serve.cli import CommandError
from aktis.serve.cli._client import RestClient, connect
from aktis.util.processes import started

END_TIMEOUT = 90.0  # seconds for requests to finish, and processes to end


def start_host(
    address: str | None, http: dict[str, Any], grpc: dict[str, Any], rest_host: str, rest_port: int | None
) -> None:
    """Leave a process behind that serves; say where it is."""
    given = {key: value for key, value in {**http, **grpc}.items() if value is not None}
    running = [state for state in _state.living_hosts() if state.kind == "start"]
    if running and address is None and rest_port is None:
        if given:
            raise CommandError(f"Serve runs already ({describe(running[-1])}): end it first with `serve shutdown`")
        print(f"Serve runs already: {describe(running[-1])}")
        return
    state = spawn_host(address, _stated(http), _stated(grpc), rest_host, rest_port, app_dir=os.getcwd())
    print(
        f"Serve runs: {describe(state)}\nDeploy with `serve deploy`, end it with `serve shutdown`. Its log: {state.log}"
    )


def spawn_host(
    address: str | None,
    http: dict[str, Any],
    grpc: dict[str, Any],
    rest_host: str = "127.0.0.1",
    rest_port: int | None = None,
    **others: Any,
) -> _state.HostState:
    """A host process with these options. CommandError with what it says when it cannot start."""
    from aktis.serve._host import HostOptions, HostStartError, spawn
    from aktis.serve._validate import parse
    from aktis.serve.config import gRPCOptions

    if warning := parse(gRPCOptions, grpc, "grpc_options").in_vain():
        print(f"Warning: {warning}", file=sys.stderr)
    options = HostOptions(
        address=address,
        http=http,
        grpc=grpc,
        rest_host=rest_host,
        rest_port=rest_port,
        token=_settings.TOKEN.read(),
        **others,
    )
    try:
        return spawn(options)
    except HostStartError as error:
        raise CommandError(str(error)) from None


def describe(state: _state.HostState) -> str:
    """Where a service is, for people."""
    where = ", ".join([*state.http, *(f"gRPC {address}" for address in state.grpc)]) or "no HTTP"
    return f"{where}; REST API {state.rest}; process {state.pid}"


def _stated(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def end_host(yes: bool, address: str | None) -> None:
    """End the service, and wait until it has ended."""
    client = connect(address)
    client.request("GET", "/api/serve/health")
    if not yes:
        import typer

        typer.confirm(f"End Serve at {client.address}, and all applications of it?", abort=True)
    client.request("DELETE", "/api/serve/applications/")
    _await_end(client)
    print(f"Serve at {client.address} has ended")


def _await_end(client: RestClient) -> None:
    """Of the process, where it is ours; otherwise until nobody answers."""
    deadline = time.monotonic() + END_TIMEOUT
    pid = client.pid
    while time.monotonic() < deadline:
        if pid:
            if started(pid) is None:
                return
        else:
            try:
                client.request("GET", "/api/serve/health")
            except CommandError:
                return
        time.sleep(0.03)
    raise CommandError(f"Serve at {client.address} was told to end, and has not within {END_TIMEOUT:g} s", 1)
