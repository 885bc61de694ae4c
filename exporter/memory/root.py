"""What changed about an account's root user."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from exporter.memory.order import is_newer
from exporter.model import Event, EventKind, Root


def compare_roots(
    known: Root | None, root: Root | None, now: datetime
) -> tuple[Root | None, list[Event]]:
    """
    Compare what is known of the root user.

    The last uses are only in reports, and the number of keys is also in the account's summary, so
    each has a time of its own.

    Returns:
        What to remember, and the events.
    """
    if known is None or root is None:
        return root or known, []
    after = known
    events: list[Event] = []
    if root.access_keys is not None and is_newer(root.as_of, known.as_of, now):
        events += _key_events(known, root, now)
        after = replace(after, as_of=root.as_of, access_keys=root.access_keys)
    if is_newer(root.uses_as_of, known.uses_as_of, now):
        events += _use_events(known, root, now)
        after = replace(
            after,
            password_last_used=_later(known.password_last_used, root.password_last_used),
            access_key_last_used=_later(known.access_key_last_used, root.access_key_last_used),
            uses_as_of=root.uses_as_of,
        )
    return after, events


def merge_roots(known: Root, root: Root) -> Root:
    """Unite what is known of the root user: a last use never goes backwards."""
    newer, older = (root, known) if root.as_of >= known.as_of else (known, root)
    return Root(
        newer.as_of,
        older.access_keys if newer.access_keys is None else newer.access_keys,
        _later(newer.password_last_used, older.password_last_used),
        _later(newer.access_key_last_used, older.access_key_last_used),
        _later(newer.uses_as_of, older.uses_as_of),
    )


def _later(at: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (at, other)), default=None)


def _use_events(known: Root, root: Root, now: datetime) -> Iterator[Event]:
    for credential, old, new in (
        ("password", known.password_last_used, root.password_last_used),
        ("access_key", known.access_key_last_used, root.access_key_last_used),
    ):
        was_unknown = old is None and known.uses_as_of is None
        if new is not None and not was_unknown and (old is None or new > old):
            yield Event(
                kind=EventKind.ROOT_USED,
                at=new,
                noticed_at=now,
                occurrence=f"{credential} after {old.isoformat() if old else 'never'}",
                credential=credential,
            )


def _key_events(known: Root, root: Root, now: datetime) -> Iterator[Event]:
    if _has_more_keys(known, root):
        yield Event(
            kind=EventKind.ROOT_KEY_CREATED,
            at=root.as_of,
            noticed_at=now,
            occurrence=root.as_of.isoformat(),
        )


def _has_more_keys(known: Root, root: Root) -> bool:
    """
    Whether root certainly got another key.

    Reports count the active keys. The summary says 1 if there are any, active or not: only its 0
    means that there is none.
    """
    if known.access_keys is None or root.access_keys is None:
        return False
    if _is_counted(known):
        return _is_counted(root) and root.access_keys > known.access_keys
    return known.access_keys == 0 and root.access_keys > 0


def _is_counted(root: Root) -> bool:
    """Whether the number of keys is from a report."""
    return root.as_of == root.uses_as_of
