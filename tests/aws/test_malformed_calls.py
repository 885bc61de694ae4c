"""A malformed session, identity, summary or tag costs as little as possible."""

from typing import Any

import pytest

from exporter.aws.api import MAX_ATTEMPTS
from exporter.model import Reason, TagSource
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.malformed import USER, Watched, elements, variants
from tests.aws.responses import response
from tests.builders import (
    PROD,
    ROLE,
    FakeClock,
    a_role_account,
    an_account,
    last_uses_of,
)
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.wire import element

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
