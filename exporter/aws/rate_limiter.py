"""The rate limit of one account: a token bucket that backs off when AWS throttles."""

from collections.abc import Callable
from typing import Final

from exporter.model import Clock, Stopped

MIN_RATE_SHARE: Final = 0.02
"""The share of the configured rate that throttling never goes below."""

RECOVERY_SECONDS: Final = 300.0
"""
Seconds to recover from zero to the full rate.

AWS's own limit is shared with everyone else who uses the account.
"""


class RateLimiter:
    """
    Limits the requests to one account: each takes a token from a bucket.

    Used by one refresh at a time, and kept from one refresh to the next.

    Args:
        rate: Requests per second, once the burst is spent.
        burst: Requests that may go at once.
        wait: Sleeps for some seconds; returns True if the exporter is shutting down.

    Attributes:
        full_rate: As configured: what throttling lowers, and time restores.
    """

    def __init__(
        self, rate: float, burst: int, *, wait: Callable[[float], bool], clock: Clock
    ) -> None:
        self.full_rate = rate
        self._burst = burst
        self._wait = wait
        self._clock = clock
        self._rate = rate
        self._tokens = float(burst)
        self._at = clock.monotonic()

    def set_rate(self, rate: float, burst: int) -> None:
        """Set what is configured. What throttling has lowered stays lowered, in proportion."""
        self._rate *= rate / self.full_rate
        self.full_rate, self._burst = rate, burst

    @property
    def rate(self) -> float:
        """Requests per second at this moment."""
        self._advance()
        return self._rate

    def seconds_for(self, requests: int) -> float:
        """Return the seconds that so many requests take, beginning with the full rate and burst."""
        return max(0, requests - self._burst) / self.full_rate

    def delay(self) -> float:
        """Return the seconds until the next request may go."""
        self._advance()
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self) -> None:
        """
        Wait for a token and take it.

        Raises:
            Stopped: The exporter is shutting down.
        """
        self.sleep(self.delay())
        self._advance()
        self._tokens -= 1

    def sleep(self, seconds: float) -> None:
        """
        Wait, unless the exporter is shutting down.

        Raises:
            Stopped: It is.
        """
        if self._wait(seconds):
            raise Stopped

    def throttled(self) -> None:
        """Halve the rate and drop the burst: we, or others, have made too many requests."""
        self._advance()
        self._rate = max(self._rate / 2, self.full_rate * MIN_RATE_SHARE)
        self._tokens = min(self._tokens, 0.0)

    def _advance(self) -> None:
        now = self._clock.monotonic()
        elapsed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(float(self._burst), self._tokens + elapsed * self._rate)
        self._rate = min(self.full_rate, self._rate + elapsed * self.full_rate / RECOVERY_SECONDS)
