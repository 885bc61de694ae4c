"""Which connection is closed in favor of a new one."""

from exporter.server.open_connections import OpenConnections


class Connection:
    def __init__(self, name: str) -> None:
        self.name = name
        self.admitted = False
        self.sending = False


def opened(limit: int, *clients: str) -> tuple[OpenConnections[Connection], list[Connection]]:
    """Open a connection for each of *clients*."""
    connections = OpenConnections[Connection](limit)
    opened = [Connection(client) for client in clients]
    for connection in opened:
        connections.add(connection, connection.name)
    return connections, opened


def admit(connections: OpenConnections[Connection], connection: Connection) -> None:
    connection.admitted = True
    connections.renew(connection)


def order(connections: OpenConnections[Connection]) -> str:
    """Close one connection after the other and return the names."""
    names = ""
    while (connection := connections.least_wanted()) is not None:
        names += connection.name
        connections.remove(connection)
    return names


def test_the_client_with_most_connections_loses_one() -> None:
    """A client with many connections ends its own ones, the oldest first."""
    connections, _ = opened(6, *"abccca")

    assert order(connections) == "cacabc"


def test_whoever_is_not_admitted_ends_no_admitted_connection() -> None:
    """While half of the connections are not admitted, one of those is closed."""
    connections, (first, *_) = opened(4, *"abcd")
    admit(connections, first)

    assert order(connections)[:2] == "bc"


def test_admitted_connections_leave_space_for_new_ones() -> None:
    """If most are admitted, the one whose last request is longest ago is closed."""
    connections, (a, b, c, _) = opened(4, *"abcd")
    for connection in (a, b, c, a):
        admit(connections, connection)

    assert order(connections)[:2] == "bc"


def test_a_request_that_is_refused_makes_a_stranger() -> None:
    """Where a password is not correct any more, the connection is not admitted any more."""
    connections, (a, b) = opened(2, *"ab")
    admit(connections, a)
    a.admitted = False
    connections.renew(a)
    admit(connections, b)

    assert order(connections) == "ab"


def test_pages_that_are_sent_are_completed() -> None:
    """A connection on which a page is being sent is not closed."""
    connections, (a, b) = opened(2, *"ab")
    for connection in (a, b):
        admit(connections, connection)
    a.sending = True

    assert order(connections) == "b"


def test_closed_connections_do_not_come_back() -> None:
    """A request whose connection was closed meanwhile leaves nothing behind."""
    connections, (a, _) = opened(2, *"ab")
    connections.remove(a)
    connections.renew(a)

    assert (connections.is_full, order(connections)) == (False, "b")
