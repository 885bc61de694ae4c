"""How fast one account is asked: a token bucket that yields to AWS, and to a stop."""

import time
from collections.abc import Callable

from exporter.model import Stopped

MIN_RATE_SHARE = 0.02
"""The share of the configured rate that throttling can slow us down to."""

RECOVERY_SECONDS = 300.0
"""Seconds from a standstill to the full rate again. AWS's limits are shared with people."""


class RateLimiter:
    """
    The requests that one account can take, one token each.

    Used by one reading at a time, and kept from one reading to the next.

    Args:
        rate: Requests per second, once the burst is spent.
        burst: How many may go at once.
        wait: Sleeps so many seconds; answers True if the exporter is to stop.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        wait: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._full = rate
        self._burst = burst
        self._wait = wait
        self._clock = clock
        self._rate = rate
        self._tokens = float(burst)
        self._at = clock()

    @property
    def rate(self) -> float:
        """Requests per second, as of now."""
        self._advance()
        return self._rate

    def delay(self) -> float:
        """How many seconds until the next request may go."""
        self._advance()
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self) -> None:
        """
        Wait for a token and take it.

        Raises:
            Stopped: The exporter is to stop.
        """
        self.sleep(self.delay())
        self._advance()
        self._tokens -= 1

    def sleep(self, seconds: float) -> None:
        """
        Sleep, unless the exporter is to stop.

        Raises:
            Stopped: It is.
        """
        if self._wait(seconds):
            raise Stopped

    def throttled(self) -> None:
        """Halve the rate and spend the burst: AWS said that we, or others, ask too much."""
        self._advance()
        self._rate = max(self._rate / 2, self._full * MIN_RATE_SHARE)
        self._tokens = min(self._tokens, 0.0)

    def _advance(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(float(self._burst), self._tokens + passed * self._rate)
        self._rate = min(self._full, self._rate + passed * self._full / RECOVERY_SECONDS)
