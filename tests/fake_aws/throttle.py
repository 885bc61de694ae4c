"""Throttling: a token bucket."""

from collections.abc import Callable


class TokenBucket:
    """
    Holds up to *burst* tokens, and gains *rate* of them per second of the clock *seconds*.

    Attributes:
        refused: How many calls were throttled.
    """

    def __init__(self, *, rate: float, burst: float, seconds: Callable[[], float]) -> None:
        self.rate = rate
        self.burst = burst
        self.refused = 0
        self._seconds = seconds
        self._tokens = float(burst)
        self._filled_at = seconds()

    def take(self) -> bool:
        """Take a token; False if there is none."""
        now = self._seconds()
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._filled_at) * self.rate)
        self._filled_at = now
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True
