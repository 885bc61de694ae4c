"""Malformed values for every member of a response, and an account to try them on."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from exporter.model import AccountSnapshot, ReportMode
from tests.aws import Monitor
from tests.builders import PROD, FakeClock, MonitoredAccount, add_key, an_account, some_sessions
from tests.fake_aws import FakeAws
from tests.fake_aws.wire import element

BAD_TIMES = [
    "",
    "yesterday",
    "Monday",
    "10:00",
    "1732000000",
    "12",
    "9999-12-31T23:59:59Z",
    "10000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:00",
    "9999-12-31T23:59:59-23:00",
    "2026-13-45T00:00:00Z",
    "2026-11-23T12:00:00+99:99",
    "2099-01-01T00:00:00Z",
    "\uff12026-01-01T00:00:00Z",  # a full-width digit
]

USER = {
    "Path": "/",
    "UserName": "alice",
    "UserId": "AIDAALICE",
    "Arn": f"arn:aws:iam::{PROD}:user/alice",
    "CreateDate": "2026-01-01T00:00:00Z",
}

PLACEHOLDER = "AKIAPLACEHOLDER12345"
"""Stands for the id of alice's key."""

KEY = {"AccessKeyId": PLACEHOLDER, "Status": "Active", "CreateDate": "2026-01-01T00:00:00Z"}

LAST_USE = {
    "LastUsedDate": "2026-11-01T00:00:00Z",
    "ServiceName": "s3",
    "Region": "eu-west-1",
}


def elements(fields: dict[str, str]) -> str:
    return "".join(element(name, text) for name, text in fields.items())


def variants(fields: dict[str, str], member: str) -> Iterator[str]:
    """*fields* without *member*, with it empty, twice, and with elements in place of its text."""
    others = {name: text for name, text in fields.items() if name != member}
    yield elements(others)
    yield elements(others) + f"<{member}/>"
    yield elements(fields) + element(member, "other")
    yield elements(others) + f"<{member}><member>x</member></{member}>"


class Watched:
    """An account with two users and a key each, refreshed once, and the errors that are counted."""

    def __init__(self, aws: FakeAws, clock: FakeClock, monitor: Monitor, **options: Any) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()
        self._clock = clock
        prod = aws.account(PROD)
        self.alice, self.bob = add_key(prod, "alice"), add_key(prod, "bob")
        for user in prod.users.values():
            user.tags = {"team": "red"}
        sessions = some_sessions(
            aws.url,
            clock,
            observe=lambda operation, _, code: self.count(operation, code),
            count_error=self.count,
        )
        options = {"report_mode": ReportMode.OFF, **options}
        self.account: MonitoredAccount = monitor(
            options.pop("account", an_account("", "mine")), sessions=sessions, **options
        )
        self.before = self.account.refresh()
        assert self.before.up

    def count(self, operation: str, code: str) -> None:
        if code:
            self.errors[operation, code] += 1

    def refresh(self) -> AccountSnapshot:
        """Refresh once more, after all keys were used."""
        self._clock.advance(hours=5)
        for key in (self.alice, self.bob):
            key.use("ec2", "us-east-1", at=self._clock.now())
        return self.account.refresh()

    def lost_nothing(self) -> bool:
        """Whether every user and key is known, with a last use, and the account as itself."""
        snapshot = self.account.latest
        names = [user.name for user in snapshot.users]
        keys = {key.id for key in snapshot.keys}
        return (
            names == ["alice", "bob"]
            and keys == {self.alice.id, self.bob.id}
            and snapshot.unknown == 0
            and snapshot.account.id == PROD
            and snapshot.users[0].path == "/"
        )
