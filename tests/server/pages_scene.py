"""What pages show in tests: accounts in every state, with values that try to break out."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from exporter.cli.pages import Content, Settings
from exporter.cli.pages.unseen import Unseen
from exporter.cli.redaction import redactor
from exporter.cli.report import show_options
from exporter.config import Config, parse, summarize
from exporter.key_ids import KeyIdFormatter
from exporter.model import (
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    KeyMemory,
    LastUse,
    ReadError,
    Reason,
    SeenUse,
)
from tests.builders import NOON, FakeClock, a_key, a_snapshot, a_user, an_account, days_ago
from tests.report_scene import SCENE, key_id

HOSTILE: Final = "555555555555"
MARKUP: Final = "<script>alert(1)</script>\"'&amp;"
RIGHT_TO_LEFT: Final = "evil\u202egnp.exe\u2066\x07\x1b[31m"
LONG: Final = "very-long-name-" * 20
NAMED: Final = f"bot-{key_id(1)}"
"""A user who has a key id in the name."""

CONFIGURATION: Final = """
collection: {user_tags: bulk}
labels: {access_key_id: FORMAT, hash_secret: SECRET, user_tags: [team, owner]}
accounts:
  - {account_id: "111111111111", name: prod, role_arn: "arn:aws:iam::111111111111:role/reader",
     external_id: external-secret}
exemptions: {entries: [{access_key_id: AKIA0000000000000001, until: 2027-01-31}]}
"""

Read = tuple[AccountSnapshot, AccountMemory]


def hostile() -> Read:
    """An account whose values try to break out of the page."""
    names = (MARKUP, RIGHT_TO_LEFT, LONG, NAMED, "'; rm -rf /", "--help")
    keys = tuple(
        a_key(
            key_id(50 + number),
            name,
            created=days_ago(500),
            last_use=LastUse(days_ago(200), MARKUP, RIGHT_TO_LEFT)
            if number
            else LastUse(days_ago(300), "s3", "eu-west-1"),
        )
        for number, name in enumerate(names)
    )
    tags = (("owner", RIGHT_TO_LEFT), ("team", MARKUP))
    snapshot = a_snapshot(
        *keys,
        account=an_account(HOSTILE, f"{MARKUP} {RIGHT_TO_LEFT}"),
        users=tuple(a_user(name, tags=tags) for name in names),
        read_at=NOON - timedelta(hours=3),
    )
    key = keys[0]
    uses = (
        SeenUse("s3", "eu-west-1", days_ago(400), days_ago(300)),
        SeenUse(MARKUP, RIGHT_TO_LEFT, days_ago(420), days_ago(410)),
    )
    event = Event(
        kind=EventKind.NEW_SERVICE,
        at=NOON - timedelta(hours=2),
        noticed_at=NOON,
        user=key.user,
        access_key_id=key.id,
        service=MARKUP,
        region=RIGHT_TO_LEFT,
    )
    memory = AccountMemory(
        keys={
            key.id: KeyMemory(
                key=key, user_id="", status_as_of=NOON, watched_since=days_ago(420), uses=uses
            )
        },
        events=(event,),
    )
    error = ReadError(
        Reason.NETWORK, f"{MARKUP} {RIGHT_TO_LEFT} https://joe:hunter2@proxy {key_id(1)} {LONG}"
    )
    return snapshot.failed(error), memory


def new() -> Read:
    """An account that has not been refreshed yet."""
    return AccountSnapshot(an_account("444444444444", "new")), AccountMemory()


ACCOUNTS: Final = (*SCENE, hostile(), new())


def config_of(key_ids: str = "full") -> Config:
    text = CONFIGURATION.replace("FORMAT", key_ids)
    secret = "0123456789abcdef0123456789abcdef" if key_ids == "hashed" else "null"
    return parse(text.replace("SECRET", secret), "test")


def a_content(
    accounts: Sequence[Read] = ACCOUNTS,
    *,
    config: Config | None = None,
    events: Callable[[str, str], Sequence[Event]] = lambda account_id, key: (),
    unseen: Unseen = Unseen(),  # noqa: B008 (immutable)
) -> Content:
    """What pages show of these *accounts*. The second one is being refreshed."""
    config = config or config_of()
    labels = config.labels
    key_ids = KeyIdFormatter(labels.access_key_id, labels.hash_secret or "")
    redact = redactor(key_ids, config.secrets())
    memories = {snapshot.account.label: memory for snapshot, memory in accounts}
    seconds = [None if number == 1 else 600.0 + number for number in range(len(accounts))]
    settings = Settings(
        config,
        show_options(config, key_ids, redact),
        lambda: summarize(config, "config.yaml"),
        events,
    )
    return Content(
        lambda: settings,
        snapshots=lambda: [
            (snapshot, left) for (snapshot, _), left in zip(accounts, seconds, strict=True)
        ],
        memory=lambda snapshot: memories[snapshot.account.label],
        clock=FakeClock(),
        unseen=lambda: unseen,
    )
