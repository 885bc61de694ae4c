"""What clients may use, and what the machine allows."""

import resource
from dataclasses import dataclass

MAX_CONNECTIONS = 1024
"""Bounds the memory for connections where file descriptors are plentiful."""


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What clients may use. Times are in seconds.

    Attributes:
        connections: How many connections may be open. At the limit, a new one replaces another: see
            OpenConnections.
        requests: How many requests for metrics may be in progress, and how many for the landing
            page; others are answered with 503. 0: any number.
        header: How long a client may take to send the header of a request, and the body.
        idle: How long a connection may be idle between two requests. Long, because Prometheus
            reuses connections between scrapes.
        stalled: How long a client may take to receive a part of a response.
        response: How long a client may take to receive a response.
    """

    connections: int = MAX_CONNECTIONS
    requests: int = 40
    header: float = 10.0
    idle: float = 300.0
    stalled: float = 30.0
    response: float = 300.0

    @property
    def pages(self) -> int:
        """How many requests of one kind may be in progress. 0: any number."""
        # At most a quarter of the connections, so that some are left for probes.
        return min(self.requests, max(1, self.connections // 4))


def raise_file_limit() -> int:
    """Raise the limit of open files as far as this process may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS: the hard limit is higher than the kernel allows
        return soft
    return hard


def max_connections(files: int) -> int:
    """
    Return how many connections may be open: the other half of the files is for requests to AWS.

    Args:
        files: How many files may be open. Negative: any number (`resource.RLIM_INFINITY`).
    """
    return max(1, min(files // 2, MAX_CONNECTIONS)) if files >= 0 else MAX_CONNECTIONS
