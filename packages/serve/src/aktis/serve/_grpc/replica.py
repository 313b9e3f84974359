"""The replica's side of gRPC: a method of the user's, as ``call`` and ``stream`` of the replica can run it.

The proxy asks for the method ``grpc:<kind>:<name>``. Kinds: "uu" is a plain call; the others are streams of items, of which the
last is an :class:`Ending`: "us" many replies, "su" many requests, "ss" both. Requests of a client that streams arrive by ``push``
of the replica, in the inbox of the call.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

from aktis.serve.context import request_context
from aktis.serve.grpc_util import CallFacts, Outcome, RayServegRPCContext, gRPCAbort, gRPCInputStream

PREFIX = "grpc:"
UNIMPLEMENTED = 12
INTERNAL = 13


class Reply(NamedTuple):
    """What a plain call gives."""

    message: Any
    outcome: Outcome | None


class Ending(NamedTuple):
    """The last item of a stream."""

    outcome: Outcome | None


class GrpcFailure(Exception):
    """User code raised; with the status that it had set before, if any. The cause has its traceback."""

    def __init__(self, text: str, outcome: Outcome | None = None) -> None:
        super().__init__(text, outcome)
        self.outcome = outcome

    def __str__(self) -> str:
        return str(self.args[0])


class MethodMissingError(GrpcFailure):
    """The deployment has no such method."""


def adapter(user: Any, name: str) -> Callable[..., Any]:
    """A function for ``UserCallable.method``: takes the request (None when they stream) and :class:`CallFacts`."""
    _, kind, wanted = name.split(":", 2)
    try:
        function = user.method(wanted).function
    except AttributeError as error:
        text = str(error)

        async def missing(_request: Any, _facts: CallFacts) -> Any:
            raise MethodMissingError(text, Outcome(UNIMPLEMENTED, f"the application has no method {wanted!r}"))

        return missing if kind == "uu" else _failing(missing)
    call = _Call(user, function, takes_stream=kind[0] == "s")
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if kind == "uu":
        return call.plain_async if is_async else call.plain
    if kind == "su":
        return call.single_async if is_async else call.single
    return call.items_async if is_async else call.items


def _failing(missing: Callable[..., Any]) -> Callable[..., Any]:
    async def items(request: Any, facts: CallFacts) -> AsyncIterator[Any]:
        await missing(request, facts)
        yield None

    return items


class _Call:
    """The ways to call one method."""

    def __init__(self, user: Any, function: Callable[..., Any], *, takes_stream: bool) -> None:
        self._user = user
        self._function = function
        self._takes_stream = takes_stream
        self._loop = asyncio.get_running_loop()
        try:
            self._wants_context = "grpc_context" in inspect.signature(function).parameters
        except (TypeError, ValueError):
            self._wants_context = False

    def _begin(self, request: Any, facts: CallFacts) -> tuple[RayServegRPCContext, Any]:
        """The context of the call, and what the user's method returns."""
        context = RayServegRPCContext(facts)
        argument = self._requests() if self._takes_stream else request
        more = {"grpc_context": context} if self._wants_context else {}
        return context, (lambda: self._function(argument, **more))

    def _requests(self) -> gRPCInputStream:
        meta = request_context.get()
        assert meta is not None
        return gRPCInputStream(self._user.inbox(meta.call_id), self._loop)

    async def plain_async(self, request: Any, facts: CallFacts) -> Reply:
        context, run = self._begin(request, facts)
        try:
            return Reply(await run(), context._outcome())
        except gRPCAbort:
            return Reply(None, context._outcome())
        except Exception as error:
            raise _failure(error, context) from error

    def plain(self, request: Any, facts: CallFacts) -> Reply:
        context, run = self._begin(request, facts)
        try:
            return Reply(run(), context._outcome())
        except gRPCAbort:
            return Reply(None, context._outcome())
        except Exception as error:
            raise _failure(error, context) from error

    async def single_async(self, request: Any, facts: CallFacts) -> AsyncIterator[Any]:
        context, run = self._begin(request, facts)
        try:
            yield await run()
        except gRPCAbort:
            pass
        except Exception as error:
            raise _failure(error, context) from error
        yield Ending(context._outcome())

    def single(self, request: Any, facts: CallFacts) -> Iterator[Any]:
        context, run = self._begin(request, facts)
        try:
            yield run()
        except gRPCAbort:
            pass
        except Exception as error:
            raise _failure(error, context) from error
        yield Ending(context._outcome())

    async def items_async(self, request: Any, facts: CallFacts) -> AsyncIterator[Any]:
        context, run = self._begin(request, facts)
        try:
            found = run()
            if hasattr(found, "__await__"):
                found = await found
            if hasattr(found, "__aiter__"):
                async for item in found:
                    yield item
            else:
                for item in found:
                    yield item
        except gRPCAbort:
            pass
        except Exception as error:
            raise _failure(error, context) from error
        yield Ending(context._outcome())

    def items(self, request: Any, facts: CallFacts) -> Iterator[Any]:
        context, run = self._begin(request, facts)
        try:
            yield from run()
        except gRPCAbort:
            pass
        except Exception as error:
            raise _failure(error, context) from error
        yield Ending(context._outcome())


def _failure(error: Exception, context: RayServegRPCContext) -> GrpcFailure:
    return GrpcFailure(f"{type(error).__name__}: {error}", context._outcome())
