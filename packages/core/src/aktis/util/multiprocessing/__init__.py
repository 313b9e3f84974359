"""A :class:`multiprocessing.Pool` whose processes are actors: ``from aktis.util.multiprocessing import Pool``."""

from __future__ import annotations

from multiprocessing import TimeoutError

from aktis.util.multiprocessing.pool import AsyncResult, IMapIterator, Pool, PoolTaskError

__all__ = ["AsyncResult", "IMapIterator", "Pool", "PoolTaskError", "TimeoutError"]
