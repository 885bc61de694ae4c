"""The connections that are open, and which of them is closed in favor of a new one."""

import itertools
from typing import Generic, Protocol, TypeVar


class Evictable(Protocol):
    """
    A connection.

    Attributes:
        admitted: Whether its last request was admitted.
        sending: A page is being sent: the connection is not closed in favor of a new one.
    """

    admitted: bool
    sending: bool


C = TypeVar("C", bound=Evictable)


class OpenConnections(Generic[C]):
    """
    Connections by what their clients have done.

    Half of them are for clients whose last request was admitted: those who have no password cannot
    end the connections of those who have one and, if nobody needs a password, those who ask for
    nothing cannot end the connections of those who do. Of the others, a client with many
    connections ends its own ones.

    Args:
        limit: How many there may be.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._clients: dict[C, str] = {}
        # Of each group, those whose last request, or else whose beginning, is longest ago come
        # first.
        self._admitted: dict[C, None] = {}
        self._strangers: dict[str, dict[C, None]] = {}

    @property
    def is_full(self) -> bool:
        return len(self._clients) >= self._limit

    def add(self, connection: C, client: str) -> None:
        """Note that *client* has opened *connection*."""
        self._clients[connection] = client
        self._strangers.setdefault(client, {})[connection] = None

    def renew(self, connection: C) -> None:
        """Note a request on *connection*, unless it is closed by now."""
        client = self._clients.get(connection)
        if client is not None:
            self.remove(connection)
            self._clients[connection] = client
            if connection.admitted:
                self._admitted[connection] = None
            else:
                self._strangers.setdefault(client, {})[connection] = None

    def remove(self, connection: C) -> None:
        """Note that *connection* is closed."""
        client = self._clients.pop(connection, None)
        if client is None:
            return
        self._admitted.pop(connection, None)
        strangers = self._strangers.get(client, {})
        strangers.pop(connection, None)
        if not strangers:
            self._strangers.pop(client, None)

    def least_wanted(self) -> C | None:
        """Return the connection that is to be closed in favor of another, if there is one."""
        strangers = max(self._strangers.values(), key=len, default={})
        most_are_admitted = 2 * len(self._admitted) > len(self._clients)
        groups = (self._admitted, strangers) if most_are_admitted else (strangers, self._admitted)
        return next((each for each in itertools.chain(*groups) if not each.sending), None)
