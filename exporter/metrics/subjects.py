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
    NEVER,
    AccessKey,
    AccountMemory,
    AccountSnapshot,
    Event,
    LastUse,
    User,
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
    account, redact = snapshot.account, options.redact
    of_account = labels(("account_id", "account"), (account.id, redact(account.label)))[1:]
    keys_of = _by_user([_shown(key, redact) for key in snapshot.keys])
    events_of = _by_key(memory.events, redact)
    gone_of = _by_user(_gone(events_of, snapshot, memory))
    names = options.user_names({**dict.fromkeys([u.name for u in snapshot.users]), **gone_of})
    count_tags = {tag: options.tags[tag] for tag in options.counts.by_tags}
    active: dict[str, list[KeyFacts]] = {}

    prepared = Subjects(identified=bool(account.id))
    for user in snapshot.users:
        name, path = user.name, redact(user.path)
        of_user = f'{of_account},user="{escape(names.get(name, name))}"'
        shown = user if path == user.path else replace(user, path=path)
        prepared.users.append((of_user, shown, ""))
        of_keys = keys_of.get(name)
        if of_keys is None:
            continue
        tags = _tag_labels(options.tags, user.tags, redact)
        count_labels = _tag_labels(count_tags, user.tags, redact)
        key_labels = options.key_labels([*of_keys, *gone_of.get(name, ())])
        superseded = _superseded(of_keys) if len(of_keys) > 1 else {}
        for key in of_keys:
            of_key = f'{of_user},access_key_id="{escape(key_labels[key.id])}"'
            facts = KeyFacts(
                key,
                shown,
                options.exempt_until(account, user, key),
                redact(options.description(user, key)),
                superseded.get(key.id),
                None if key.active else _inactive_since(key, memory),
            )
            prepared.keys.append((of_key, facts, tags))
            if key.active:
                active.setdefault(count_labels, []).append(facts)
            if key.id in events_of:
                prepared.events.append((of_key, events_of[key.id], ""))
    for name, gone in gone_of.items():
        of_user = f'{of_account},user="{escape(names.get(name, name))}"'
        key_labels = options.key_labels([*keys_of.get(name, ()), *gone])
        for key in gone:
            of_key = f'{of_user},access_key_id="{escape(key_labels[key.id])}"'
            prepared.events.append((of_key, events_of[key.id], ""))

    complete = snapshot.keys_known
    if complete and not active:
        # 0 is not the same as unknown.
        active[_tag_labels(count_tags, (), redact)] = []
    for count_labels, keys in active.items():
        counts = count_keys(keys, snapshot.finished_at, options.counts.days, complete=complete)
        prepared.counts.append((of_account, counts, count_labels))
    account_facts = AccountFacts(
        snapshot,
        [facts.key for _, facts, _ in prepared.keys],
        events_of.get("", ()),
        account.requests_per_second or options.requests_per_second,
    )
    prepared.account.append((of_account, account_facts, ""))
    return prepared


def _tag_labels(names: Mapping[str, str], tags: Iterable[tuple[str, str]], redact: Redact) -> str:
    """Render *tags* as labels, with the label *names* by tag name."""
    if not names:
        return ""
    values = dict(tags)
    return labels(tuple(names.values()), [redact(values.get(tag, "")) for tag in names])


def _superseded(keys: Iterable[AccessKey]) -> dict[str, int]:
    """
    Compare the active *keys* of one user.

    Returns by how many seconds the last use of another one is later than that of each key, or than
    its creation if it was never used. Only what is positive and known.
    """
    active = [key for key in keys if key.active]
    uses = {key.id: key.last_use.at for key in active if isinstance(key.last_use, LastUse)}
    seconds = {}
    for key in active:
        since = key.created if key.last_use is NEVER else uses.get(key.id)
        latest = max([at for id_, at in uses.items() if id_ != key.id], default=None)
        if since is not None and latest is not None and latest > since:
            seconds[key.id] = int((latest - since).total_seconds())
    return seconds


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
