"""
What samples are about: an account, its keys, users and recent events, with their labels.

Prepared once for all families when a snapshot is published. Key ids are formatted wherever they can
become part of a label.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from exporter.metrics.counts import KeyCounts, count_keys
from exporter.metrics.facts import AccountFacts, KeyFacts
from exporter.metrics.labels import escape, labels
from exporter.metrics.options import RenderOptions
from exporter.model import (
    AccessKey,
    AccountMemory,
    AccountSnapshot,
    Event,
    LastUse,
    User,
    superseded_seconds,
)

T = TypeVar("T")

Subject = tuple[str, T, str]
"""Labels that identify a subject, its facts, and its tags as labels, each after a comma."""

Redact = Callable[[str], str]


@dataclass(slots=True)
class Subjects:
    """
    What the samples of one account are about.

    Attributes:
        identified: The id of the account is known.
        account: The account itself, once.
        counts: The account, once for each combination of tags that its keys are counted by.
        events: The recent events of one key each, whether it still exists or not.
    """

    identified: bool
    account: list[Subject[AccountFacts]] = field(default_factory=list)
    counts: list[Subject[KeyCounts]] = field(default_factory=list)
    users: list[Subject[User]] = field(default_factory=list)
    keys: list[Subject[KeyFacts]] = field(default_factory=list)
    events: list[Subject[Sequence[Event]]] = field(default_factory=list)


def subjects(snapshot: AccountSnapshot, memory: AccountMemory, options: RenderOptions) -> Subjects:
    """Prepare what the samples of an account are about."""
    preparation = _Preparation(snapshot, memory, options)
    for user in snapshot.users:
        preparation.add_user(user)
    preparation.add_gone_keys()
    preparation.add_counts()
    preparation.add_account()
    return preparation.subjects


class _Preparation:
    """Prepares the subjects of one account."""

    def __init__(
        self, snapshot: AccountSnapshot, memory: AccountMemory, options: RenderOptions
    ) -> None:
        account, redact = snapshot.account, options.redact
        self._snapshot = snapshot
        self._memory = memory
        self._options = options
        self._labels = labels(("account_id", "account"), (account.id, redact(account.label)))[1:]
        self._keys = _by_user([_shown(key, redact) for key in snapshot.keys])
        self._events = _by_key(memory.events, redact)
        self._gone = _by_user(_gone(self._events, snapshot, memory))
        self._names = options.user_names(
            dict.fromkeys([*[user.name for user in snapshot.users], *self._gone])
        )
        self._count_tags = {tag: options.tags[tag] for tag in options.counts.by_tags}
        self._counted: dict[str, list[KeyFacts]] = {}
        self.subjects = Subjects(identified=bool(account.id))

    def add_user(self, user: User) -> None:
        """Add a user and the user's keys."""
        options, redact = self._options, self._options.redact
        of_user = self._label_user(user.name)
        path = redact(user.path)
        shown = user if path == user.path else replace(user, path=path)
        self.subjects.users.append((of_user, shown, ""))
        keys = self._keys.get(user.name)
        if keys is None:
            return
        tags = _tag_labels(options.tags, user.tags, redact)
        count_tags = _tag_labels(self._count_tags, user.tags, redact)
        key_labels = self._label_keys(user.name)
        superseded = superseded_seconds(keys) if len(keys) > 1 else {}
        for key in keys:
            of_key = f'{of_user},access_key_id="{escape(key_labels[key.id])}"'
            facts = KeyFacts(
                key,
                shown,
                options.exempt_until(self._snapshot.account, user, key),
                redact(options.description(user, key)),
                superseded.get(key.id),
                None if key.active else _inactive_since(key, self._memory),
            )
            self.subjects.keys.append((of_key, facts, tags))
            if key.active:
                self._counted.setdefault(count_tags, []).append(facts)
            if key.id in self._events:
                self.subjects.events.append((of_key, self._events[key.id], tags))

    def add_gone_keys(self) -> None:
        """Add the events of keys that are not in the snapshot."""
        if not self._gone:
            return
        options = self._options
        users = (*self._memory.users.values(), *self._snapshot.users)
        tags_of = {user.name: user.tags for user in users}
        for name, keys in self._gone.items():
            of_user, key_labels = self._label_user(name), self._label_keys(name)
            tags = _tag_labels(options.tags, tags_of.get(name, ()), options.redact)
            for key in keys:
                of_key = f'{of_user},access_key_id="{escape(key_labels[key.id])}"'
                self.subjects.events.append((of_key, self._events[key.id], tags))

    def add_counts(self) -> None:
        """Add the counts of the keys that were added."""
        complete = self._snapshot.keys_known
        if complete and not self._counted:
            # No active keys: 0, which is not the same as unknown.
            self._counted[_tag_labels(self._count_tags, (), self._options.redact)] = []
        for tags, keys in self._counted.items():
            counts = count_keys(
                keys, self._snapshot.finished_at, self._options.counts.days, complete=complete
            )
            self.subjects.counts.append((self._labels, counts, tags))

    def add_account(self) -> None:
        """Add the account itself, with the keys that were added."""
        facts = AccountFacts(
            self._snapshot,
            keys=[facts.key for _, facts, _ in self.subjects.keys],
            root_events=self._events.get("", ()),
            requests_per_second=(
                self._snapshot.account.requests_per_second or self._options.requests_per_second
            ),
        )
        tags = _tag_labels(
            self._options.account_tags, self._snapshot.account.tags, self._options.redact
        )
        self.subjects.account.append((self._labels, facts, tags))

    def _label_user(self, name: str) -> str:
        return f'{self._labels},user="{escape(self._names.get(name, name))}"'

    def _label_keys(self, user: str) -> Mapping[str, str]:
        """Label the keys of a user together, by id: no two labels are the same."""
        return self._options.key_labels([*self._keys.get(user, ()), *self._gone.get(user, ())])


def _tag_labels(names: Mapping[str, str], tags: Iterable[tuple[str, str]], redact: Redact) -> str:
    """Render *tags* as labels, with the label *names* by tag name."""
    if not names:
        return ""
    values = dict(tags)
    return labels(tuple(names.values()), [redact(values.get(tag, "")) for tag in names])


def _inactive_since(key: AccessKey, memory: AccountMemory) -> datetime | None:
    remembered = memory.keys.get(key.id)
    return remembered.inactive_since if remembered else None


def _gone(
    events_of: Mapping[str, Sequence[Event]], snapshot: AccountSnapshot, memory: AccountMemory
) -> Iterator[AccessKey]:
    """Yield the keys that events are about and that are not in *snapshot*, as they last were."""
    if not events_of:
        return
    present = {key.id for key in snapshot.keys}
    for id_, events in events_of.items():
        if id_ and id_ not in present:
            remembered = memory.keys.get(id_)
            if remembered:
                yield remembered.key
            else:
                latest = events[-1]
                yield AccessKey(id_, latest.user, status="", created=latest.at)


def _shown(key: AccessKey, redact: Redact) -> AccessKey:
    """Format the key ids in what AWS says of a key's last use, where there should be none."""
    use = key.last_use
    if not isinstance(use, LastUse):
        return key
    service, region = redact(use.service), redact(use.region)
    if service == use.service and region == use.region:
        return key
    return replace(key, last_use=LastUse(use.at, service, region))


def _by_user(keys: Iterable[AccessKey]) -> dict[str, list[AccessKey]]:
    by_user: dict[str, list[AccessKey]] = {}
    for key in keys:
        by_user.setdefault(key.user, []).append(key)
    return by_user


def _by_key(events: Iterable[Event], redact: Redact) -> dict[str, list[Event]]:
    """Group *events* by key id; those of the root user have none."""
    by_key: dict[str, list[Event]] = {}
    for event in events:
        shown = replace(event, service=redact(event.service), region=redact(event.region))
        by_key.setdefault(event.access_key_id, []).append(shown)
    return by_key
