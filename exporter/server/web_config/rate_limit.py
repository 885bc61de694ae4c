"""How many requests are answered."""

from exporter.server.web_config.settings import RateLimit


class RateLimiter:
    """
    A token bucket: *burst* requests at once, and one more in each *interval*.

    Source: golang.org/x/time/rate, which exporter-toolkit uses.
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._tokens = float(limit.burst)
        self._filled_at: float | None = None

    def allow(self, now: float) -> bool:
        """
        Take a token, if there is one.

        Args:
            now: Seconds of a clock that does not go back.
        """
        if self.limit.interval <= 0:
            return True
        if self._filled_at is not None:
            gained = (now - self._filled_at) / self.limit.interval
            self._tokens = min(self.limit.burst, self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
