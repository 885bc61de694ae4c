"""Results that concurrent requests share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

SHARED_FOR = 1.0
"""Seconds after its start for which the result of a call is shared."""

THREADS = 2
"""How many scrapes are rendered at the same time; others wait. Probes never wait for them."""


class Shared:
    """
    Calls functions in threads. Requests for the same call within a second share one result.

    Args:
        epoch: Returns a number that changes when no result from before may be shared any more.
        threads: How many calls are made at the same time.
    """

    def __init__(
        self, epoch: Callable[[], int], threads: int = THREADS, name: str = "scrape"
    ) -> None:
        self._epoch = epoch
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._calls: dict[tuple[Any, ...], asyncio.Future[Any]] = {}

    async def call(self, function: Callable[..., T], *args: Any) -> T:
        """
        Call *function*, or wait for such a call that is in progress, or was within the last second.

        Raises:
            Exception: That of *function*. The next request calls it again.
        """
        key = (self._epoch(), function, *args)
        if key not in self._calls:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._pool, function, *args)
            self._calls[key] = future
            loop.call_later(SHARED_FOR, self._forget_when_done, key, future)
        future = self._calls[key]
        try:
            result: T = await future
        except Exception:
            self._forget(key, future)
            raise
        return result

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """
        Call *function*, whose result is not shared.

        Raises:
            Exception: That of *function*.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def _forget_when_done(self, key: tuple[Any, ...], call: asyncio.Future[Any]) -> None:
        call.add_done_callback(lambda call: self._forget(key, call))

    def _forget(self, key: tuple[Any, ...], call: asyncio.Future[Any]) -> None:
        if self._calls.get(key) is call:
            del self._calls[key]
