"""Connecting to a Ray cluster, and leaving it as it was."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

import ray

from aktis._ray import errors, shipping, travel
from aktis._ray.engine import RayEngine
from aktis._serialization.errors import PACKAGES

if TYPE_CHECKING:
    from aktis._settings import InitSettings

_logger = logging.getLogger("aktis.ray")

KNOCK_SECONDS = 15.0
# Ray starts a process for each client, and now and then takes one that has just been started for one that has ended, or
# cannot read its command line yet.
_NOT_STARTED = ("Starting Ray client server failed", "psutil")
CLIENT, DIRECT = "ray://", "ray+"


def ray_address(address: str) -> str:
    """What Ray calls our address: ``ray`` is the cluster that this process can find, ``ray+host:6379`` one by its GCS."""
    if address == "ray":
        return os.environ.get("RAY_ADDRESS") or "auto"
    return address.removeprefix(DIRECT) if address.startswith(DIRECT) else address


def start(settings: InitSettings) -> RayEngine:
    """Connect, unless the program is connected already: then its connection is used, and left alone afterwards."""
    address = settings.address or "ray"
    job = travel.Job(settings.worker_hooks, PACKAGES[0])
    if ray.is_initialized():
        return RayEngine(ray.get_runtime_context().namespace, job, None)
    _knock(address)
    with shipping.packaged(settings.runtime_env) as environment:
        _connect(address, settings, environment)
    return RayEngine(settings.namespace, job, _leave)


def _connect(address: str, settings: InitSettings, environment: dict[str, Any]) -> None:
    try:
        _connect_once(address, settings, environment)
    except ConnectionError as error:
        if not _did_not_start(error):
            raise
        _logger.warning("Ray's server for this client did not start; trying once more: %s", error)
        _connect_once(address, settings, environment)


def _connect_once(address: str, settings: InitSettings, environment: dict[str, Any]) -> None:
    theirs = ray_address(address)
    given: dict[str, Any] = {}
    if not theirs.startswith(CLIENT):
        given["configure_logging"] = False
    try:
        ray.init(
            address=theirs,
            namespace=settings.namespace,
            runtime_env=environment,
            log_to_driver=settings.log_to_driver,
            **given,
        )
    except errors.RAY_ERRORS as error:  # the token of the cluster is missing or wrong, for example
        raise errors.translate(error) from error
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and not isinstance(error, OSError) and "address" not in str(error).lower():
            raise
        raise ConnectionError(
            f"no Ray cluster answers at address={address!r}: {error}{_hint(theirs, error)}"
        ) from error


def _knock(address: str) -> None:
    """Ray waits for minutes where nobody listens; this does not."""
    theirs = ray_address(address)
    host, _, port = theirs.removeprefix(CLIENT).partition("?")[0].rpartition(":")
    if not port.isdigit() or "://" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"no Ray cluster answers at address={address!r} ({host}:{port}): {error}") from error


def _did_not_start(error: Exception) -> bool:
    return any(text in str(error) for text in _NOT_STARTED)


def _hint(theirs: str, error: Exception) -> str:
    if _did_not_start(error):
        return ""
    if theirs == "auto":
        return (
            " (aktis.init('ray') takes the cluster of this machine, or that of the variable RAY_ADDRESS; "
            "start one with `ray start --head`, or name another: aktis.init('ray://host:10001'))"
        )
    return (
        " (somebody listens there: perhaps the cluster has another token than this process, which takes its own from "
        "RAY_AUTH_TOKEN, from the file of RAY_AUTH_TOKEN_PATH or from ~/.ray/auth_token, with RAY_AUTH_MODE=token)"
    )


def _leave() -> None:
    ray.shutdown()
