"""What is stored: values that mention only what a test is about, and arbitrary ones."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from exporter.model import (
    NEVER,
    UNKNOWN,
    AccessKey,
    Account,
    AccountMemory,
    AccountSnapshot,
    Bookmarks,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    Partition,
    Reason,
    ReportState,
    Root,
    SeenUse,
    User,
)
from exporter.store import Remember, Saved, Store
from tests.builders import NOON, PROD, a_key, a_snapshot, a_user


def an_event(key: str = "AKIAALICEALICEALICE1", **fields: Any) -> Event:
    defaults = {"kind": EventKind.CREATED, "at": NOON, "noticed_at": NOON, "user": "alice"}
    return Event(access_key_id=key, **{**defaults, **fields})


def a_key_memory(id_: str = "AKIAALICEALICEALICE1", **fields: Any) -> KeyMemory:
    defaults = {"key": a_key(id_), "user_id": "AIDAALICE", "status_as_of": NOON}
    return KeyMemory(**{**defaults, **fields})


def a_memory(*keys: KeyMemory, **fields: Any) -> AccountMemory:
    defaults: dict[str, Any] = {
        "users": {"AIDAALICE": a_user(id="AIDAALICE")},
        "users_as_of": NOON,
        "keys": {memory.key.id: memory for memory in keys},
    }
    return AccountMemory(**{**defaults, **fields})


def remembering(memory: AccountMemory, events: Sequence[Event] = ()) -> Remember:
    """Return what saves *memory* and *events*, whatever is stored."""
    return lambda stored: (memory, events)


def save(
    store: Store,
    memory: AccountMemory,
    events: Iterable[Event] = (),
    *,
    account_id: str = PROD,
    revision: int = 0,
    **fields: Any,
) -> Saved:
    """Save *memory* as that of the account, with a snapshot of its keys."""
    keys = [one.key for one in memory.keys.values() if one.deleted_at is None]
    snapshot = a_snapshot(*keys, account=Account(account_id, "prod"), **fields)
    return store.save(snapshot, revision, remembering(memory, tuple(events)))


# -- arbitrary values --------------------------------------------------------------------------

SECONDS = st.integers(-800_000_000, 2_000_000_000).map(lambda n: NOON + timedelta(seconds=n))

TIMES = SECONDS | st.builds(
    lambda at, n: at + timedelta(microseconds=n), SECONDS, st.integers(1, 999_999)
)

MAYBE_TIMES = st.none() | TIMES

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)

REGIONS = st.sampled_from(["eu-west-1", "us-east-1", "N/A"])

ROOTS = st.builds(
    Root,
    as_of=TIMES,
    access_keys=st.none() | st.integers(0, 2),
    password_last_used=MAYBE_TIMES,
    access_key_last_used=MAYBE_TIMES,
    uses_as_of=MAYBE_TIMES,
)

SEEN_USES = st.lists(
    st.builds(SeenUse, service=TEXTS, region=REGIONS, first=TIMES, latest=TIMES),
    max_size=3,
    unique_by=lambda use: (use.service, use.region),
).map(tuple)


def users(id_: str) -> st.SearchStrategy[User]:
    tags = st.dictionaries(TEXTS, TEXTS, max_size=2).map(lambda some: tuple(sorted(some.items())))
    return st.builds(
        User,
        name=TEXTS,
        path=TEXTS,
        created=TIMES,
        id=st.just(id_),
        password_last_used=MAYBE_TIMES,
        tags=tags,
        keys_at=MAYBE_TIMES,
        keys_as_of=MAYBE_TIMES,
    )


def keys(id_: str, owners: Collection[User]) -> st.SearchStrategy[KeyMemory]:
    """Arbitrary memories of a key of one of *owners*, if there are any."""
    last_uses = st.sampled_from([NEVER, UNKNOWN]) | st.builds(
        LastUse, at=TIMES, service=TEXTS, region=REGIONS
    )
    return st.builds(
        KeyMemory,
        key=st.builds(
            AccessKey,
            id=st.just(id_),
            user=st.sampled_from([user.name for user in owners]) if owners else TEXTS,
            status=st.sampled_from(["Active", "Inactive", "Expired"]),
            created=TIMES,
            last_use=last_uses,
            as_of=MAYBE_TIMES,
            final=st.booleans(),
        ),
        user_id=TEXTS,
        status_as_of=TIMES,
        watched_since=MAYBE_TIMES,
        uses=SEEN_USES,
        inactive_since=MAYBE_TIMES,
        status_changes=st.integers(0, 1000),
        deleted_at=st.none() | st.just(NOON),
    )


EVENTS = st.lists(
    st.builds(
        Event,
        kind=st.sampled_from(EventKind),
        at=TIMES,
        noticed_at=st.just(NOON),
        user=TEXTS,
        access_key_id=st.sampled_from(["", "AKIA1", "AKIA2"]),
        occurrence=TEXTS,
        seconds=st.none() | st.floats(0, 1e9),
        service=TEXTS,
        region=REGIONS,
        credential=st.sampled_from(["", "password", "access_key"]),
    ),
    max_size=4,
    unique_by=lambda event: event.identity,
).map(tuple)


@st.composite
def memories(draw: st.DrawFn) -> AccountMemory:
    """Arbitrary memories of one account, which have some users and keys in common."""
    user_ids = draw(st.lists(st.sampled_from(["AIDA1", "AIDA2", "AIDA3"]), unique=True))
    key_ids = draw(st.lists(st.sampled_from(["AKIA1", "AKIA2", "AKIA3", "AKIA4"]), unique=True))
    found_users = {id_: draw(users(id_)) for id_ in user_ids}
    found = [draw(keys(id_, found_users.values())) for id_ in key_ids]
    found.sort(key=lambda memory: memory.deleted_at is not None)
    return AccountMemory(
        users=MappingProxyType(found_users),
        users_as_of=draw(MAYBE_TIMES),
        keys=MappingProxyType({memory.key.id: memory for memory in found}),
        root=draw(st.none() | ROOTS),
        events=draw(EVENTS),
    )


NAMES = st.frozensets(TEXTS, max_size=3)


def snapshots(memory: AccountMemory) -> st.SearchStrategy[AccountSnapshot]:
    """Arbitrary snapshots that have the facts of *memory*."""
    listed = {user.name for user in memory.users.values()}
    existing = [one.key for one in memory.keys.values() if one.deleted_at is None]
    return st.builds(
        AccountSnapshot,
        account=st.builds(
            Account, id=st.just(PROD), name=TEXTS.filter(bool), partition=st.sampled_from(Partition)
        ),
        users=st.just(tuple(memory.users.values())),
        keys=st.just(tuple(key for key in existing if key.user in listed)),
        root=st.just(memory.root),
        report=st.none() | st.builds(ReportState, generated=MAYBE_TIMES, usable=st.booleans()),
        bookmarks=st.builds(
            Bookmarks,
            next_report_at=MAYBE_TIMES,
            next_root_at=MAYBE_TIMES,
            tags_at=MAYBE_TIMES,
            relist=NAMES,
            in_report=NAMES,
            missing=NAMES,
        ),
        listed_at=st.just(memory.users_as_of),
        read_at=MAYBE_TIMES,
        finished_at=MAYBE_TIMES,
        failure=st.none() | st.sampled_from(Reason),
        error=TEXTS,
        seconds=st.floats(0, 1e6),
    )


History = list[tuple[AccountMemory, AccountSnapshot]]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """The saves of one account: each memory has the events of the one before it."""
    events: tuple[Event, ...] = ()
    history = []
    for _ in range(draw(st.integers(1, 3))):
        memory = draw(memories())
        known = {event.identity for event in events}
        events += tuple(event for event in memory.events if event.identity not in known)
        memory = replace(memory, events=events)
        history.append((memory, draw(snapshots(memory))))
    return history
