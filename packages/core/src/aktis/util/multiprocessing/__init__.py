"""A :class:`multiprocessing.Pool` whose processes are actors: ``from aktis.util.multiprocessing import Pool``."""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError

from aktis.util.multiprocessing.pool import AsyncResult, IMapIterator, Pool, PoolTaskError

__all__ = ["AsyncResult", "IMapIterator", "JoinableQueue", "Pool", "PoolTaskError", "TimeoutError"]
