"""What a policy client and a policy server say to each other, over HTTP.

    PolicyClient                                                   PolicyServerInput
      POST /aktis-rllib/1                                            one thread for each connection
      Authorization: Bearer <token>                                  401 without it
      {client, number, command, ...}      ── utils/_codec.py ──►     413 if too long, 400 if it is no message
                                          ◄───────────────────      {"result": ...} or {"error": {type, message}}

Nothing that comes from a client is unpickled. Requests of a client are numbered: one that is repeated because its answer
was lost gets the same answer, and is not done twice. The only pickle goes the other way, in the answer to GET_WORKER_ARGS
(a client with local inference runs the server's policy classes), and is signed with the token.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from aktis.rllib import _settings
from aktis.rllib.evaluation.metrics import RolloutMetrics
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, SampleBatchType
from aktis.rllib.utils._codec import CodecError, encode
from aktis.util.files import private_folder, write_whole

PATH = "/aktis-rllib/1"
CONTENT_TYPE = "application/x-aktis-rllib"
TOKEN_VARIABLE = _settings.TOKEN.full
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Commands(Enum):
    """What a client can ask for."""

    ACTION_SPACE = "ACTION_SPACE"
    OBSERVATION_SPACE = "OBSERVATION_SPACE"
    GET_WORKER_ARGS = "GET_WORKER_ARGS"
    GET_WEIGHTS = "GET_WEIGHTS"
    REPORT_SAMPLES = "REPORT_SAMPLES"
    START_EPISODE = "START_EPISODE"
    GET_ACTION = "GET_ACTION"
    LOG_ACTION = "LOG_ACTION"
    LOG_RETURNS = "LOG_RETURNS"
    END_EPISODE = "END_EPISODE"


class PolicyServerError(RuntimeError):
    """The server refused a request, or failed at it; the message is the server's."""


class PolicyServerUnreachable(ConnectionError):
    """There is no policy server at the address, or no longer."""


def is_loopback(host: str) -> bool:
    """Whether only this machine gets there."""
    return host in _LOOPBACK or host.startswith("127.")


def server_token(token: str | bool | None, host: str, port: int) -> str | None:
    """The token of a server.

    Args:
        token: The token; None: that of AKTIS_RLLIB_TOKEN, or for a server of this machine only a new one, which clients of
            the same user find in a file; False: none.
        host: The address that it listens on.
        port: The port.

    Raises:
        ValueError: Others could get there without a token.
    """
    if token is False:
        if not is_loopback(host):
            raise ValueError(
                f"token=False: without a token a policy server may only listen on 127.0.0.1, not on {host!r}"
            )
        return None
    given = token if isinstance(token, str) and token else _settings.TOKEN.read()
    if given:
        return given
    if not is_loopback(host):
        raise ValueError(
            f"a policy server on {host!r} can be reached from other machines and needs a token: give token=..., or set "
            f"{TOKEN_VARIABLE} here and for the clients"
        )
    made = secrets.token_urlsafe(32)
    write_whole(_token_file(port), made, mode=0o600)
    return made


def client_token(token: str | bool | None, host: str, port: int) -> str | None:
    """The token that a client shows: the one given, that of AKTIS_RLLIB_TOKEN, or that of this user's server on this machine."""
    if token is False:
        return None
    given = token if isinstance(token, str) and token else _settings.TOKEN.read()
    if given or not is_loopback(host):
        return given
    try:
        return _token_file(port).read_text()
    except OSError:
        return None


def remove_token_file(port: int, token: str | None) -> None:
    """A server that ends takes its token away."""
    path = _token_file(port)
    try:
        if token is not None and path.read_text() == token:
            path.unlink()
    except OSError:
        pass


def _token_file(port: int) -> Path:
    folder = Path(tempfile.gettempdir()) / f"aktis-rllib-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    return private_folder(folder, f"set {TOKEN_VARIABLE}") / f"policy-server-{port}.token"


def sign(data: bytes, token: str | None) -> bytes:
    """What proves that `data` comes from somebody who knows the token."""
    return hmac.new((token or "").encode(), data, hashlib.sha256).digest()


def same(one: bytes, other: bytes) -> bool:
    """Whether two secrets are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def batch_to_wire(batch: SampleBatchType) -> dict[str, Any]:
    """A batch as plain values."""
    if isinstance(batch, MultiAgentBatch):
        return {"env_steps": batch.count, "policies": {name: dict(part) for name, part in batch.policy_batches.items()}}
    return {"columns": dict(batch)}


def batch_from_wire(wire: Any) -> SampleBatchType:
    """The batch again.

    Raises:
        CodecError: It is none: columns are of different lengths, or no arrays.
    """
    if not isinstance(wire, dict) or not ("columns" in wire or "policies" in wire):
        raise CodecError("a batch has `columns`, or `policies`")
    if "columns" in wire:
        return _columns_from_wire(wire["columns"])
    policies, env_steps = wire["policies"], wire.get("env_steps")
    if not isinstance(policies, dict) or not isinstance(env_steps, int):
        raise CodecError("a batch of several policies has `policies`, a dict, and `env_steps`, a number")
    return MultiAgentBatch({str(name): _columns_from_wire(part) for name, part in policies.items()}, env_steps)


def _columns_from_wire(columns: Any) -> SampleBatch:
    if not isinstance(columns, dict) or "rewards" not in columns:
        raise CodecError("the columns of a batch are a dict with at least `rewards`")
    count = len(columns["rewards"])
    for name, column in columns.items():
        for leaf in _leaves(column):
            if not isinstance(leaf, np.ndarray) or leaf.ndim == 0 or len(leaf) != count:
                raise CodecError(f"column {name!r} is no array of {count} rows")
    return SampleBatch(columns)


def _leaves(column: Any) -> list[Any]:
    if isinstance(column, (dict, tuple)):
        return [leaf for part in (column.values() if isinstance(column, dict) else column) for leaf in _leaves(part)]
    return [column]


def metrics_to_wire(episodes: list[RolloutMetrics]) -> list[dict[str, Any]]:
    """Episodes as plain values; what cannot be sent (media of odd types) is left out."""
    sent = []
    for episode in episodes:
        fields = dict(episode._asdict())
        for name in list(fields):
            try:
                encode(fields[name])
            except CodecError:
                del fields[name]
        sent.append(fields)
    return sent


def metrics_from_wire(wire: Any) -> list[RolloutMetrics]:
    """Episodes again; fields that there are not are passed over."""
    if not isinstance(wire, list):
        raise CodecError("metrics are a list of episodes")
    known = set(RolloutMetrics._fields)
    found = []
    for fields in wire:
        if not isinstance(fields, dict) or not {"episode_length", "episode_reward"} <= fields.keys():
            raise CodecError("an episode has at least `episode_length` and `episode_reward`")
        found.append(RolloutMetrics(**{name: value for name, value in fields.items() if name in known}))
    return found
