"""Leases of a proxy's requests: how one is got, how it ends, and when a request may be given to another replica."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aktis
from aktis.exceptions import ActorUnavailableError
from aktis.serve._protocol import Rejected, RequestMeta
from aktis.serve._routing.brain import Waiter
from aktis.serve._routing.calls import is_death, may_have_begun
from aktis.serve._routing.router import to_future

if TYPE_CHECKING:
    from aktis.serve._proxy.exchange import Exchange

MOST_ATTEMPTS = 4  # replicas that die under one request: it may be the request that kills them


def may_run_again(ex: Exchange, error: BaseException) -> bool:
    """Whether another replica may be asked after one has died (``error``) that may have begun the request."""
    if ex.more_body:  # what the dead one got of the body is gone
        return False
    if not may_have_begun(error):
        return True
    view = ex.route.router.view if ex.route is not None else None
    return ex.idempotent or (view is not None and view.retry_deaths)


def end_lease(lease: Any, error: BaseException) -> None:
    """Ends the lease of a call that has failed so."""
    if is_death(error):
        lease.died(not isinstance(error, ActorUnavailableError))
    else:
        lease.release()


async def acquire(router: Any, meta: RequestMeta, *, again: bool, admitted: bool = True) -> Any:
    """A lease; with ``again`` in front of the others, and if it was ``admitted``, whatever the queue's length."""
    lease = router.try_acquire(meta)
    if lease is not None:
        return lease
    if not again:
        return await router.acquire(meta)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    waiter = router.acquire_then(meta, to_future(future), again=True, admitted=admitted)
    if not isinstance(waiter, Waiter):
        return waiter
    try:
        return await future
    except BaseException:
        if not router.abandon(waiter) and future.done() and not future.cancelled() and future.exception() is None:
            future.result().release()
        raise


def settle(lease: Any, ref: Any) -> None:
    """Ends the lease of a call whose outcome nobody wants."""
    try:
        outcome = aktis.get(ref)
    except BaseException as error:
        end_lease(lease, error)
    else:
        if isinstance(outcome, Rejected):
            lease.rejected(outcome)
        else:
            lease.release()
