"""Where the pages of the server get what they show."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from exporter import server
from exporter.cli.events import details
from exporter.cli.pages.accounts import REASONS, calls_of, report_mode
from exporter.cli.pages.selection import (
    FINDINGS,
    LAST_USES,
    SORTS,
    STATUSES,
    Field,
    Selected,
    is_root,
)
from exporter.cli.pages.steps import Target, runbook_of, steps_of
from exporter.cli.pages.unseen import Unseen
from exporter.cli.streams import CONTROL
from exporter.config import Config
from exporter.key_ids import description_of
from exporter.model import (
    AccessKey,
    AccountMemory,
    AccountSnapshot,
    Clock,
    Event,
    KeyMemory,
    LastUse,
    NoUse,
    SeenUse,
    User,
)
from exporter.report import (
    UNWRAPPED,
    KeyRow,
    Order,
    Record,
    ShowOptions,
    Value,
    as_csv,
    coverage_of,
    iso_time,
    key_headings,
    key_names,
    key_record,
    key_rows,
    key_texts,
    not_seen,
)

KEYS_PER_PAGE: Final = 100

CHUNK: Final = 1000
"""Rows that are rendered at once."""

MAX_CHOICES: Final = 1000
"""Values that a filter offers."""

ROOT_KEY: Final = "root"
"""What stands for the keys of the root user, which have no ids, in a path."""

_KEY, _FINDING = "ACCESS KEY ID", "FINDING"

_SORTS: Final = {
    "ACCOUNT": Order.ACCOUNT,
    "USER": Order.USER,
    "AGE": Order.AGE,
    "IDLE": Order.IDLE,
    _FINDING: Order.URGENCY,
}
"""The order that a heading links to."""

_NAMES: Final = (Order.ACCOUNT, Order.USER)
"""Orders that begin with the least. Others begin with the longest, or the most urgent."""


class EventsUnavailable(Exception):
    """Why earlier events cannot be read, as a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """
    What a configuration says about pages.

    Attributes:
        summary: Writes the options in effect, with secrets hidden.
        events: Reads all events of a key, given the id of its account and its own, oldest first.
            Raises EventsUnavailable.
    """

    config: Config
    options: ShowOptions
    summary: Callable[[], str]
    events: Callable[[str, str], Sequence[Event]]


class Content:
    """
    What pages show. Thread-safe.

    Args:
        settings: Returns what the configuration in effect says.
        snapshots: Lists the latest snapshots, with the seconds until each next refresh. None: it
            is under way.
        memory: Returns what is remembered of an account.
        unseen: Returns which accounts are not among the snapshots.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        snapshots: Callable[[], Sequence[tuple[AccountSnapshot, float | None]]],
        memory: Callable[[AccountSnapshot], AccountMemory],
        clock: Clock,
        unseen: Callable[[], Unseen] = Unseen,
    ) -> None:
        self._settings = settings
        self._unseen = unseen
        self._snapshots = snapshots
        self._memory = memory
        self._clock = clock
        self._findings: dict[str, tuple[object, int]] = {}

    # -- accounts ------------------------------------------------------------------------------

    def unseen(self) -> list[str]:
        redact = self._settings().options.redact
        return [redact(sentence) for sentence in self._unseen().sentences()]

    def accounts(self) -> list[server.AccountRow]:
        settings, findings = self._settings(), self._findings
        snapshots = self._snapshots()
        rows = [self._account(settings, *each) for each in snapshots]
        for gone in findings.keys() - {_key_of(each) for each, _ in snapshots}:
            findings.pop(gone, None)
        return rows

    def _account(
        self, settings: Settings, snapshot: AccountSnapshot, seconds: float | None
    ) -> server.AccountRow:
        redact, failure = settings.options.redact, snapshot.failure
        mode = report_mode(snapshot, settings.config)
        reason, advice = REASONS[failure] if failure else ("", "")
        return server.AccountRow(
            id=snapshot.account.id,
            name=redact(snapshot.account.label),
            up=snapshot.up if snapshot.finished_at else None,
            keys=None if snapshot.listed_at is None else len(snapshot.keys),
            last_success=snapshot.read_at,
            next_refresh=seconds,
            error=redact(f"{failure}: {snapshot.error}") if failure else "",
            reason=reason,
            advice=advice,
            findings=self._count_findings(settings, snapshot),
            mode=str(mode or ""),
            calls=calls_of(snapshot, mode),
            complete=snapshot.keys_known,
        )

    def _count_findings(self, settings: Settings, snapshot: AccountSnapshot) -> int | None:
        """Count the keys with findings: once for each refresh, and each hour for exemptions."""
        if snapshot.listed_at is None:
            return None
        now = self._clock.now()
        stamp = (
            settings,
            *(snapshot.finished_at, snapshot.listed_at, len(snapshot.keys), snapshot.unknown),
            now.replace(minute=0, second=0, microsecond=0),
        )
        counts, key = self._findings, _key_of(snapshot)
        known = counts.get(key)
        if known is not None and known[0] == stamp:
            return known[1]
        rows = key_rows(snapshot, self._memory(snapshot), settings.options, now)
        count = sum(bool(row.findings) for row in rows)
        counts[key] = stamp, count
        return count

    # -- keys ----------------------------------------------------------------------------------

    def keys(self, parameters: Mapping[str, str]) -> server.KeyTable:
        settings, now = self._settings(), self._clock.now()
        options = settings.options
        selected = Selected.of(parameters, options.tags.values(), options.redact)
        snapshots = [snapshot for snapshot, _ in self._snapshots()]
        known = sum(len(each.keys) + _has_root_key(each) for each in snapshots)
        page = min(max(1, _number(parameters.get("page", ""))), _pages(known))
        rows = Counted(self._rows(settings, snapshots, selected, now))
        first = selected.first(page * KEYS_PER_PAGE, rows)
        page = min(page, _pages(rows.count))
        shown = first[(page - 1) * KEYS_PER_PAGE : page * KEYS_PER_PAGE]
        headings = key_headings(options.tags)
        places = _places(headings)
        return server.KeyTable(
            columns=[_column(headings[place], selected) for place in places],
            rows=[_row(row, places) for row in shown],
            filters=_filters(settings, snapshots, selected),
            sorts=SORTS,
            asked=selected.asked,
            total=rows.count,
            known=known,
            page=page,
            pages=_pages(rows.count),
            not_seen=[*self.unseen(), *_not_seen(snapshots, selected, options, now)],
            at=now,
        )

    def export(self, parameters: Mapping[str, str], format_: str) -> "Export":
        settings, now = self._settings(), self._clock.now()
        options = settings.options
        selected = Selected.of(parameters, options.tags.values(), options.redact)
        snapshots = [snapshot for snapshot, _ in self._snapshots()]
        rows = selected.sorted(self._rows(settings, snapshots, selected, now))
        seen = [each for each in snapshots if _is_selected(each, selected, options)]
        return Export(rows, options, seen, now, format_, unseen=self._unseen())

    def _rows(
        self,
        settings: Settings,
        snapshots: Iterable[AccountSnapshot],
        selected: Selected,
        now: datetime,
    ) -> Iterator[KeyRow]:
        options = settings.options
        for snapshot in snapshots:
            if _is_selected(snapshot, selected, options):
                rows = key_rows(snapshot, self._memory(snapshot), options, now)
                yield from filter(selected.has, rows) if selected.tests else rows

    # -- one key -------------------------------------------------------------------------------

    def key(
        self, account_id: str, key: str, user: str
    ) -> server.KeyDetails | server.Namesakes | None:
        settings = self._settings()
        options = settings.options
        key, user = options.redact(key), options.redact(user)
        accounts = {each.account.id: each for each, _ in self._snapshots()}
        snapshot = accounts.get(account_id) if account_id else None
        if snapshot is None:
            return None
        memory, now = self._memory(snapshot), self._clock.now()
        if key == ROOT_KEY:
            found = list(key_rows(replace(snapshot, keys=()), memory, options, now))
            return self._details(settings, snapshot, memory, found[0], None) if found else None
        rows = []
        for keys in _by_user(snapshot.keys).values():
            for id_, label in options.key_labels(keys).items():
                if label == key:
                    # The keys of the user are all that a row depends on.
                    part = replace(snapshot, keys=tuple(keys), root=None)
                    known = next(each for each in keys if each.id == id_)
                    rows += [
                        (row, known)
                        for row in key_rows(part, memory, options, now)
                        if row.access_key_id == key and user in ("", row.user)
                    ]
        if len(rows) > 1:
            return server.Namesakes(account_id, key, tuple(sorted(row.user for row, _ in rows)))
        return self._details(settings, snapshot, memory, *rows[0]) if rows else None

    def _details(
        self,
        settings: Settings,
        snapshot: AccountSnapshot,
        memory: AccountMemory,
        row: KeyRow,
        key: AccessKey | None,
    ) -> server.KeyDetails:
        redact = settings.options.redact
        known = memory.keys.get(key.id) if key else None
        id_ = key.id if key else ""
        events: Iterable[Event] = [each for each in memory.events if each.access_key_id == id_]
        error = ""
        try:
            stored = settings.events(snapshot.account.id, id_)
        except EventsUnavailable as unavailable:
            error = redact(str(unavailable))
        else:
            events = {each.identity: each for each in (*stored, *events)}.values()
        target = Target(
            snapshot.account.id,
            id_ if redact(id_) == id_ == row.access_key_id else "",
            key.user if key and redact(key.user) == key.user == row.user else "",
            active=row.status == "Active",
            exemption_tag=settings.config.exemptions.tag,
        )
        steps = steps_of(target, [each.kind for each in row.findings]) if key else ()
        return server.KeyDetails(
            account_id=snapshot.account.id,
            account=row.account,
            user=row.user,
            key=row.access_key_id,
            facts=[*_facts(settings, snapshot, memory, row, key)],
            problems=[server.Problem(str(each), runbook_of(each.kind)) for each in row.findings],
            uses=[
                (redact(use.service), redact(use.region), _minute(use.first), _minute(use.latest))
                for use in sorted(_uses(key, known), key=lambda use: use.latest)[::-1]
            ],
            events=[
                (_minute(each.at), _text(each, redact))
                for each in sorted(events, key=lambda each: each.at)[::-1]
            ],
            events_error=error,
            steps=tuple(steps),
            note=target.note if key else "",
            at=self._clock.now(),
        )

    # -- the configuration ---------------------------------------------------------------------

    def configuration(self) -> str:
        settings = self._settings()
        return settings.options.redact(settings.summary())


class Counted:
    """Rows that are counted when they are iterated."""

    def __init__(self, rows: Iterable[KeyRow]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[KeyRow]:
        for row in self._rows:
            self.count += 1
            yield row


class Export:
    """
    The rows of the table of keys in the format ``csv`` or ``json``, rendered chunk by chunk.

    Args:
        accounts: Those that the rows are of.
        unseen: Which other accounts there are.
    """

    def __init__(
        self,
        rows: Sequence[KeyRow],
        options: ShowOptions,
        accounts: Sequence[AccountSnapshot],
        at: datetime,
        format_: str,
        *,
        unseen: Unseen,
    ) -> None:
        self._rows = rows
        self._options = options
        self._accounts = accounts
        self._unseen = unseen
        self._at = at
        self._format = format_

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._csv() if self._format == "csv" else self._json()
        return map(str.encode, chunks)

    def _records(self) -> Iterator[list[Record]]:
        rows = iter(self._rows)
        while batch := list(islice(rows, CHUNK)):
            yield [key_record(row, self._options.tags) for row in batch]

    def _csv(self) -> Iterator[str]:
        names = key_names(self._options.tags)
        heading = as_csv(names, ())
        yield heading
        for records in self._records():
            yield as_csv(names, map(_printable, records)).removeprefix(heading)

    def _json(self) -> Iterator[str]:
        """Yield an object like that of the subcommand report, with a key in each line."""
        error, shard = self._options.redact(self._unseen.error), self._unseen.shard
        beginning = {
            "at": self._at,
            "discovery_error": error or None,
            "shard": shard.ordinal,
            "total_shards": shard.total,
        }
        yield _dumps(beginning).removesuffix("}") + ', "keys": ['
        separator = "\n"
        for records in self._records():
            yield separator + ",\n".join(map(_dumps, records))
            separator = ",\n"
        yield '\n], "accounts": ['
        accounts = (coverage_of(each, self._options.redact).record() for each in self._accounts)
        yield "\n" + ",\n".join(map(_dumps, accounts)) + "\n]}\n"


def _key_of(snapshot: AccountSnapshot) -> str:
    # Two accounts of an organization may have the same name.
    return snapshot.account.id or snapshot.account.label


def _dumps(value: object) -> str:
    return json.dumps(value, default=iso_time)


def _printable(record: Record) -> dict[str, Value]:
    return {
        name: value.translate(CONTROL) if isinstance(value, str) else value
        for name, value in record.items()
    }


def _pages(rows: int) -> int:
    return max(1, -(-rows // KEYS_PER_PAGE))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _is_selected(snapshot: AccountSnapshot, selected: Selected, options: ShowOptions) -> bool:
    account = snapshot.account
    return selected.account(account.id, options.redact(account.label))


def _has_root_key(snapshot: AccountSnapshot) -> bool:
    return snapshot.root is not None and bool(snapshot.root.access_keys)


def _places(headings: Sequence[str]) -> list[int]:
    """Return the order of columns: what is wrong with a key follows the key."""
    places = [place for place, heading in enumerate(headings) if heading != _FINDING]
    places.insert(headings.index(_KEY) + 1, headings.index(_FINDING))
    return places


def _row(row: KeyRow, places: Sequence[int]) -> server.KeyRow:
    cells = key_texts(row, str)
    return server.KeyRow(
        cells=[cells[place] for place in places],
        path=(row.account_id, ROOT_KEY if is_root(row) else row.access_key_id),
        finding=bool(row.findings),
    )


def _column(heading: str, selected: Selected) -> server.Column:
    if heading.startswith("TAG "):
        return server.Column(f"Tag {heading.removeprefix('TAG ')}")
    order = _SORTS.get(heading)
    is_sorted, up = order is selected.order, (order in _NAMES) is not selected.reversed
    return server.Column(
        heading.capitalize().replace(" id", " ID"),
        sort=_link_of(order, selected) if order else "",
        sorted=("ascending" if up else "descending") if is_sorted else "",
        unwrapped=heading in UNWRAPPED,
        name=heading == _KEY,
        finding=heading == _FINDING,
    )


def _link_of(order: Order, selected: Selected) -> str:
    """Return the order that a heading leads to: the other way round if it is the present one."""
    return f"-{order}" if order is selected.order and not selected.reversed else order


def _filters(
    settings: Settings, snapshots: Sequence[AccountSnapshot], selected: Selected
) -> list[server.Filter]:
    options, asked = settings.options, selected.asked
    uses = {
        (key.last_use.service, key.last_use.region)
        for snapshot in snapshots
        for key in snapshot.keys
        if isinstance(key.last_use, LastUse)
    }
    tags: dict[str, set[str]] = {tag: set() for tag in options.tags}
    if tags:
        for snapshot in snapshots:
            for user in snapshot.users:
                for name, value in user.tags:
                    if value and name in tags and len(tags[name]) <= MAX_CHOICES:
                        tags[name].add(value)

    def choices(values: Iterable[str]) -> list[str]:
        return sorted({options.redact(value) for value in values if value})[:MAX_CHOICES]

    def field(name: Field, label: str, values: Iterable[str] = ()) -> server.Filter:
        return server.Filter(name, label, asked.get(name, ""), choices(values))

    def menu(name: Field, label: str, values: Sequence[str]) -> server.Filter:
        return server.Filter(name, label, asked.get(name, ""), values, closed=True)

    return [
        field(Field.ACCOUNT, "Account", (each.account.label for each in snapshots)),
        field(Field.USER, "User"),
        *(
            server.Filter(parameter, f"Tag {tag}", asked.get(parameter, ""), choices(tags[tag]))
            for tag, parameter in options.tags.items()
        ),
        menu(Field.FINDING, "Finding", FINDINGS),
        menu(Field.STATUS, "Status", STATUSES),
        menu(Field.LAST_USE, "Last use", LAST_USES),
        field(Field.SERVICE, "Service", (service for service, _ in uses)),
        field(Field.REGION, "Region", (region for _, region in uses)),
    ]


def _not_seen(
    snapshots: Iterable[AccountSnapshot], selected: Selected, options: ShowOptions, now: datetime
) -> list[str]:
    coverage = [
        coverage_of(each, options.redact)
        for each in snapshots
        if _is_selected(each, selected, options)
    ]
    return not_seen(coverage, now)


def _by_user(keys: Iterable[AccessKey]) -> dict[str, list[AccessKey]]:
    by_user: dict[str, list[AccessKey]] = {}
    for key in keys:
        by_user.setdefault(key.user, []).append(key)
    return by_user


def _uses(key: AccessKey | None, known: KeyMemory | None) -> Sequence[SeenUse]:
    """Return where a key was seen used: at least its last use."""
    if known is not None and known.uses:
        return known.uses
    use = key.last_use if key else None
    return [SeenUse(use.service, use.region, use.at, use.at)] if isinstance(use, LastUse) else []


def _facts(
    settings: Settings,
    snapshot: AccountSnapshot,
    memory: AccountMemory,
    row: KeyRow,
    key: AccessKey | None,
) -> Iterator[tuple[str, str]]:
    redact, unknown = settings.options.redact, "unknown"
    yield "Account", f"{row.account} ({row.account_id})"
    yield "User", row.user
    user = next((each for each in snapshot.users if key and each.name == key.user), None)
    if user is not None and key is not None:
        yield from _user_facts(user, key, redact)
    tags = zip(settings.options.tags, row.tags, strict=True) if key else ()
    for tag, value in tags:
        yield f"Tag {tag}", value or "none"
    yield "Status", row.status
    yield "Created", f"{_minute(row.created)}; {row.age.days} days old" if row.age else unknown
    use = row.last_use
    if isinstance(use, NoUse):
        yield "Last used", use.value
    else:
        yield "Last used", _minute(use.at)
        yield "Service", use.service or unknown
        yield "Region", use.region or unknown
    yield "Idle", f"{row.idle.days} days" if row.idle is not None else unknown
    yield "Confirmed by AWS", _minute(row.as_of)
    known = memory.keys.get(key.id) if key else None
    if known is not None and known.watched_since is not None:
        yield "Watched since", _minute(known.watched_since)
    if known is not None and known.inactive_since is not None:
        yield "First seen inactive", _minute(known.inactive_since)
    if row.exempt_until is not None:
        yield "Exempt until", _minute(row.exempt_until)
    if not snapshot.up:
        yield "Account state", "the latest refresh failed: these facts may be old"


def _user_facts(
    user: User, key: AccessKey, redact: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    yield "Path", redact(user.path)
    description = description_of(user, key)
    if description:
        yield "Description", redact(description)


def _text(event: Event, redact: Callable[[str], str]) -> str:
    shown = {"service": redact(event.service), "region": redact(event.region)}
    more = details(event, {**shown, "credential": event.credential})
    text = str(event.kind).replace("_", " ")
    return f"{text}: {more}" if more else text


def _minute(at: datetime | None) -> str:
    return "unknown" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
