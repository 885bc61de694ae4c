"""Which connection gives way when all slots are taken."""

from exporter.server.slots import Slots


class Connection:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def taken(slots: Slots[Connection], *clients: str) -> list[Connection | None]:
    """Take a slot for each client, and return its connection. None: there was no slot."""
    taken: list[Connection | None] = []
    for client in clients:
        connection = Connection()
        taken.append(connection if slots.take(connection, client) else None)
    return taken


def test_one_client_has_no_more_slots_than_there_are() -> None:
    """Beyond the limit, a client that has all slots gets no other."""
    assert [each is not None for each in taken(Slots(2), "a", "a", "a")] == [True, True, False]


def test_a_client_with_many_slots_gives_way() -> None:
    """Another client gets the slot that the greedy one has had longest."""
    slots = Slots[Connection](3)
    first, second, third, other = taken(slots, "a", "a", "a", "b")

    assert other is not None
    assert [each is not None and each.closed for each in (first, second, third)] == [
        True,
        False,
        False,
    ]


def test_clients_with_as_many_slots_do_not_replace_each_other() -> None:
    """A client does not lose a slot to one that would then have more."""
    slots = Slots[Connection](3)
    *connections, other = taken(slots, "a", "a", "b", "b")

    assert other is None
    assert not any(each is None or each.closed for each in connections)


def test_a_slot_that_is_given_back_is_free() -> None:
    """A slot is given back once, also if its connection has lost it before."""
    slots = Slots[Connection](2)
    first, second, _ = taken(slots, "a", "a", "b")
    for connection in (first, first, second):
        assert connection is not None
        slots.release(connection)

    assert [each is not None for each in taken(slots, "c", "c")] == [True, False]


def test_no_limit() -> None:
    """With a limit of 0, there is always a slot."""
    assert None not in taken(Slots(0), *["a"] * 100)
