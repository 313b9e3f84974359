"""How a request gets to a replica, and its reply to the client.

::

    protocol ─ begin(exchange) ──► try_acquire ──► replica.http.remote() ──► done callback ──► write_whole      no task at all
                  │ nobody has room, body is large, reply streams, replica rejected or died
                  ▼
               run(exchange), a task: waits for a replica, feeds the body, streams the reply, retries

Everything runs on the loop's thread; only the routes and done callbacks may come from others, and are handed over. Each exchange
is counted once, in :meth:`Dispatcher.close`. Each lease ends when its call has ended, also when nobody waits for that any more.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from random import SystemRandom
from time import time
from typing import Any

import aktis
from aktis.exceptions import AktisError, AktisTaskError
from aktis.serve._observe.counters import Counters, RouteCounters
from aktis.serve._protocol import DeploymentID, HTTPReply, Rejected, RequestMeta, RouteView
from aktis.serve._proxy import replies
from aktis.serve._proxy.exchange import ClientGoneError, DirectExchange, Exchange
from aktis.serve._proxy.leases import MOST_ATTEMPTS, acquire, end_lease, may_run_again, settle
from aktis.serve._proxy.lines import MOST_BODY, open_line
from aktis.serve._proxy.replies import Reply
from aktis.serve._proxy.routes import INTERNAL, RouteTable
from aktis.serve._routing.calls import is_death, may_have_begun
from aktis.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestTimeoutError

logger = logging.getLogger("aktis.serve")

AcquireFrom = Callable[[DeploymentID], Any]


class Route:
    """A route with everything that a request on it needs."""

    __slots__ = ("counters", "development", "root_path", "router", "timeout_s", "view")

    def __init__(
        self, view: RouteView, root_path: str, timeout_s: float | None, router: Any, counters: RouteCounters
    ) -> None:
        self.view = view
        self.root_path = root_path
        self.timeout_s = timeout_s
        self.router = router
        self.counters = counters
        self.development = False


class Dispatcher:
    """See the module's docstring.

    Args:
        options: HTTPOptions.
        router_of: gives the router of a deployment.
        counters: where requests are counted.
        loop: of the proxy.
    """

    def __init__(
        self, options: Any, router_of: AcquireFrom, counters: Counters, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.options = options
        self.router_of = router_of
        self.counters = counters
        self.loop = loop
        self.table = RouteTable((), options.root_path or "")
        self.routes: dict[RouteView, Route] = {}
        self.local: Any = None  # answers paths under /-/
        self.access_log: Any = None
        self.tracer: Any = None
        self.ongoing = 0
        self.max_body = options.max_body_bytes or 0
        self.development = bool(options.development)
        self.tasks: set[asyncio.Task[None]] = set()
        self.background: set[asyncio.Task[None]] = set()
        self._thread = threading.get_ident()
        random = SystemRandom()
        self._calls = f"{random.getrandbits(48):012x}-"
        self._numbers = itertools.count()

    # routes ----------------------------------------------------------------------------------------------------------
    def set_routes(self, views: tuple[RouteView, ...]) -> None:
        """What the controller says. What is under way goes on."""
        root = (self.options.root_path or "").rstrip("/")
        routes = {}
        for view in views:
            known = self.routes.get(view)
            if known is None:
                prefix = "" if view.prefix == "/" else view.prefix
                timeout = self.options.request_timeout_s if view.timeout_s is None else view.timeout_s
                router = self.router_of(DeploymentID(view.app, view.deployment))
                counters = self.counters.route(view.prefix, view.app, view.deployment)
                known = Route(view, root + prefix, timeout, router, counters)
                known.development = self.development
            routes[view] = known
        self.routes = routes
        self.table = RouteTable(views, root)

    # the quick way ---------------------------------------------------------------------------------------------------
    def begin(self, ex: DirectExchange) -> None:
        """Takes a request from the protocol: answers it now, later, or gives it to a task."""
        self.ongoing += 1
        ex.on_gone = self._gone
        try:
            reply = self._prepare(ex)
            if reply is not None:
                if isinstance(reply, Reply):
                    self._write(ex, reply)
                else:
                    self._spawn(ex, self._answer_later(ex, reply))
                return
            route = ex.route
            if not ex.more_body:
                lease = route.router.try_acquire(ex.meta)  # type: ignore[union-attr]
                if lease is not None:
                    self._send(ex, lease)
                    return
            self._spawn(ex, self._forward(ex))
        except Exception as error:
            self._broken(ex, error)

    def _prepare(self, ex: Exchange) -> Reply | Coroutine[Any, Any, Reply] | None:
        """Finds the route and writes the request's meta; or the reply, when there is nothing to ask a replica for."""
        table = self.table
        path = ex.target.matched
        if table.root_path:
            path = table.strip(path)
        if path.startswith(INTERNAL):
            answer: Reply | Coroutine[Any, Any, Reply] | None = self.local(ex.method, path)
            if answer is not None:
                return answer
        view = table.match(path)
        if view is None:
            return replies.not_found(ex.target.path)
        route = ex.route = self.routes[view]
        ex.call_id = f"{self._calls}{next(self._numbers)}"  # as new_call_id()
        deadline = 0.0
        if route.timeout_s is not None:
            deadline = time() + route.timeout_s
            ex.timer = self.loop.call_later(route.timeout_s, self._expired, ex)
        ex.meta = self.meta_of(ex, view, deadline)
        return None

    def new_call_id(self) -> str:
        """Unique in the session."""
        return f"{self._calls}{next(self._numbers)}"

    def meta_of(self, ex: Exchange, view: RouteView, deadline: float) -> RequestMeta:
        """What travels with a request; a span of tracing begins here."""
        if self.tracer is not None:
            ex.span, ex.trace = self.tracer.begin(ex)
        return RequestMeta(
            ex.request_id, ex.call_id, "__call__", view.app, view.prefix, ex.model_id, ex.idempotent, deadline, ex.trace
        )

    def _send(self, ex: DirectExchange, lease: Any) -> None:
        slot = lease.slot
        ex.lease = lease
        line = slot.line
        if line is None:
            slot.line = False
            self._in_background(open_line(slot, self._ended))
        elif line and len(ex.first_body) <= MOST_BODY:
            ex.line = line
            line.ask(ex, lease, ex.meta, ex.request(self.table.root_path))
            return
        try:
            ref = slot.view.actor.http.remote(ex.meta, ex.request(self.table.root_path))
        except AktisError as error:
            self._failed(ex, lease, error)
            return
        ref.add_done_callback(partial(self._done, ex, lease, ref))

    def _done(self, ex: DirectExchange, lease: Any, ref: Any) -> None:
        if threading.get_ident() == self._thread:
            self._outcome(ex, lease, ref)
        else:
            self.loop.call_soon_threadsafe(self._outcome, ex, lease, ref)

    def _outcome(self, ex: DirectExchange, lease: Any, ref: Any) -> None:
        """The call of a replica has ended."""
        try:
            reply = aktis.get(ref)
        except BaseException as error:
            reply = error
        self._ended(ex, lease, reply)

    def _ended(self, ex: DirectExchange, lease: Any, reply: HTTPReply | Rejected | BaseException) -> None:
        """A replica has answered, or will not."""
        try:
            if type(reply) is HTTPReply:
                if ex.finished:
                    lease.release()
                    return
                ex.replica = lease.replica.id.unique
                if reply.more:
                    ex.call_over = True
                    self._spawn(ex, self._stream(ex, lease, reply))
                    return
                lease.release()
                ex.lease = None
                ex.write_whole(reply.status, reply.headers, reply.body)
                self.close(ex, reply.status)
                return
            if isinstance(reply, BaseException):
                self._failed(ex, lease, reply)
                return
            ex.lease = ex.line = None
            lease.rejected(reply)
            if not ex.finished:
                self._spawn(ex, self._forward(ex, again=True, admitted=isinstance(reply, Rejected) and reply.draining))
        except Exception as error:
            self._broken(ex, error)

    def _failed(self, ex: DirectExchange, lease: Any, error: BaseException) -> None:
        """The call gave no reply: as a rule because the replica died."""
        ex.lease = ex.line = None
        end_lease(lease, error)
        if ex.finished:
            return
        if not is_death(error):
            self._broken(ex, error)
        elif may_run_again(ex, error):
            self._spawn(ex, self._forward(ex, again=True, attempt=int(may_have_begun(error))))
        else:
            ex.route.counters.lost += 1  # type: ignore[union-attr]
            self._write(ex, replies.died(ex.request_id))

    def _write(self, ex: DirectExchange, reply: Reply) -> None:
        ex.write_whole(*reply)
        self.close(ex, reply.status)

    def _broken(self, ex: Exchange, error: BaseException) -> None:
        """Something failed that is not the client's fault: 500, where that can still be said."""
        if ex.finished:
            return
        logger.error("request %s (%s %s) failed", ex.request_id, ex.method, ex.target.path, exc_info=error)
        if ex.head_sent or not isinstance(ex, DirectExchange):
            ex.abort()
            self.close(ex, 500)
            return
        try:
            self._write(ex, self.failure(ex, error))
        except Exception:
            ex.abort()
            self.close(ex, 500)

    def failure(self, ex: Exchange, error: BaseException) -> Reply:
        """500, with the traceback in development only."""
        detail = ""
        if self.development:
            import traceback

            detail = str(error) if isinstance(error, AktisTaskError) else "".join(traceback.format_exception(error))
        return replies.failed(ex.request_id, detail)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    # the long way ----------------------------------------------------------------------------------------------------
    def _spawn(self, ex: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Goes on with an exchange in a task."""
        task = ex.task = self.loop.create_task(self._guarded(ex, work))
        self.tasks.add(task)
        task.add_done_callback(partial(self._task_ended, ex, work))

    def _task_ended(self, ex: Exchange, work: Coroutine[Any, Any, None], task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if ex.finished:
            return
        work.close()  # cancelled before its first step: nothing of it has run
        self._let_go(ex)
        if ex.timed_out and not ex.gone and isinstance(ex, DirectExchange):
            self._write(ex, self._too_late(ex))
        else:
            ex.abort()
            self.close(ex, replies.CLIENT_GONE if ex.gone else 503)

    async def run(self, ex: Exchange) -> None:
        """The whole way of one request, for exchanges that have no protocol of ours beneath them."""
        self.ongoing += 1
        ex.task = asyncio.current_task()
        ex.on_gone = self._gone
        try:
            reply = self._prepare(ex)
        except BaseException:
            self.close(ex, 500)
            raise
        if reply is None:
            await self._guarded(ex, self._forward(ex))
        elif isinstance(reply, Reply):
            await self._guarded(ex, self._answer(ex, reply))
        else:
            await self._guarded(ex, self._answer_later(ex, reply))

    async def _guarded(self, ex: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Runs a part of an exchange to its end, whatever happens."""
        try:
            await work
        except asyncio.CancelledError:
            if not (ex.timed_out or ex.gone):
                self._let_go(ex)
                ex.abort()
                self.close(ex, 503)
                raise
            await self._cut_short(ex)
        except ClientGoneError:
            ex.gone = True
            await self._cut_short(ex)
        except RequestTimeoutError:
            ex.timed_out = True
            await self._cut_short(ex)
        except Exception as error:
            self._let_go(ex)
            if ex.head_sent or ex.finished or isinstance(ex, DirectExchange):
                self._broken(ex, error)
            else:
                logger.error("request %s (%s) failed", ex.request_id, ex.target.path, exc_info=error)
                await self._answer(ex, self.failure(ex, error))

    async def _cut_short(self, ex: Exchange) -> None:
        """The request's time is over, or its client has left."""
        self._let_go(ex)
        if ex.finished:
            return
        if ex.gone:
            self.close(ex, replies.CLIENT_GONE)
        elif ex.head_sent:
            ex.abort()
            self.close(ex, replies.TIMED_OUT)
        else:
            await self._answer(ex, self._too_late(ex))

    def _too_late(self, ex: Exchange) -> Reply:
        return replies.timed_out(ex.request_id, ex.route.timeout_s if ex.route is not None else None)

    def _let_go(self, ex: Exchange) -> None:
        """Tells the replica that has the request, if there is one, that nobody waits any more. Its lease ends with its call."""
        lease = ex.lease
        if lease is None:
            return
        ex.lease = None
        if ex.call_over:
            lease.release()
        if ex.line is not None:
            ex.line.cancel(ex.call_id)
            return
        try:
            lease.replica.actor.cancel.remote(ex.call_id)
        except AktisError:
            pass

    async def _answer(self, ex: Exchange, reply: Reply) -> None:
        await ex.send_whole(*reply)
        self.close(ex, reply.status)

    async def _answer_later(self, ex: Exchange, work: Coroutine[Any, Any, Reply]) -> None:
        await self._answer(ex, await work)

    async def _forward(
        self, ex: Exchange, *, again: bool = False, attempt: int = 0, admitted: bool | None = None
    ) -> None:
        """Asks replicas until one takes the request, and passes on what it answers. See ``acquire`` for ``admitted``."""
        admitted = again if admitted is None else admitted
        route = ex.route
        assert route is not None and ex.meta is not None
        while True:
            try:
                lease = await acquire(route.router, ex.meta, again=again, admitted=admitted)
            except BackPressureError as error:
                route.counters.dropped += 1
                await self._answer(ex, replies.unavailable(str(error), error.status_code, error.retry_after_s))
                return
            except DeploymentUnavailableError as error:
                await self._answer(ex, replies.unavailable(str(error)))
                return
            ex.lease = lease
            ex.call_over = False
            try:
                reply = await self._call(ex, lease)
            except BodyTooLargeError:
                self._let_go(ex)
                await self._answer(ex, replies.too_large(self.max_body))
                return
            except Exception as error:
                if not is_death(error):
                    raise
                ex.lease = None
                end_lease(lease, error)
                attempt += may_have_begun(error)
                again = admitted = True
                if not may_run_again(ex, error) or attempt >= MOST_ATTEMPTS:
                    route.counters.lost += 1
                    await self._answer(ex, replies.died(ex.request_id, attempt))
                    return
                continue
            if isinstance(reply, Rejected):
                again = True
                admitted = admitted or lease.waited or reply.draining
                continue
            ex.replica = lease.replica.id.unique
            if reply.more:
                await self._stream(ex, lease, reply)
                return
            ex.lease = None
            lease.release()
            await ex.send_whole(reply.status, reply.headers, reply.body)
            self.close(ex, reply.status)
            return

    async def _call(self, ex: Exchange, lease: Any) -> HTTPReply | Rejected:
        """One attempt with one replica. What the replica may not have got of the body is put back when it rejects."""
        actor = lease.replica.actor
        ref = actor.http.remote(ex.meta, ex.request(self.table.root_path))
        ended: asyncio.Future[None] = self.loop.create_future()
        ref.add_done_callback(partial(self._call_ended, ex, lease, ref, ended))
        kept: list[bytes] | None = []
        if ex.more_body:
            kept = await self._feed(ex, actor, ended)
        await ended
        reply: HTTPReply | Rejected = aktis.get(ref)
        if isinstance(reply, Rejected):
            ex.lease = None
            lease.rejected(reply)
            if kept is None:  # it had taken the request: cannot be
                raise RuntimeError(f"replica {lease.replica.id} rejected request {ex.request_id} after it had taken it")
            if kept:
                ex.first_body = b"".join((ex.first_body, *kept))
            ex.more_body = ex.more_body and not ex.body_over
        else:
            ex.stop_reading()
        return reply

    def _call_ended(self, ex: Exchange, lease: Any, ref: Any, ended: asyncio.Future[None]) -> None:
        if threading.get_ident() != self._thread:
            self.loop.call_soon_threadsafe(self._call_ended, ex, lease, ref, ended)
            return
        if not ended.done():
            ended.set_result(None)
        if ex.lease is not lease:  # nobody waits for it any more
            settle(lease, ref)
            return
        ex.call_over = True
        if ex.more_body:
            ex.wake()

    async def _feed(self, ex: Exchange, actor: Any, ended: asyncio.Future[None]) -> list[bytes] | None:
        """Passes the rest of a large body on, while the call runs. Returns what another replica would have to get as well;
        None once this one has surely taken the request."""
        kept: list[bytes] | None = []
        while not ended.done():
            part = await ex.next_part()
            if self.max_body and ex.body_bytes > self.max_body:
                raise BodyTooLargeError
            if kept is not None:
                kept.append(part)
            over = ex.body_over
            if ended.done() or not (part or over):
                continue
            try:
                taken = await actor.push.remote(
                    ex.call_id, [{"type": "http.request", "body": part, "more_body": not over}]
                )
            except AktisTaskError:  # it has rejected, or answered already
                break
            if taken == -1:  # the same
                break
            if not ended.done():
                kept = None
            if over:
                break
        return kept

    async def _stream(self, ex: Exchange, lease: Any, reply: HTTPReply) -> None:
        """A reply that comes in parts. The lease ends with it."""
        try:
            await ex.send_head(reply.status, reply.headers, reply.body)
            async for ref in lease.replica.actor.http_rest.remote(ex.call_id):
                await ex.send_part(await ref)
            await ex.send_end()
        except Exception as error:
            if is_death(error):
                ex.lease = None
                end_lease(lease, error)
            raise
        ex.lease = None
        lease.release()
        self.close(ex, reply.status)

    # ends ------------------------------------------------------------------------------------------------------------
    def _expired(self, ex: Exchange) -> None:
        """The request's time is over."""
        if ex.finished:
            return
        ex.timed_out = True
        if ex.task is not None:
            ex.task.cancel()
            return
        assert isinstance(ex, DirectExchange)
        self._let_go(ex)
        self._write(ex, self._too_late(ex))

    def _gone(self, ex: Exchange) -> None:
        """The client has left."""
        if ex.finished:
            return
        ex.gone = True
        if ex.task is not None:
            ex.task.cancel()
            return
        self._let_go(ex)
        self.close(ex, replies.CLIENT_GONE)

    def close(self, ex: Exchange, status: int) -> None:
        """Counts an exchange that has ended."""
        if ex.finished:
            return
        ex.finished = True
        ex.status = status
        self.ongoing -= 1
        if ex.timer is not None:
            ex.timer.cancel()
            ex.timer = None
        seconds = self.counters.ended(ex.route.counters if ex.route is not None else None, status, ex.began)
        if self.access_log is not None:
            self.access_log.add(ex, seconds)
        if ex.span is not None:
            self.tracer.end(ex)


class BodyTooLargeError(Exception):
    """The body is larger than ``max_body_bytes``."""
