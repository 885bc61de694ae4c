"""Keys that appear and disappear, whoever their users are by then."""

from dataclasses import replace
from datetime import timedelta

from exporter.memory import remember
from exporter.model import AccountMemory, AccountSnapshot, Event, EventKind, User
from tests.builders import a_key, a_snapshot, an_account, days_ago
from tests.memory.watcher import KEY, OPTIONS, Watcher, day, kinds, owner

CREATED, DELETED = EventKind.CREATED, EventKind.DELETED


def test_the_first_look_is_a_baseline() -> None:
    """What there is when the exporter begins to watch is no event."""
    assert Watcher().look(0, a_key()) == []


def test_a_refresh_that_did_not_finish_changes_nothing() -> None:
    """Before the first refresh has finished there is nothing to remember."""
    watcher = Watcher()
    watcher.look(0)
    watcher.look(1, a_key())
    memory = watcher.memory
    assert remember(memory, AccountSnapshot(an_account()), OPTIONS) == (memory, ())


def test_a_key_is_created() -> None:
    """A key that appears in the list of its user's keys was created when AWS says."""
    watcher = Watcher()
    watcher.look(0)
    assert watcher.look(1, a_key(created=day(0.5))) == [
        Event(kind=CREATED, at=day(0.5), noticed_at=day(1), user="alice", access_key_id=KEY)
    ]


def test_a_key_is_created_once() -> None:
    """A key that is still there is no event."""
    watcher = Watcher()
    watcher.look(0)
    watcher.look(1, a_key())
    assert watcher.look(2, a_key()) == []


def test_a_key_of_a_new_user_is_created() -> None:
    """A user that was created since users were last listed had no keys then."""
    watcher = Watcher()
    watcher.look(0, users=())
    new = owner(listed=day(1), created=day(0.5))
    assert kinds(watcher.look(1, a_key(), users=(new,))) == [CREATED]


def test_a_user_that_iam_listed_late_is_new() -> None:
    """IAM may list a user some minutes after it was created."""
    watcher = Watcher()
    watcher.look(0, users=())
    new = owner(listed=day(1), created=day(0) - timedelta(minutes=14))
    assert kinds(watcher.look(1, a_key(), users=(new,))) == [CREATED]


def test_keys_of_users_that_come_into_scope_are_a_baseline() -> None:
    """A user that is older than the latest list of users was not included then."""
    watcher = Watcher()
    watcher.look(0, users=())
    included = owner(listed=day(1), created=day(0) - timedelta(minutes=15))
    assert watcher.look(1, a_key(), users=(included,)) == []


def test_keys_of_a_new_user_that_are_listed_late_are_created() -> None:
    """A new user's keys are created even if the first attempts to list them fail."""
    watcher = Watcher()
    watcher.look(0, users=())
    new = owner(created=day(0.5))
    assert watcher.look(1, users=(new,)) == []
    assert watcher.look(2, users=(new,)) == []
    listed = replace(new, keys_at=day(3), keys_as_of=day(3))
    assert kinds(watcher.look(3, a_key(), users=(listed,))) == [CREATED]


def test_keys_that_are_listed_for_the_first_time_are_a_baseline() -> None:
    """If a user's keys could not be listed before, nothing is known of when they appeared."""
    watcher = Watcher()
    alice = owner(created=day(0) - timedelta(minutes=5))
    watcher.look(0, users=(alice,))
    listed = replace(alice, keys_at=day(1), keys_as_of=day(1))
    assert watcher.look(1, a_key(), users=(listed,)) == []
    assert kinds(watcher.look(2)) == [DELETED]


def test_a_key_that_no_list_confirms_is_not_created() -> None:
    """A key that is known although its user's keys could not be listed proves nothing yet."""
    watcher = Watcher()
    watcher.look(0)
    assert watcher.look(1, a_key(), users=(owner(listed=day(0)),)) == []
    assert kinds(watcher.look(2, a_key())) == [CREATED]


def test_a_key_is_deleted() -> None:
    """A key that the list of its user's keys no longer has was deleted."""
    watcher = Watcher()
    watcher.look(0, a_key())
    users = (owner(listed=day(1)),)
    assert watcher.look(1, users=users, finished_at=day(2)) == [
        Event(kind=DELETED, at=day(1), noticed_at=day(2), user="alice", access_key_id=KEY)
    ]


def test_a_key_is_deleted_once() -> None:
    """A key that was deleted stays deleted."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(1)
    assert watcher.look(1.1) == []


def test_a_key_is_deleted_with_its_user() -> None:
    """A key whose user is no longer listed was deleted."""
    watcher = Watcher()
    watcher.look(0, a_key())
    (event,) = watcher.look(1, users=(), finished_at=day(2))
    assert (event.kind, event.at, event.user) == (DELETED, day(1), "alice")


def test_a_key_whose_users_keys_were_not_listed_is_not_deleted() -> None:
    """A list of keys that failed says nothing."""
    watcher = Watcher()
    watcher.look(0, a_key())
    assert watcher.look(1, users=(owner(listed=day(0)),)) == []
    assert watcher.look(2, users=(owner(),)) == []
    assert kinds(watcher.look(3)) == [DELETED]


def test_a_key_is_not_deleted_by_a_list_of_users_that_failed() -> None:
    """Stale facts are dropped from the snapshot, and are remembered."""
    watcher = Watcher()
    watcher.look(0, a_key())
    assert watcher.look(1, users=(), listed_at=None) == []
    assert watcher.look(2, users=(), listed_at=day(0)) == []
    assert watcher.key.deleted_at is None
    assert watcher.look(3, a_key()) == []


def test_a_deleted_key_is_remembered_for_as_long_as_events_are_shown() -> None:
    """Whoever still has an outdated list of keys must not bring it back as a new key."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(1)
    watcher.look(1.99)
    assert watcher.key.deleted_at == day(1)
    watcher.look(2)
    assert watcher.memory.keys == {}


def test_a_deleted_key_is_forgotten_even_if_the_clock_was_ahead() -> None:
    """A deletion in the future is as old as the difference."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(10)
    watcher.look(2)
    assert watcher.memory.keys == {}


def test_a_key_that_reappears_is_neither_created_nor_deleted_again() -> None:
    """IAM is eventually consistent: a list may lack a key, or have it a bit longer."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(1)
    assert watcher.look(1.1, a_key()) == []
    assert watcher.key.deleted_at is None
    assert watcher.look(1.2) == []
    assert watcher.key.deleted_at == day(1.2)


def test_a_renamed_users_keys_are_the_same() -> None:
    """Keys are identified by their ids, and users by theirs."""
    watcher = Watcher()
    watcher.look(0, a_key())
    renamed = owner("zed", id="AIDAALICE", listed=day(1))
    assert watcher.look(1, a_key(user="zed"), users=(renamed,)) == []
    assert watcher.key.key.user == "zed"


def test_a_renamed_user_whose_keys_could_not_be_listed_has_lost_none() -> None:
    """Under a new name nothing is known of a user's keys until they are listed."""
    watcher = Watcher()
    watcher.look(0, a_key())
    renamed = owner("zed", id="AIDAALICE")
    assert watcher.look(1, users=(renamed,)) == []
    listed = replace(renamed, keys_at=day(2), keys_as_of=day(2))
    (event,) = watcher.look(2, users=(listed,))
    assert (event.kind, event.user) == (DELETED, "zed")


def test_keys_of_a_renamed_user_are_still_created() -> None:
    """A user whose keys were listed under the old name is not new."""
    watcher = Watcher()
    watcher.look(0)
    renamed = owner("zed", id="AIDAALICE")
    watcher.look(1, users=(renamed,))
    listed = replace(renamed, keys_at=day(2), keys_as_of=day(2))
    assert kinds(watcher.look(2, a_key(user="zed"), users=(listed,))) == [CREATED]


def test_a_user_that_is_created_again_has_other_keys() -> None:
    """A user of the same name with another id is another user."""
    watcher = Watcher()
    watcher.look(0, a_key(created=days_ago(9)))
    again = owner(id="AIDAAGAIN", created=day(0.5), listed=day(1))
    events = watcher.look(1, a_key("AKIAAGAINAGAINAGAIN1", created=day(0.6)), users=(again,))
    assert {(event.kind, event.access_key_id) for event in events} == {
        (DELETED, KEY),
        (CREATED, "AKIAAGAINAGAINAGAIN1"),
    }


def test_a_deletion_does_not_wait_for_the_keys_of_a_user_that_is_created_again() -> None:
    """A key that is older than the new user was the old one's."""
    watcher = Watcher()
    watcher.look(0, a_key(created=days_ago(9)))
    again = owner(id="AIDAAGAIN", created=day(0.5))
    assert kinds(watcher.look(1, users=(again,))) == [DELETED]


def test_a_key_of_a_user_that_is_created_again_meanwhile_is_not_deleted() -> None:
    """Between ListUsers and ListAccessKeys alice was created again: it is the new one's key."""
    watcher = Watcher()
    watcher.look(0)
    assert kinds(watcher.look(1, a_key(created=day(1.1)))) == [CREATED]
    again = owner(id="AIDAAGAIN", created=day(1))
    assert watcher.look(2, users=(again,)) == []  # whose keys could not be listed
    listed = replace(again, keys_at=day(3), keys_as_of=day(3))
    assert watcher.look(3, a_key(created=day(1.1)), users=(listed,)) == []
    assert watcher.key.user_id == "AIDAAGAIN"


def test_excluded_users_are_forgotten() -> None:
    """The keys of users that the configuration excludes from now on are not deleted."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.options = replace(OPTIONS, includes=lambda name: name != "alice")
    assert watcher.look(1, users=()) == []
    assert watcher.memory.keys == {}
    watcher.options = OPTIONS
    assert watcher.look(2, a_key()) == []


def test_excluded_users_are_forgotten_even_if_users_cannot_be_listed() -> None:
    """When they are included again, nothing is known of them."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.options = replace(OPTIONS, includes=lambda name: name != "alice")
    assert watcher.look(1, users=(), listed_at=None) == []
    watcher.options = OPTIONS
    assert watcher.look(2, a_key()) == []


def test_an_outdated_list_of_keys_proves_nothing() -> None:
    """Another process relies on an older report: what it lacks was created, or deleted, since."""
    watcher = Watcher()
    other = a_key("AKIAOTHEROTHEROTHER1")
    watcher.look(0, other)
    watcher.look(1, a_key())
    assert watcher.look(1.1, other, users=(owner(listed=day(0.5)),)) == []
    assert watcher.look(1.2, a_key()) == []


def test_an_outdated_snapshot_does_not_bring_back_a_deleted_user() -> None:
    """Another process could not list users for days, and still knows one who was deleted."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(1, users=())
    watcher.look(3, users=())
    assert watcher.memory.keys == {}
    assert watcher.look(4, a_key(), users=(owner(listed=day(0)),), listed_at=day(0)) == []
    assert watcher.look(5, users=()) == []


def test_a_key_is_created_although_users_could_not_be_listed() -> None:
    """The keys of a known user were."""
    watcher = Watcher()
    watcher.look(0)
    assert kinds(watcher.look(1, a_key(), listed_at=day(0))) == [CREATED]


def test_a_key_of_a_new_user_whom_another_process_no_longer_saw_was_created() -> None:
    """The user was created and deleted while this process refreshed."""
    watcher = Watcher()
    watcher.look(1, users=())
    short = owner(listed=day(0.999), created=day(0.998))
    assert kinds(watcher.look(1.1, a_key(), users=(short,), listed_at=day(0.999))) == [CREATED]
    assert kinds(watcher.look(2, users=())) == [DELETED]


def test_an_outdated_snapshot_does_not_rename_a_user() -> None:
    """Another process that could not list users still knows the old name."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(1, a_key(user="zed"), users=(owner("zed", id="AIDAALICE", listed=day(1)),))
    watcher.look(2, a_key(), users=(owner(listed=day(0)),), listed_at=day(0))
    assert watcher.key.key.user == "zed"
    assert watcher.memory.users["AIDAALICE"].name == "zed"


def test_keys_are_noticed_after_the_clock_was_ahead() -> None:
    """A list that was read at a time in the future is no reason to ignore the present."""
    watcher = Watcher()
    watcher.look(0, a_key())
    watcher.look(100, a_key())
    other = a_key("AKIAOTHEROTHEROTHER1")
    assert set(kinds(watcher.look(1, other))) == {CREATED, DELETED}


def test_a_list_of_a_time_in_the_future_counts_once() -> None:
    """The same list is not newer than itself, although the clock is right again."""
    watcher = Watcher()
    watcher.look(100, a_key())
    assert watcher.look(1, users=(owner(listed=day(100)),), listed_at=day(100)) == []


def test_a_users_keys_are_listed_again_although_users_are_not() -> None:
    """The latest list of a user's keys counts, whenever users were listed."""
    watcher = Watcher()
    watcher.look(0)
    watcher.look(1, listed_at=day(0))
    assert watcher.memory.users["AIDAALICE"].keys_as_of == day(1)
    assert watcher.memory.users_as_of == day(0)


def test_users_are_remembered_as_they_were_listed() -> None:
    """The latest list of users counts, and an outdated list of a user's keys changes nothing."""
    watcher = Watcher()
    watcher.look(1)
    watcher.look(2, users=(owner(listed=day(0), path="/staff/"), owner("bob")))
    alice, bob = watcher.memory.users.values()
    assert (alice.path, alice.keys_as_of) == ("/staff/", day(1))
    assert (bob.name, bob.keys_as_of) == ("bob", None)
    assert watcher.memory.users_as_of == day(2)


def test_an_outdated_list_of_users_is_ignored() -> None:
    """Another process lists users later, and remembers first."""
    watcher = Watcher()
    watcher.look(2, a_key())
    assert watcher.look(2.1, users=(), listed_at=day(1)) == []
    assert watcher.memory.users_as_of == day(2)


def test_users_without_ids_are_known_by_name() -> None:
    """Where only the credential report was read, users have no ids."""
    watcher = Watcher()
    keys = a_key(), a_key("AKIABOBBOBBOBBOBBOB1", user="bob")

    def users(at: float) -> tuple[User, ...]:
        return tuple(owner(name, id="", listed=day(at)) for name in ("alice", "bob"))

    watcher.look(0, *keys, users=users(0))
    assert watcher.look(1, *keys, users=users(1)) == []
    (event,) = watcher.look(2, keys[0], users=users(2))
    assert (event.kind, event.user) == (DELETED, "bob")


def test_snapshots_need_no_ids() -> None:
    """A snapshot as the other tests build it can be remembered."""
    memory, events = remember(AccountMemory(), a_snapshot(a_key()), OPTIONS)
    assert (memory.keys, events) == ({}, ())  # no list of the user's keys confirms it
