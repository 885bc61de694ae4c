"""What is saved is loaded again, and only what changed is written, in both kinds of stores."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from exporter.model import Account, AccountMemory, Event, EventKind, Root, SeenUse
from exporter.store import Remember, Store, read_events
from tests.builders import NOON, PROD, TEST, FakeClock, a_key, a_snapshot, a_user, days_ago
from tests.store.conftest import Location, OpenStore
from tests.store.values import (
    History,
    a_key_memory,
    a_memory,
    an_event,
    histories,
    remembering,
    save,
)


class TestRoundTrip:
    numbers = itertools.count(1)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(histories())
    def test_what_is_saved_is_loaded(
        self, open_store: OpenStore, location: Location, history: History
    ) -> None:
        """
        After any saves of an account, its latest memory and snapshot are loaded exactly.

        A key that was deleted within `shown_for` is part of it even if it was forgotten earlier.
        """
        account_id = f"{next(self.numbers):012}"
        revision = 0
        with closing(open_store(location)) as writer:
            for memory, drawn in history:
                snapshot = replace(drawn, account=replace(drawn.account, id=account_id))
                remember = remembering(memory, memory.events)
                revision = writer.save(snapshot, revision, remember).revision

        with closing(open_store(location)) as reader:
            (loaded,) = reader.load([account_id])

        known = {
            id_: key
            for id_, key in loaded.memory.keys.items()
            if id_ in memory.keys or key.deleted_at is None
        }
        assert replace(loaded.memory, keys=known) == memory
        assert list(loaded.memory.users) == list(memory.users)
        assert list(known) == list(memory.keys)
        assert loaded.snapshot == snapshot
        assert loaded.revision == revision

    def test_facts_that_were_dropped(self, store: Store) -> None:
        """The memory of a snapshot whose facts were dropped as stale is loaded as its facts."""
        memory = a_memory(a_key_memory(), root=Root(NOON, 1))
        without = a_snapshot(failure=None).without_facts()
        store.save(without, 0, remembering(memory))

        (loaded,) = store.load()

        assert loaded.memory == memory
        assert loaded.snapshot.keys == (a_key(),)
        assert loaded.snapshot.listed_at == memory.users_as_of

    def test_text_that_no_database_can_store(self, store: Store) -> None:
        """An error message with a null character or half a character is stored without it."""
        save(store, a_memory(), error="a\0b\udcffc")

        assert store.load()[0].snapshot.error == "ab?c"

    def test_an_account_whose_id_is_unknown(self, store: Store) -> None:
        """An account whose id is not known yet is not stored, but remembered."""
        snapshot = a_snapshot(account=Account("", "prod"))

        saved = store.save(snapshot, 0, remembering(a_memory(), [an_event()]))

        assert saved.memory == a_memory()
        assert saved.events == (an_event(),)
        assert saved.revision == 0
        assert store.load() == []

    def test_how_an_account_is_configured(self, store: Store) -> None:
        """An account is found by how it is configured where the configuration has no id."""
        store.save(a_snapshot(), 0, remembering(a_memory()), configured_as="audit")

        assert store.load()[0].configured_as == "audit"

    def test_a_part_of_the_accounts(self, store: Store) -> None:
        """Only the accounts that are asked for are loaded."""
        save(store, a_memory(), account_id=PROD)
        save(store, a_memory(), account_id=TEST)

        assert [one.snapshot.account.id for one in store.load([TEST, "333333333333"])] == [TEST]


class TestRemember:
    def test_who_knows_the_latest(self, store: Store) -> None:
        """A process that saved last is not given what is stored."""
        first = save(store, a_memory())
        given: list[AccountMemory | None] = []

        second = store.save(a_snapshot(), first.revision, _recording(given, a_memory()))

        assert given == [None]
        assert second.revision == first.revision + 1

    def test_an_account_that_is_not_stored(self, store: Store) -> None:
        """A process that remembers more than the store, which is new, is not given anything."""
        given: list[AccountMemory | None] = []

        store.save(a_snapshot(), 57, _recording(given, a_memory()))

        assert given == [None]

    def test_after_a_start(self, store: Store, open_store: OpenStore, location: Location) -> None:
        """A process that loaded an account need not be given what it loaded."""
        save(store, a_memory())
        store.close()
        again = open_store(location)
        (loaded,) = again.load()
        given: list[AccountMemory | None] = []

        again.save(a_snapshot(), loaded.revision, _recording(given, a_memory()))

        assert given == [None]

    def test_what_another_process_saved(
        self, store: Store, open_store: OpenStore, location: Location
    ) -> None:
        """A process that does not know the latest revision is given what is stored."""
        memory = a_memory(a_key_memory(watched_since=days_ago(30)))
        save(store, memory)
        store.close()
        given: list[AccountMemory | None] = []

        open_store(location).save(a_snapshot(), 0, _recording(given, a_memory()))

        assert given == [memory]

    def test_an_exception(self, store: Store) -> None:
        """Nothing is saved if an exception interrupts the save, and the next one works."""

        def fail(_: AccountMemory | None) -> tuple[AccountMemory, tuple[Event, ...]]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.save(a_snapshot(), 0, fail)

        assert store.load() == []
        assert save(store, a_memory()).revision == 1


def _recording(given: list[AccountMemory | None], memory: AccountMemory) -> Remember:
    def remember(stored: AccountMemory | None) -> tuple[AccountMemory, tuple[Event, ...]]:
        given.append(stored)
        return memory, ()

    return remember


class TestEvents:
    def test_an_event_is_stored_once(self, store: Store) -> None:
        """Of the events that a save passes, those that were not stored before are returned."""
        event, other = an_event(), an_event(kind=EventKind.DELETED)
        first = save(store, a_memory(), [event, event])
        noticed_later = replace(event, noticed_at=NOON + timedelta(hours=1))

        second = save(store, a_memory(), [noticed_later, other], revision=first.revision)

        assert first.events == (event,)
        assert second.events == (other,)

    def test_two_accounts(self, store: Store, location: Location) -> None:
        """The same event of two accounts, such as the use of root, is stored twice."""
        event = an_event("", kind=EventKind.ROOT_USED)
        save(store, a_memory(), [event], account_id=PROD)
        save(store, a_memory(), [event], account_id=TEST)

        assert [row.account_id for row in read_events(location)] == [PROD, TEST]

    def test_remembered_events_of_a_new_store(self, store: Store, location: Location) -> None:
        """What is remembered but not stored, since the store is new, is stored, but is not new."""
        event = an_event()

        saved = save(store, a_memory(events=(event,)))

        assert saved.events == ()
        assert [row.event for row in read_events(location)] == [event]

    def test_many_events(self, store: Store, location: Location) -> None:
        """Thousands of events, more than a statement can name, are stored at once."""
        some = [an_event(f"AKIA{number}") for number in range(2000)]

        saved = save(store, a_memory(), some)

        assert saved.events == tuple(some)
        assert len(read_events(location)) == 2000

    def test_only_recent_events_are_loaded(self, store: Store, clock: FakeClock) -> None:
        """Events that were noticed more than `shown_for` ago are not part of the memory."""
        old = an_event("OLD", noticed_at=days_ago(1.1))
        recent = an_event("RECENT", noticed_at=days_ago(0.9))
        save(store, a_memory(events=(old, recent)))

        assert store.load()[0].memory.events == (recent,)


class TestChanges:
    def test_a_key_that_changes(self, store: Store) -> None:
        """A changed key, user and place of use replace the earlier ones."""
        use = SeenUse("s3", "eu-west-1", days_ago(3), days_ago(2))
        first = save(store, a_memory(a_key_memory(uses=(use,))))
        later = replace(use, latest=NOON)
        memory = a_memory(
            a_key_memory(key=a_key(status="Inactive"), uses=(later,)),
            users={"AIDAALICE": a_user("alicia", id="AIDAALICE")},
        )

        save(store, memory, revision=first.revision)

        assert store.load()[0].memory == memory

    def test_what_is_gone(self, store: Store, location: Location) -> None:
        """Users and keys that are no longer remembered are not loaded."""
        use = SeenUse("s3", "eu-west-1", NOON, NOON)
        first = save(store, a_memory(a_key_memory(uses=(use,))))
        empty = a_memory(users={})

        save(store, empty, revision=first.revision)

        assert store.load()[0].memory == empty

    def test_a_deleted_key(self, store: Store, clock: FakeClock) -> None:
        """A key that was deleted more than `shown_for` ago is not loaded."""
        memory = a_memory(a_key_memory(deleted_at=NOON))
        save(store, memory)
        before = store.load()[0]
        clock.advance(hours=25)

        (after,) = store.load()

        assert before.memory == memory
        assert before.snapshot.keys == ()
        assert after.memory.keys == {}

    def test_a_key_without_a_user(self, store: Store) -> None:
        """A key whose user is not listed is remembered, and not part of the snapshot."""
        memory = a_memory(a_key_memory("AKIA1"), a_key_memory("AKIA2", key=a_key("AKIA2", "bob")))
        save(store, memory)

        (loaded,) = store.load()

        assert loaded.memory == memory
        assert [key.id for key in loaded.snapshot.keys] == ["AKIA1"]

    def test_many_threads(self, store: Store) -> None:
        """Eight threads save accounts of their own at the same time."""
        memory = a_memory(a_key_memory())

        def save_often(number: int) -> int:
            revision = 0
            for _ in range(10):
                account_id = f"{number:012}"
                event = an_event(occurrence=str(revision))
                saved = save(store, memory, [event], account_id=account_id, revision=revision)
                assert saved.events == (event,)
                revision = saved.revision
            return revision

        with ThreadPoolExecutor(8) as pool:
            revisions = list(pool.map(save_often, range(8)))

        assert revisions == [10] * 8
        assert {(one.revision, one.memory.keys == memory.keys) for one in store.load()} == {
            (10, True)
        }


class TestEnd:
    def test_an_ended_account(self, store: Store) -> None:
        """An account that is no longer configured is not loaded, unless it is asked for."""
        save(store, a_memory(), account_id=PROD)
        save(store, a_memory(), account_id=TEST)

        store.end_accounts([TEST, "333333333333"], NOON)

        assert [one.snapshot.account.id for one in store.load()] == [TEST]
        assert [one.snapshot.account.id for one in store.load([PROD])] == [PROD]

    def test_an_account_that_comes_back(self, store: Store) -> None:
        """A save removes the end of an account, which keeps what it remembers."""
        saved = save(store, a_memory(a_key_memory()))
        store.end_accounts([], NOON)

        save(store, a_memory(a_key_memory()), revision=saved.revision)

        assert store.load()[0].revision == 2

    def test_an_end_is_not_moved(self, store: Store, clock: FakeClock) -> None:
        """An account is kept from when it ended, not from when that was confirmed."""
        save(store, a_memory())
        store.end_accounts([], NOON)
        clock.advance(days=300)
        store.end_accounts([], clock.now())
        clock.advance(days=101)

        assert store.load([PROD]) == []


class TestPurge:
    def test_at_a_start(
        self, store: Store, open_store: OpenStore, location: Location, clock: FakeClock
    ) -> None:
        """Events that are older than `keep_events` are deleted when the store is loaded."""
        save(store, a_memory(), [an_event("OLD"), an_event("NEW", noticed_at=NOON + _days(200))])
        store.close()
        clock.advance(days=401)

        open_store(location).load()

        assert [row.event.access_key_id for row in read_events(location)] == ["NEW"]

    def test_once_a_day(self, store: Store, location: Location, clock: FakeClock) -> None:
        """Events that are older than `keep_events` are deleted by a save, once a day."""
        clock.advance(days=399, hours=23)
        saved = save(store, a_memory(), [an_event()])
        clock.advance(hours=2)
        saved = save(store, a_memory(), revision=saved.revision)
        kept = len(read_events(location))
        clock.advance(hours=22)
        save(store, a_memory(), revision=saved.revision)

        assert kept == 1
        assert read_events(location) == []

    def test_deleted_keys(
        self, store: Store, open_store: OpenStore, location: Location, clock: FakeClock
    ) -> None:
        """Keys that were deleted more than `keep_events` ago are deleted, with their uses."""
        use = SeenUse("s3", "eu-west-1", NOON, NOON)
        deleted = a_key_memory("OLD", deleted_at=NOON, uses=(use,))
        kept = a_key_memory("KEPT", uses=(use,))
        save(store, a_memory(kept, deleted))
        store.close()
        clock.advance(days=401)

        (loaded,) = open_store(location, shown_for=_days(1000)).load()

        assert list(loaded.memory.keys) == ["KEPT"]

    def test_periods_without_end(self, open_store: OpenStore, location: Location) -> None:
        """The longest period that there is keeps everything."""
        store = open_store(location, keep_events=timedelta.max, shown_for=timedelta.max)
        memory = a_memory(events=(an_event(noticed_at=days_ago(9000)),))
        save(store, memory)

        assert store.load()[0].memory == memory


def _days(number: float) -> timedelta:
    return timedelta(days=number)
