"""How many clients receive a page at the same time, and who has to give way."""

from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """A connection."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Slots(Generic[C]):
    """
    Connections on which a page is sent.

    While all slots are taken, a client that has more of them than others loses one to another
    client: those who read slowly on many connections do not keep Prometheus from scraping.

    Args:
        limit: How many there are. 0: any number.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._clients: dict[C, str] = {}
        self._connections: dict[str, dict[C, None]] = {}
        """Those of each client. The one that has had its slot longest comes first."""

    def take(self, connection: C, client: str) -> bool:
        """
        Take a slot for *connection* of *client*, if there is one.

        The connection that has to give way is closed.
        """
        if 0 < self._limit <= len(self._clients):
            most = max(self._connections.values(), key=len)
            if len(most) <= len(self._connections.get(client, ())) + 1:
                return False  # it would only be the other way round
            evicted = next(iter(most))
            self.release(evicted)
            evicted.close()
        self._clients[connection] = client
        self._connections.setdefault(client, {})[connection] = None
        return True

    def release(self, connection: C) -> None:
        """Give the slot of *connection* back, if it still has one."""
        client = self._clients.pop(connection, None)
        if client is None:
            return
        connections = self._connections[client]
        del connections[connection]
        if not connections:
            del self._connections[client]
