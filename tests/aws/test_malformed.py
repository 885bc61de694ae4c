"""A malformed entry costs one key or user its freshness, and nothing else."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from exporter.aws.api import MAX_ATTEMPTS
from exporter.model import UNKNOWN, AccountSnapshot, Reason, ReportMode, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.responses import response
from tests.builders import (
    NOON,
    PROD,
    ROLE,
    FakeClock,
    MonitoredAccount,
    a_role_account,
    add_key,
    an_account,
    before_answer,
    last_use_of,
    last_uses_of,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.wire import element, to_marker

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


@pytest.fixture
def watched(aws: FakeAws, clock: FakeClock, monitor: Monitor) -> Watched:
    return Watched(aws, clock, monitor)


def with_bob(prod: fake_aws.Account, alice: str) -> str:
    """A page of ListUsers with a broken entry for alice, and the true one for bob."""
    bob = prod.users["bob"]
    fields = {**USER, "UserName": "bob", "UserId": bob.id, "Arn": bob.arn}
    users = f"<member>{alice}</member>" + f"<member>{elements(fields)}</member>"
    return response("ListUsers", f"<Users>{users}</Users><IsTruncated>false</IsTruncated>")


USERS = [text for member in USER for text in variants(USER, member)] + [
    elements({**USER, "CreateDate": text}) for text in BAD_TIMES if not text.startswith("2099")
]
USERS += [elements({**USER, "Arn": arn}) for arn in ("x", "arn:aws:iam", "arn:aws:iam::1:user/a")]


@pytest.mark.parametrize("user", USERS)
def test_a_user(aws: FakeAws, prod: fake_aws.Account, watched: Watched, user: str) -> None:
    """A malformed user is kept as it was, and its keys and all others are refreshed."""
    aws.fault(Fault(operation="ListUsers", body=with_bob(prod, user)))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
    assert watched.account.last_uses == last_uses_of(prod)
    assert watched.errors == {("ListUsers", "Malformed"): 1}


@pytest.mark.parametrize("text", BAD_TIMES)
def test_a_last_use_of_a_password(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, text: str
) -> None:
    """A malformed last use of a password costs just that, from the first refresh on."""
    key = add_key(prod, "alice")
    add_key(prod, "bob")
    user = elements({**USER, "PasswordLastUsed": text})
    aws.fault(Fault(operation="ListUsers", body=with_bob(prod, user)))
    account = monitor(report_mode=ReportMode.OFF)
    snapshot = account.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert account.last_uses[key.id] == last_use_of(key)
    assert [user.password_last_used for user in snapshot.users] == [None, None]


KEYS = [text for member in KEY for text in variants(KEY, member)] + [
    elements({**KEY, "CreateDate": text}) for text in BAD_TIMES if not text.startswith("2099")
]
KEYS += [
    elements({**KEY, "Status": "active"}),
    elements({**KEY, "AccessKeyId": "short"}),
    elements({**KEY, "AccessKeyId": "AKIA!" * 5}),
    elements({**KEY, "UserName": "bob"}),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key(aws: FakeAws, prod: fake_aws.Account, watched: Watched, key: str) -> None:
    """A malformed key is kept as it was, its last use and all others are refreshed."""
    body = response(
        "ListAccessKeys",
        f"<AccessKeyMetadata><member>{key}</member></AccessKeyMetadata>"
        "<IsTruncated>false</IsTruncated>",
    )
    body = body.replace(PLACEHOLDER, watched.alice.id)
    aws.fault(Fault(operation="ListAccessKeys", user="alice", body=body))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
    assert watched.account.last_uses == last_uses_of(prod)
    assert watched.errors == {("ListAccessKeys", "Malformed"): 1}


LAST_USES = [text for member in LAST_USE for text in variants(LAST_USE, member)]
LAST_USES += [elements({**LAST_USE, "LastUsedDate": text}) for text in BAD_TIMES]
LAST_USES += [""]


@pytest.mark.parametrize("use", LAST_USES)
def test_a_last_use(aws: FakeAws, watched: Watched, use: str) -> None:
    """A malformed last use leaves the one before, and is not never; all others are refreshed."""
    body = response("GetAccessKeyLastUsed", f"<AccessKeyLastUsed>{use}</AccessKeyLastUsed>")
    aws.fault(Fault(operation="GetAccessKeyLastUsed", key=watched.alice.id, body=body))
    before = watched.account.last_uses[watched.alice.id]
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
    assert watched.account.last_uses == {
        watched.alice.id: before,
        watched.bob.id: last_use_of(watched.bob),
    }
    assert watched.errors == {("GetAccessKeyLastUsed", "Malformed"): 1}


@pytest.mark.parametrize("use", LAST_USES)
def test_a_first_last_use(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, use: str) -> None:
    """A key whose last use was malformed from the start has an unknown one."""
    key = add_key(prod)
    body = response("GetAccessKeyLastUsed", f"<AccessKeyLastUsed>{use}</AccessKeyLastUsed>")
    aws.fault(Fault(operation="GetAccessKeyLastUsed", body=body))
    account = monitor(report_mode=ReportMode.OFF)

    assert account.refresh().failure is Reason.MALFORMED
    assert account.last_uses == {key.id: UNKNOWN}


SESSION = {
    "AccessKeyId": "ASIAEXAMPLEEXAMPLE12",
    "SecretAccessKey": "secret",
    "SessionToken": "token",
    "Expiration": "2026-11-23T13:00:00Z",
}
SESSIONS = [text for member in SESSION for text in variants(SESSION, member)]
SESSIONS += [elements({**SESSION, "Expiration": text}) for text in ("yesterday", "10000-01-01")]
SESSIONS += [elements({**SESSION, "SessionToken": text}) for text in ("a\nb", "a b", "ä")]


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, session: str
) -> None:
    """A session with something missing is malformed; the facts and the account's id are kept."""
    prod.role(ROLE)
    watched = Watched(aws, clock, monitor, account=a_role_account())
    body = response("AssumeRole", f"<Credentials>{session}</Credentials>")
    aws.fault(Fault(operation="AssumeRole", body=body))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert watched.lost_nothing()
    assert watched.errors == {("AssumeRole", "Malformed"): MAX_ATTEMPTS}


@pytest.mark.parametrize(
    "identity",
    [
        "",
        element("Account", PROD),
        element("Arn", f"arn:aws:iam::{PROD}:user/x"),
        element("Account", PROD) + element("Arn", "x"),
        element("Account", PROD) + element("Arn", "arn:aws:iam::222222222222:user/x"),
        element("Account", PROD) + element("Arn", f"arn:moon:iam::{PROD}:user/x"),
        element("Account", "x") + element("Arn", "arn:aws:iam::x:user/x"),
        "<Account/><Arn/>",
    ],
)
@pytest.mark.parametrize("id_", ["", PROD])
def test_an_identity(aws: FakeAws, monitor: Monitor, identity: str, id_: str) -> None:
    """An identity without a valid account and ARN is malformed."""
    aws.fault(Fault(operation="GetCallerIdentity", body=response("GetCallerIdentity", identity)))
    snapshot = monitor(an_account(id_)).refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert snapshot.account.id == id_


@pytest.mark.parametrize(
    "summary",
    [
        "",
        "<entry/>",
        "<entry><key>AccountAccessKeysPresent</key></entry>",
        "<entry><key>AccountAccessKeysPresent</key><value/></entry>",
        "<entry><key>AccountAccessKeysPresent</key><value>one</value></entry>",
        "<entry><key>AccountAccessKeysPresent</key><value>-1</value></entry>",
        f"<entry><key>AccountAccessKeysPresent</key><value>{'9' * 5000}</value></entry>",
        "<entry><key>Users</key><value>7</value></entry>",
        "<odd><a/></odd>",
        "text",
    ],
)
def test_an_account_summary(aws: FakeAws, watched: Watched, summary: str) -> None:
    """A malformed summary leaves what is known of root, and is no failure."""
    body = response("GetAccountSummary", f"<SummaryMap>{summary}</SummaryMap>")
    aws.fault(Fault(operation="GetAccountSummary", body=body))
    snapshot = watched.refresh()

    assert snapshot.up
    assert snapshot.root == watched.before.root
    assert watched.errors["GetAccountSummary", "Malformed"] >= 1


@pytest.mark.parametrize(
    "tag",
    [
        "<Key>team</Key>",
        "<Value>red</Value>",
        "<Key/><Value>red</Value>",
        "<Key>team</Key><Value>a</Value><Value>b</Value>",
        "",
    ],
)
@pytest.mark.parametrize("source", [TagSource.BULK, TagSource.PER_USER])
def test_a_tag(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, tag: str, source: Any
) -> None:
    """A malformed tag leaves its user's tags as they were; all else is refreshed."""
    watched = Watched(aws, clock, monitor, tag_source=source)
    prod.users["bob"].tags = {"team": "blue"}
    tags = f"<Tags><member>{tag}</member></Tags>"
    details = f"<member>{elements(USER)}{tags}</member>"
    bob = {**USER, "UserName": "bob", "Arn": prod.users["bob"].arn}
    blue = "<Tags><member><Key>team</Key><Value>blue</Value></member></Tags>"
    details += f"<member>{elements(bob)}{blue}</member>"
    one, all_ = "ListUserTags", "GetAccountAuthorizationDetails"
    aws.fault(Fault(operation=one, user="alice", body=response(one, tags)))
    aws.fault(
        Fault(operation=all_, body=response(all_, f"<UserDetailList>{details}</UserDetailList>"))
    )
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert [dict(user.tags) for user in snapshot.users] == [{"team": "red"}, {"team": "blue"}]
    assert watched.account.last_uses == last_uses_of(prod)
    assert sum(watched.errors.values()) == 1


def test_a_user_twice(aws: FakeAws, prod: fake_aws.Account, watched: Watched) -> None:
    """A user who is returned twice is one user."""
    body = with_bob(prod, elements({**USER, "UserName": "bob", "Arn": prod.users["bob"].arn}))
    aws.fault(Fault(operation="ListUsers", body=body))

    assert [user.name for user in watched.refresh().users] == ["bob"]


def test_a_key_at_two_users(aws: FakeAws, watched: Watched) -> None:
    """A key that is returned for two users stays with the one who had it."""
    key = elements({**KEY, "AccessKeyId": watched.alice.id})
    body = response(
        "ListAccessKeys",
        f"<AccessKeyMetadata><member>{key}</member></AccessKeyMetadata>"
        "<IsTruncated>false</IsTruncated>",
    )
    aws.fault(Fault(operation="ListAccessKeys", user="bob", body=body))
    snapshot = watched.refresh()

    assert snapshot.failure is Reason.MALFORMED
    assert sorted((key.user, key.id) for key in snapshot.keys) == [("alice", watched.alice.id)]


def test_a_user_renamed_between_pages(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """The keys of a user who appears under two names appear once, under the later one."""
    watched = Watched(aws, clock, monitor)
    aws.max_page = 1

    def rename() -> None:
        prod.rename(prod.users["alice"], "zoe")

    with before_answer(aws, "ListUsers", rename, Marker=to_marker("alice", "ListUsers//")):
        watched.refresh()

    keys = watched.account.latest.keys
    assert sorted((key.user, key.id) for key in keys) == sorted(
        [("zoe", watched.alice.id), ("bob", watched.bob.id)]
    )


def test_a_use_during_a_long_refresh(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """A key that is used while a refresh lasts, for longer than clocks may differ, is not wrong."""
    key = add_key(prod)
    account = monitor(report_mode=ReportMode.OFF)

    def use() -> None:
        clock.advance(minutes=20)
        key.use(at=clock.now())

    with before_answer(aws, "GetAccessKeyLastUsed", use):
        account.refresh()

    assert account.latest.up
    assert account.last_uses == {key.id: last_use_of(key)}


@pytest.mark.parametrize(("minutes", "up"), [(4, True), (6, False)])
def test_a_last_use_in_the_future(
    prod: fake_aws.Account, monitor: Monitor, minutes: int, up: bool
) -> None:
    """A last use may be a few minutes ahead of our clock, and no more."""
    add_key(prod, used=NOON + timedelta(minutes=minutes))

    assert monitor(report_mode=ReportMode.OFF).refresh().up is up
