"""Snapshots and how they are exposed: for the tests of metrics, and for their golden files."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from exporter.metrics import Exposition, Format, MetricsStore, RenderOptions, SelfMetrics
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    KeyMemory,
    ReadError,
    Reason,
    ReportState,
    Root,
)
from tests.facts import NOON, a_key, a_snapshot, a_use, an_account, days_ago

PROD = an_account("111111111111", "prod")
TEST = an_account("222222222222", "test", source="organization")

KEYS = (
    a_key("AKIAUSEDUSEDUSEDUSED", last_use=a_use(2)),
    a_key("AKIANEVERNEVERNEVER1", last_use=NEVER, created=days_ago(40)),
    a_key("AKIAUNKNOWNUNKNOWN12", user="bob", last_use=UNKNOWN, as_of=None),
    a_key("AKIAINACTIVEINACTIV1", user="carol+=,.@-_", status="Inactive", final=True),
)
COMPLETE = a_snapshot(
    *KEYS,
    account=PROD,
    root=Root(NOON, 1, days_ago(30), None),
    report=ReportState(days_ago(0.1), usable=True),
)
DENIED = ReadError(Reason.ACCESS_DENIED, "ListUsers: AccessDenied: no")


def an_event(
    kind: EventKind, key: str = KEYS[0].id, user: str = KEYS[0].user, **fields: Any
) -> Event:
    """An event about a key of alice, an hour ago and noticed half an hour later."""
    defaults = {"at": hours_ago(1), "noticed_at": hours_ago(0.5), "occurrence": "1"}
    return Event(kind=kind, access_key_id=key, user=user, **{**defaults, **fields})


def hours_ago(hours: float) -> datetime:
    return days_ago(hours / 24)


MEMORY = AccountMemory(
    keys={
        key.id: KeyMemory(
            key=key,
            user_id="",
            status_as_of=NOON,
            inactive_since=None if key.active else days_ago(20),
        )
        for key in KEYS
    },
    events=(
        an_event(EventKind.CREATED, KEYS[1].id),
        an_event(EventKind.AWAKENED, seconds=90 * 86400.0, service="s3", region="eu-west-1"),
        an_event(EventKind.NEW_SERVICE, service="s3", region="eu-west-1"),
        an_event(EventKind.NEW_REGION, service="s3", region="eu-west-1"),
        an_event(EventKind.FIRST_USED, "AKIADELETEDDELETED12", "dave", seconds=86400.0),
        an_event(EventKind.ROOT_USED, "", "", credential="password"),
    ),
)
"""What is remembered of the account that `COMPLETE` is about."""

SCENES: dict[str, tuple[AccountSnapshot, ...]] = {
    "before": (AccountSnapshot(PROD), AccountSnapshot(TEST)),
    "after": (COMPLETE, a_snapshot(account=TEST)),
    "failed": (replace(COMPLETE.failed(DENIED), seconds=0.5), a_snapshot(account=TEST)),
    "deleted": (replace(COMPLETE, keys=KEYS[1:]), a_snapshot(account=TEST)),
}
"""Before the first refresh, after it, after a failed one, and after a key was deleted."""

MEMORIES = {PROD: MEMORY}
"""What is remembered of the accounts of all scenes but the first."""


class FakeClock:
    """A clock that starts at NOON and moves only when it is advanced."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def advance(self, **by: float) -> None:
        """Advance both times by a timedelta with the arguments *by*."""
        self._seconds += timedelta(**by).total_seconds()


def a_store(
    *snapshots: AccountSnapshot,
    options: RenderOptions | None = None,
    memory: AccountMemory | None = None,
) -> MetricsStore:
    """Create a store in which *snapshots* are published, each with the same *memory*."""
    store = MetricsStore(options or RenderOptions())
    for snapshot in snapshots:
        store.publish(snapshot.account, snapshot, memory or AccountMemory())
    return store


def a_scene(name: str) -> MetricsStore:
    """Create a store in which the snapshots of a scene are published."""
    store = MetricsStore(RenderOptions())
    for snapshot in SCENES[name]:
        memories = MEMORIES if snapshot.finished_at else {}
        store.publish(snapshot.account, snapshot, memories.get(snapshot.account, AccountMemory()))
    return store


def render(
    store: MetricsStore, format_: Format = Format.TEXT, names: frozenset[str] = frozenset()
) -> str:
    """Render *store* as of NOON, with self metrics that are always the same."""
    self_metrics = SelfMetrics(version="1.2.3", operations=("ListUsers",), process=False)
    self_metrics.configured(accounts=2, interval=900)
    self_metrics.observe("ListUsers", 0.2, "")
    exposition = Exposition(store, self_metrics, FakeClock())
    return exposition.render(format_, names=names).decode()
