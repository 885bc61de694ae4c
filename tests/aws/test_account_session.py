"""Each account is entered with the right credentials, and only if they belong to it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.aws import Operation
from exporter.aws.api import MAX_ATTEMPTS, Aborted
from exporter.aws.base_credentials import REBUILD_AFTER
from exporter.model import Partition, Reason, ReportMode, RoleArn, RoleSession
from tests import fake_aws
from tests.aws import Monitor
from tests.builders import (
    MONITORING,
    NOON,
    PROD,
    ROLE,
    TEST,
    FakeClock,
    MonitoredAccount,
    a_role_account,
    add_key,
    an_account,
    an_api,
    before_answer,
    environment,
    last_use_of,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault


@pytest.fixture(autouse=True)
def _from_monitoring(aws: FakeAws) -> Iterator[None]:
    """All accounts are entered with the credentials of MONITORING."""
    with environment(aws.environment(MONITORING)):
        yield


def test_an_assumed_role(prod: fake_aws.Account, monitor: Monitor) -> None:
    """An account is read with the credentials of its role."""
    prod.role(ROLE)
    key = add_key(prod)
    account = monitor(a_role_account())
    account.refresh()

    assert account.last_uses == {key.id: last_use_of(key)}


def test_external_id(prod: fake_aws.Account, monitor: Monitor) -> None:
    """The external id is sent when the role is assumed."""
    prod.role(ROLE, external_id="secret")

    assert monitor(a_role_account(external_id="secret")).refresh().up


@pytest.mark.parametrize("external_id", [None, "wrong"])
def test_a_role_that_cannot_be_assumed(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor, external_id: str | None
) -> None:
    """A role that cannot be assumed has its own reason, and no other credentials are tried."""
    prod.role(ROLE, external_id="secret")
    snapshot = monitor(a_role_account(external_id=external_id)).refresh()

    assert (snapshot.up, snapshot.failure) == (False, Reason.ASSUME_ROLE)
    assert set(aws.calls_by_operation) == {"GetCallerIdentity", "AssumeRole"}


def test_a_role_is_assumed_once(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """A role is assumed once for many refreshes."""
    prod.role(ROLE)
    account = monitor(a_role_account())
    account.refresh()
    account.refresh()

    assert aws.count("AssumeRole") == aws.count("GetCallerIdentity", PROD) == 1


def test_a_revoked_session(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """After a session was revoked the call is repeated with a new one: nothing fails."""
    prod.role(ROLE)
    add_key(prod)
    account = monitor(a_role_account())
    account.refresh()
    aws.revoke(PROD)
    account.refresh()

    assert account.latest.up
    assert account.calls["ListUsers"] == 2
    assert aws.errors == {(PROD, "ListUsers", "ExpiredToken"): 1}


def test_a_session_is_renewed_before_it_expires(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock
) -> None:
    """A session is renewed before it expires, also during a refresh."""
    prod.role(ROLE)
    api = an_api(some_sessions(aws.url, clock), a_role_account(), clock, deadline=1e6)
    for _ in range(5):
        api.call(Operation.LIST_USERS)
        clock.advance(seconds=RoleSession().seconds / 2)

    assert aws.errors == {}
    assert aws.count("AssumeRole") == 3


def test_a_session_that_cannot_be_renewed(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """When signing in fails during a refresh, IAM is not called again, and the data is kept."""
    prod.role(ROLE)
    key = add_key(prod)
    account = monitor(a_role_account(), report_mode=ReportMode.OFF)
    account.refresh()

    def expire() -> None:
        prod.remove_role(ROLE)
        clock.advance(seconds=RoleSession().seconds - 1)

    with before_answer(aws, "ListUsers", expire):
        account.refresh()

    assert account.latest.failure is Reason.ASSUME_ROLE
    assert account.calls == {"ListUsers": 1}
    assert account.last_uses == {key.id: last_use_of(key)}


def test_a_call_with_a_session_that_cannot_be_renewed(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock
) -> None:
    """A call for which signing in fails raises the reason, and does not reach IAM."""
    prod.role(ROLE)
    api = an_api(some_sessions(aws.url, clock), a_role_account(), clock, deadline=1e6)
    api.call(Operation.LIST_USERS)
    prod.remove_role(ROLE)
    clock.advance(seconds=RoleSession().seconds)

    with pytest.raises(Aborted) as raised:
        api.call(Operation.LIST_USERS)

    assert raised.value.error.reason is Reason.ASSUME_ROLE
    assert aws.count("ListUsers") == 1


def test_credentials_of_another_account(aws: FakeAws, monitor: Monitor) -> None:
    """Credentials of another account than the configured one are not used."""
    aws.account(MONITORING).add_user("intruder").add_key()
    snapshot = monitor(an_account(PROD)).refresh()

    assert (snapshot.failure, snapshot.users) == (Reason.WRONG_ACCOUNT, ())
    assert set(aws.calls_by_operation) == {"GetCallerIdentity"}


def test_an_account_identified_by_its_credentials(monitor: Monitor) -> None:
    """An account without an id gets the id that its credentials belong to."""
    snapshot = monitor(an_account("")).refresh()

    assert snapshot.account.id == MONITORING


@pytest.mark.parametrize("configured", ["", f"{9:012}"])
def test_the_partition_is_that_of_the_credentials(
    aws: FakeAws, monitor: Monitor, configured: str
) -> None:
    """An account that is read without a role is in the partition of its credentials."""
    aws.account(f"{9:012}", "aws-cn")
    with environment(aws.environment(f"{9:012}")):
        snapshot = monitor(an_account(configured)).refresh()

    assert snapshot.account.id == f"{9:012}"
    assert snapshot.account.partition == "aws-cn"


def test_one_account_under_two_names(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """An account is not read under a second name; the ID of the second is not configured."""
    prod.role(ROLE)
    first = a_role_account(name="one")
    second = replace(first, id="", name="two")
    sessions = some_sessions(aws.url, clock)

    assert monitor(first, sessions=sessions).refresh().up
    assert monitor(second, sessions=sessions).refresh().failure is Reason.WRONG_ACCOUNT


def test_no_credentials(monitor: Monitor) -> None:
    """Without credentials the account is down for that reason."""
    with environment({"AWS_EC2_METADATA_DISABLED": "true"}):
        snapshot = monitor().refresh()

    assert snapshot.failure is Reason.CREDENTIALS


def test_a_removed_role_keeps_the_snapshot(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor
) -> None:
    """When a role can no longer be assumed, everything that was known is kept."""
    prod.role(ROLE)
    key = add_key(prod)
    account = monitor(a_role_account())
    before = account.refresh()
    prod.remove_role(ROLE)
    account.reconfigure(sessions=some_sessions(aws.url, clock))
    clock.advance(minutes=15)
    after = account.refresh()

    assert (after.users, after.keys, after.read_at) == (before.users, before.keys, NOON)
    assert account.last_uses == {key.id: last_use_of(key)}
    assert not after.up


@pytest.mark.parametrize(("code", "attempts"), [("AccessDenied", 1), ("Throttling", MAX_ATTEMPTS)])
def test_assuming_a_role_is_retried_where_that_can_help(
    aws: FakeAws, monitor: Monitor, code: str, attempts: int
) -> None:
    """Assuming a role is retried only after a temporary failure."""
    aws.fault(Fault(operation="AssumeRole", code=code))
    monitor(a_role_account()).refresh()

    assert aws.count("AssumeRole") == attempts


def write_credentials(file: Path, access_key_id: str, secret: str) -> None:
    file.write_text(
        f"[default]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret}\n"
    )


def test_credentials_renewed_in_their_file(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, tmp_path: Path
) -> None:
    """Credentials that AWS rejects are resolved again, without a restart."""
    file = tmp_path / "credentials"
    write_credentials(file, "AKIAREVOKEDREVOKED12", "old")
    with environment({"AWS_SHARED_CREDENTIALS_FILE": str(file)}):
        account = monitor(an_account("", "mine"))
        rejected = account.refresh()
        write_credentials(file, *aws.credentials(PROD))
        clock.advance(seconds=REBUILD_AFTER)
        account.refresh()
        renewed = account.refresh()

    assert (rejected.failure, renewed.failure) == (Reason.CREDENTIALS, None)


def test_two_entries_for_one_account(aws: FakeAws, clock: FakeClock, monitor: Monitor) -> None:
    """Of two entries that turn out to be one account the first is read, the second is down."""
    sessions = some_sessions(aws.url, clock)
    first = monitor(an_account("", "mine"), sessions=sessions).refresh()
    second = monitor(an_account(MONITORING, "again"), sessions=sessions).refresh()

    assert (first.failure, second.failure) == (None, Reason.WRONG_ACCOUNT)


# -- how roles are assumed -----------------------------------------------------------------------


def sent(aws: FakeAws) -> list[dict[str, object]]:
    """Collect the parameters of the calls to AssumeRole from now on."""
    calls: list[dict[str, object]] = []

    def note(operation: str, _: str, parameters: Mapping[str, object]) -> None:
        if operation == "AssumeRole":
            calls.append(dict(parameters))

    aws.on_call(note)
    return calls


def test_what_a_session_says(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """The session's name, tags, source identity and duration are sent with AssumeRole."""
    prod.role(ROLE, max_seconds=7200)
    calls = sent(aws)
    session = RoleSession(
        name="audit", tags=(("team", "security"),), source_identity="exporter", seconds=7200
    )

    assert monitor(a_role_account(role_session=session)).refresh().up

    [call] = calls
    assert call["RoleSessionName"] == "audit"
    assert call["DurationSeconds"] == "7200"
    assert call["SourceIdentity"] == "exporter"
    assert call["Tags.member.1.Key"] == "team"
    assert call["Tags.member.1.Value"] == "security"


def test_a_chain_of_roles(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """Roles are assumed one after the other; the external id is for the last one only."""
    aws.account(MONITORING).role("hub", trusts={MONITORING})
    prod.role(ROLE, external_id="secret", trusts={MONITORING})
    calls = sent(aws)
    hub = RoleArn(Partition.AWS, MONITORING, "hub")
    session = RoleSession(external_id="secret", via=(hub,))

    assert monitor(a_role_account(role_session=session)).refresh().up

    assert [call["RoleArn"] for call in calls] == [str(hub), str(a_role_account().role_arn)]
    assert ["ExternalId" in call for call in calls] == [False, True]


def test_a_chain_that_breaks(aws: FakeAws, prod: fake_aws.Account, monitor: Monitor) -> None:
    """If a role on the way cannot be assumed, nothing else is tried."""
    prod.role(ROLE)
    hub = RoleArn(Partition.AWS, MONITORING, "missing")

    snapshot = monitor(a_role_account(role_session=RoleSession(via=(hub,)))).refresh()

    assert snapshot.failure is Reason.ASSUME_ROLE
    assert "missing" in snapshot.error
    assert aws.count("AssumeRole") == 1


def test_the_own_role_is_not_assumed_again(
    aws: FakeAws, prod: fake_aws.Account, monitor: Monitor
) -> None:
    """Credentials of a session of the role itself are used as they are."""
    caller = aws.session(prod.role(ROLE, path="/team/"))
    variables = {
        "AWS_ACCESS_KEY_ID": caller.key_id,
        "AWS_SECRET_ACCESS_KEY": caller.secret,
        "AWS_SESSION_TOKEN": caller.token or "",
    }

    with environment(aws.environment(PROD) | variables):
        account = monitor(a_role_account(role=f"team/{ROLE}"))
        assert account.refresh().up

    assert aws.count("AssumeRole") == 0


def test_who_has_the_base_credentials_is_asked_once(
    aws: FakeAws, clock: FakeClock, prod: fake_aws.Account
) -> None:
    """Many accounts that begin with the same credentials find out once whose these are."""
    sessions = some_sessions(aws.url, clock)
    prod.role(ROLE)
    aws.account(TEST).role(ROLE)
    for id_ in (PROD, TEST):
        MonitoredAccount(aws, clock, a_role_account(id_), sessions=sessions).refresh()

    assert aws.count("GetCallerIdentity", MONITORING) == 1
