"""For methods of deployments that are called by gRPC: what they can be given beside the request.

A method that has a parameter ``grpc_context`` gets a :class:`RayServegRPCContext`; one that takes a stream of requests gets a
:class:`gRPCInputStream`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    import grpc

__all__ = ["RayServegRPCContext", "gRPCAbort", "gRPCInputStream"]

Metadata = tuple[tuple[str, Any], ...]


class CallFacts(NamedTuple):
    """What the proxy knows of a call, and sends along."""

    metadata: Metadata = ()
    peer: str = ""
    request_id: str = ""
    application: str = ""
    model_id: str = ""
    auth: dict[str, Any] | None = None  # auth_context, peer_identities, peer_identity_key


class Outcome(NamedTuple):
    """What user code said with its context."""

    code: int | None = None  # number of a grpc.StatusCode
    details: str = ""
    trailing: Metadata = ()
    compression: int | None = None


class gRPCAbort(Exception):
    """Raised by :meth:`RayServegRPCContext.abort`: ends the call with the status that the context has."""


class RayServegRPCContext:
    """The context of one call: who calls, and the status that it ends with. As a servicer's context in grpcio."""

    def __init__(self, facts: CallFacts) -> None:
        self._facts = facts
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._compression: grpc.Compression | None = None

    # who calls --------------------------------------------------------------------------------------------------------

    def invocation_metadata(self) -> list[tuple[str, Any]]:
        """The metadata that the client sent."""
        return list(self._facts.metadata)

    def peer(self) -> str:
        """The client's address, as grpcio writes it."""
        return self._facts.peer

    def auth_context(self) -> dict[str, Any]:
        """Properties of the client's certificate; empty without TLS."""
        return dict((self._facts.auth or {}).get("context", {}))

    def peer_identities(self) -> Any:
        """Identities of the client's certificate; None without TLS."""
        return (self._facts.auth or {}).get("identities")

    def peer_identity_key(self) -> str | None:
        """Which property the identities come from."""
        return (self._facts.auth or {}).get("key")

    def request_id(self) -> str:
        """Id of the request, as in logs; the client finds it in the trailing metadata."""
        return self._facts.request_id

    def application(self) -> str:
        """Name of the application."""
        return self._facts.application

    def multiplexed_model_id(self) -> str:
        """Which model the call is for; "" when the client did not say."""
        return self._facts.model_id

    def traceparent(self) -> str | None:
        """The tracing context, if the client sent one."""
        return self._found("traceparent")

    def tracestate(self) -> str | None:
        """More of the tracing context."""
        return self._found("tracestate")

    def _found(self, key: str) -> str | None:
        return next((str(value) for name, value in self._facts.metadata if name == key), None)

    # how it ends ------------------------------------------------------------------------------------------------------

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status of the call, unless it is OK: also of one that raises."""
        import grpc

        if not isinstance(code, grpc.StatusCode):
            raise TypeError(f"code must be a grpc.StatusCode, and it is {code!r}")
        self._code = code

    def code(self) -> grpc.StatusCode | None:
        """What :meth:`set_code` set."""
        return self._code

    def set_details(self, details: str) -> None:
        """Text for the client, with a status that is not OK."""
        self._details = str(details)

    def details(self) -> str:
        """What :meth:`set_details` set."""
        return self._details

    def set_trailing_metadata(self, trailing_metadata: Iterable[tuple[str, Any]]) -> None:
        """Metadata that the client gets at the end."""
        self._trailing = tuple((str(key), value) for key, value in trailing_metadata)

    def trailing_metadata(self) -> list[tuple[str, Any]]:
        """What :meth:`set_trailing_metadata` set."""
        return list(self._trailing)

    def set_compression(self, compression: grpc.Compression) -> None:
        """How the replies are compressed."""
        self._compression = compression

    def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, Any]] = ()
    ) -> NoReturn:
        """End the call now with this status. Raises :class:`gRPCAbort`, which is not to be caught."""
        self.set_code(code)
        self.set_details(details)
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        raise gRPCAbort(f"{code.name}: {details}")

    def _outcome(self) -> Outcome | None:
        if self._code is None and not self._details and not self._trailing and self._compression is None:
            return None
        code = None if self._code is None else int(self._code.value[0])
        return Outcome(
            code, self._details, self._trailing, None if self._compression is None else int(self._compression)
        )


class gRPCInputStream:
    """The requests of a client that streams: ``async for request in stream``; in synchronous methods ``for request in stream``."""

    def __init__(self, inbox: Any, loop: Any) -> None:
        self._inbox = inbox
        self._loop = loop
        self._ended = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if not self._ended:
            message = await self._inbox.receive()
            if message["type"] == "grpc.message":
                return message["message"]
            self._ended = True
        raise StopAsyncIteration

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        import asyncio

        try:
            return asyncio.run_coroutine_threadsafe(self.__anext__(), self._loop).result()
        except StopAsyncIteration:
            raise StopIteration from None

    def is_cancelled(self) -> bool:
        """Whether the client has gone, or the call has ended."""
        return bool(self._inbox.gone)

    def cancel(self) -> None:
        """Take no more requests."""
        self._inbox.leave()
