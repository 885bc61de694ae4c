"""The simulated AWS behaves as AWS does, seen through real clients."""

import csv
import io
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any, Self
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import ResponseParserError

from tests.builders import MONITORING, NOON, PROD, TEST, FakeClock
from tests.fake_aws import AccessKey, Account, FakeAws, Fault
from tests.fake_aws.__main__ import main
from tests.fake_aws.fleet import fill
from tests.servers import wait_until

ROOT = Path(__file__).parents[1]
SESSION = boto3.Session(region_name="us-east-1")
# One attempt, and no validation of parameters: that is up to the simulated AWS.
AS_GIVEN = Config(retries={"total_max_attempts": 1}, proxies={}, parameter_validation=False)


@pytest.fixture
def prod(aws: FakeAws) -> Account:
    return aws.account(PROD)


@pytest.fixture
def iam(aws: FakeAws) -> Any:
    return a_client(aws, "iam", PROD)


@pytest.fixture
def sts(aws: FakeAws) -> Any:
    return a_client(aws, "sts", MONITORING)


def a_client(aws: FakeAws, service: str, account_id: str = PROD) -> Any:
    key_id, secret = aws.credentials(account_id)
    return signed_by(aws, service, AccessKeyId=key_id, SecretAccessKey=secret)


def signed_by(aws: FakeAws, service: Any, **credentials: Any) -> Any:
    return SESSION.client(
        service,
        endpoint_url=aws.url,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials.get("SecretAccessKey", "any"),
        aws_session_token=credentials.get("SessionToken"),
        config=AS_GIVEN,
    )


def assume(sts: Any, role: str = "reader", account_id: str = PROD, **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:iam::{account_id}:role/{role}"
    answer = sts.assume_role(RoleArn=arn, RoleSessionName="tests", **more)
    credentials: dict[str, Any] = answer["Credentials"]
    return credentials


def last_use(iam: Any, key: AccessKey) -> dict[str, Any]:
    used: dict[str, Any] = iam.get_access_key_last_used(AccessKeyId=key.id)["AccessKeyLastUsed"]
    return used


def pages_of(iam: Any, operation: str, field: str, **params: Any) -> list[list[str]]:
    """The names on each page of a paginator."""
    name = {"Users": "UserName", "UserDetailList": "UserName", "Tags": "Key"}.get(field)
    pages = iam.get_paginator(operation).paginate(**params)
    return [[item[name or "AccessKeyId"] for item in page[field]] for page in pages]


def report_rows(iam: Any) -> dict[str, dict[str, str]]:
    iam.generate_credential_report()
    text = iam.get_credential_report()["Content"].decode()
    return {row["user"]: row for row in csv.DictReader(io.StringIO(text))}


class Refused:
    """Expects a call to fail with an error code, and keeps the message."""

    def __init__(self, code: str, status: int) -> None:
        self._expected = (code, status)
        self.message = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        assert isinstance(error, ClientError), "the call was not refused"
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        self.message = error.response["Error"]["Message"]
        assert self._expected == (error.response["Error"]["Code"], status)
        return True


class TestLastUse:
    def test_used_key(self, prod: Account, iam: Any) -> None:
        """A used key has a time, a service and a region."""
        key = prod.add_user("alice").add_key()
        key.use("ec2", "eu-central-1", at=NOON)

        assert last_use(iam, key) == {
            "LastUsedDate": NOON,
            "ServiceName": "ec2",
            "Region": "eu-central-1",
        }

    def test_never_used_key(self, prod: Account, iam: Any) -> None:
        """A key that was never used has no time, and N/A as service and region."""
        key = prod.add_user("alice").add_key()

        assert last_use(iam, key) == {"ServiceName": "N/A", "Region": "N/A"}

    def test_names_the_owner(self, prod: Account, iam: Any) -> None:
        """The response contains the owner's name as it was created, whatever its case."""
        key = prod.add_user("Alice").add_key()

        assert iam.get_access_key_last_used(AccessKeyId=key.id)["UserName"] == "Alice"

    @pytest.mark.parametrize("state", ["deleted", "owner deleted", "foreign", "root", "unknown"])
    def test_key_out_of_reach(self, aws: FakeAws, prod: Account, iam: Any, state: str) -> None:
        """For deleted, foreign, root's and unknown keys access is denied, without a colon."""
        owner = (aws.account(TEST) if state == "foreign" else prod).add_user("alice")
        key = prod.add_root_key() if state == "root" else owner.add_key()
        if state == "deleted":
            key.delete()
        if state == "owner deleted":
            owner.delete()
        key_id = "AKIAUNKNOWN234567234" if state == "unknown" else key.id

        with Refused("AccessDenied", 403) as refused:
            iam.get_access_key_last_used(AccessKeyId=key_id)

        assert refused.message == (
            f"User: arn:aws:iam::{PROD}:user/monitoring is not authorized to perform "
            f"iam:GetAccessKeyLastUsed on resource: access key {key_id}"
        )

    def test_signing_is_a_use(self, aws: FakeAws, prod: Account) -> None:
        """Signing a request is a use of the key, with the service and region of the request."""
        key = prod.add_user("alice").add_key()

        signed_by(aws, "sts", AccessKeyId=key.id).get_caller_identity()

        assert key.last_use == (NOON, "sts", "us-east-1")

    def test_signing_within_a_quarter_of_an_hour(
        self, aws: FakeAws, prod: Account, clock: FakeClock
    ) -> None:
        """Of the requests within a quarter of an hour only the first updates the last use."""
        key = prod.add_user("alice").add_key()
        key.use(at=NOON)
        clock.advance(minutes=14)

        signed_by(aws, "sts", AccessKeyId=key.id).get_caller_identity()

        assert key.last_use == (NOON, "s3", "eu-west-1")


class TestUsers:
    def test_listed_user(self, prod: Account, iam: Any) -> None:
        """A listed user has its facts and the password's last use, but no tags."""
        user = prod.add_user("alice", "/ops/", tags={"a": "b"}, password_last_used=NOON)

        assert iam.list_users()["Users"] == [
            {
                "Path": "/ops/",
                "UserName": "alice",
                "UserId": user.id,
                "Arn": f"arn:aws:iam::{PROD}:user/ops/alice",
                "CreateDate": NOON,
                "PasswordLastUsed": NOON,
            }
        ]

    def test_sorted_ignoring_case(self, prod: Account, iam: Any) -> None:
        """Users are sorted by name, ignoring case."""
        for name in ("bob", "Carol", "Alice"):
            prod.add_user(name)

        assert pages_of(iam, "list_users", "Users") == [["Alice", "bob", "Carol"]]

    def test_found_ignoring_case(self, prod: Account, iam: Any) -> None:
        """User names are case-insensitive, and returned as they were created."""
        prod.add_user("Alice").add_key()

        keys = iam.list_access_keys(UserName="aLICE")["AccessKeyMetadata"]

        assert [key["UserName"] for key in keys] == ["Alice"]

    def test_unique_ignoring_case(self, prod: Account) -> None:
        """Two user names cannot differ only in case."""
        prod.add_user("alice")

        with pytest.raises(ValueError, match="exists already"):
            prod.add_user("ALICE")

    def test_hostile_names(self, prod: Account, iam: Any) -> None:
        """All characters that AWS allows in names, and markup in paths, are preserved."""
        prod.add_user("a+=,.@-_", path="/<&>\"'/")

        user = iam.list_users()["Users"][0]

        assert (user["UserName"], user["Path"]) == ("a+=,.@-_", "/<&>\"'/")
        assert iam.list_access_keys(UserName="a+=,.@-_")["AccessKeyMetadata"] == []

    def test_invalid_name(self, prod: Account) -> None:
        """A user cannot have a name that AWS would reject."""
        with pytest.raises(ValueError, match="not a valid user name"):
            prod.add_user("a/b")

    def test_recreated_user(self, prod: Account) -> None:
        """A recreated user has another id, and no keys."""
        first = prod.add_user("alice")
        first.add_key()
        first.delete()

        second = prod.add_user("alice")

        assert second.id != first.id
        assert second.keys == []

    def test_moved_user(self, prod: Account, iam: Any) -> None:
        """A moved user has another ARN and the same id."""
        user = prod.add_user("alice")
        before = iam.list_users()["Users"][0]
        user.move("/new/")

        after = iam.list_users()["Users"][0]

        assert after["Arn"] == f"arn:aws:iam::{PROD}:user/new/alice"
        assert after["UserId"] == before["UserId"]

    def test_path_prefix(self, prod: Account, iam: Any) -> None:
        """Users can be listed by path prefix."""
        prod.add_user("alice", path="/ops/eu/")
        prod.add_user("bob")

        assert pages_of(iam, "list_users", "Users", PathPrefix="/ops/") == [["alice"]]

    def test_get_user(self, prod: Account, iam: Any) -> None:
        """GetUser returns tags, unlike ListUsers."""
        prod.add_user("alice", tags={"a": "b"})

        assert iam.get_user(UserName="ALICE")["User"]["Tags"] == [{"Key": "a", "Value": "b"}]

    def test_authorization_details_of_all(self, prod: Account, iam: Any) -> None:
        """Without a filter GetAccountAuthorizationDetails returns roles too."""
        prod.add_user("alice")
        role = prod.role("reader")

        details = iam.get_account_authorization_details()

        assert [user["UserName"] for user in details["UserDetailList"]] == ["alice"]
        assert [each["Arn"] for each in details["RoleDetailList"]] == [role.arn]

    def test_key_of_a_deleted_user(self, prod: Account) -> None:
        """A key cannot be created for a deleted user."""
        alice = prod.add_user("alice")
        alice.delete()

        with pytest.raises(ValueError, match="was deleted"):
            alice.add_key()

    def test_naive_time(self, prod: Account) -> None:
        """A time without a time zone is rejected."""
        with pytest.raises(ValueError, match="not an aware time"):
            prod.add_user("alice", created=NOON.replace(tzinfo=None))

    def test_unknown_user(self, iam: Any) -> None:
        """Listing the keys of a user that does not exist fails with NoSuchEntity."""
        with Refused("NoSuchEntity", 404) as refused:
            iam.list_access_keys(UserName="nobody")

        assert refused.message == "The user with name nobody cannot be found."

    def test_accounts_are_isolated(self, aws: FakeAws, iam: Any) -> None:
        """Users of one account are not listed in another."""
        aws.account(TEST).add_user("alice")

        assert iam.list_users()["Users"] == []

    def test_partition_stays(self, aws: FakeAws) -> None:
        """The partition of an account cannot change."""
        aws.account(TEST, partition="aws-cn")

        with pytest.raises(ValueError, match="is in partition 'aws-cn'"):
            aws.account(TEST, partition="aws")

    def test_bad_account_id(self, aws: FakeAws) -> None:
        """An account id has twelve digits."""
        with pytest.raises(ValueError, match="not a valid account id"):
            aws.account("1234")

    def test_partition(self, aws: FakeAws) -> None:
        """ARNs contain the partition of their account."""
        aws.account(TEST, partition="aws-cn").add_user("alice")

        users = a_client(aws, "iam", TEST).list_users()["Users"]

        assert users[0]["Arn"] == f"arn:aws-cn:iam::{TEST}:user/alice"

    def test_tags(self, prod: Account, iam: Any) -> None:
        """ListUserTags and GetAccountAuthorizationDetails return the tags of a user."""
        prod.add_user("alice", tags={"team": "<ops> & co"})

        one = iam.list_user_tags(UserName="alice")["Tags"]
        bulk = iam.get_account_authorization_details(Filter=["User"])["UserDetailList"]

        assert one == [{"Key": "team", "Value": "<ops> & co"}]
        assert bulk[0]["Tags"] == one

    def test_summary(self, prod: Account, iam: Any) -> None:
        """The summary has the number of users, and whether root has keys."""
        prod.add_user("alice")
        prod.add_root_key()

        summary = iam.get_account_summary()["SummaryMap"]

        assert (summary["Users"], summary["AccountAccessKeysPresent"]) == (1, 1)


class TestKeys:
    def test_listed_keys(self, prod: Account, iam: Any) -> None:
        """Keys are listed in order of creation, with status and creation time."""
        alice = prod.add_user("alice")
        keys = [
            alice.add_key(created=NOON, status="Inactive"),
            alice.add_key(created=NOON - timedelta(days=1), status="Expired"),
        ]

        assert iam.list_access_keys(UserName="alice")["AccessKeyMetadata"] == [
            {
                "UserName": "alice",
                "AccessKeyId": key.id,
                "Status": key.status,
                "CreateDate": key.created,
            }
            for key in keys
        ]

    def test_whole_seconds(self, prod: Account) -> None:
        """The creation time of a key is in whole seconds."""
        key = prod.add_user("alice").add_key(created=NOON + timedelta(seconds=1.5))

        assert key.created == NOON + timedelta(seconds=1)

    def test_unknown_status(self, prod: Account) -> None:
        """A key cannot have a status that AWS does not have."""
        key = prod.add_user("alice").add_key()

        with pytest.raises(ValueError, match="not a status"):
            key.status = "active"  # type: ignore[assignment]

    def test_views_are_live(self, prod: Account) -> None:
        """A deleted key disappears from its user and its account."""
        alice = prod.add_user("alice")
        first, second = alice.add_key(), alice.add_key()

        first.delete()

        assert alice.keys == [second]
        assert [*prod.keys] == [second]

    def test_keys_of_the_signer(self, aws: FakeAws, prod: Account) -> None:
        """Without a name a user's own keys are listed."""
        key = prod.add_user("alice").add_key()

        keys = signed_by(aws, "iam", AccessKeyId=key.id).list_access_keys()["AccessKeyMetadata"]

        assert [each["AccessKeyId"] for each in keys] == [key.id]

    def test_keys_of_a_session(self, aws: FakeAws, prod: Account, sts: Any) -> None:
        """A session has no keys of its own, and has to name a user."""
        prod.role("reader")

        with Refused("ValidationError", 400):
            signed_by(aws, "iam", **assume(sts)).list_access_keys()

    def test_duplicate_id(self, aws: FakeAws, prod: Account) -> None:
        """No two keys of all accounts have the same id."""
        key = prod.add_user("alice").add_key(id="AKIA2345672345672345")

        with pytest.raises(ValueError, match="exists already"):
            aws.account(TEST).add_user("bob").add_key(id=key.id)

    def test_account_of_a_key(self, prod: Account, sts: Any) -> None:
        """STS returns the account of any key."""
        key = prod.add_user("alice").add_key()

        assert sts.get_access_key_info(AccessKeyId=key.id)["Account"] == PROD


class TestPages:
    def test_user_pages(self, prod: Account, iam: Any) -> None:
        """A paginator finds each user once, MaxItems per page."""
        for name in "abcde":
            prod.add_user(name)

        pages = pages_of(iam, "list_users", "Users", PaginationConfig={"PageSize": 2})

        assert pages == [["a", "b"], ["c", "d"], ["e"]]

    def test_largest_page(self, aws: FakeAws, prod: Account, iam: Any) -> None:
        """Pages are no larger than max_page, whatever MaxItems is."""
        aws.max_page = 1
        alice = prod.add_user("alice", tags={"a": "1", "b": "2"})
        keys = [alice.add_key().id, alice.add_key().id]
        prod.add_user("bob")
        named = {"UserName": "alice"}
        users = {"Filter": ["User"]}

        assert pages_of(iam, "list_access_keys", "AccessKeyMetadata", **named) == [
            [key] for key in keys
        ]
        assert pages_of(iam, "list_user_tags", "Tags", **named) == [["a"], ["b"]]
        assert pages_of(iam, "get_account_authorization_details", "UserDetailList", **users) == [
            ["alice"],
            ["bob"],
        ]

    def test_changes_between_pages(self, prod: Account, iam: Any) -> None:
        """No user is skipped when another one is deleted between two pages."""
        for name in "abc":
            prod.add_user(name)
        first = iam.list_users(MaxItems=2)
        prod.users["a"].delete()

        second = iam.list_users(MaxItems=2, Marker=first["Marker"])

        assert [user["UserName"] for user in second["Users"]] == ["c"]

    def test_default_page(self, prod: Account, iam: Any) -> None:
        """A page has a hundred entries unless MaxItems is set."""
        for number in range(101):
            prod.add_user(f"user-{number}")

        page = iam.list_users()

        assert (len(page["Users"]), page["IsTruncated"]) == (100, True)

    @pytest.mark.parametrize("params", [{"MaxItems": 1001}, {"Marker": "invalid"}])
    def test_bad_parameters(self, iam: Any, params: dict[str, Any]) -> None:
        """MaxItems above 1000 and a marker of another call are ValidationErrors."""
        with Refused("ValidationError", 400):
            iam.list_users(**params)

    def test_marker_of_another_filter(self, aws: FakeAws, prod: Account, iam: Any) -> None:
        """A marker of GetAccountAuthorizationDetails belongs to its filter."""
        aws.max_page = 1
        prod.add_user("alice")
        prod.add_user("bob")
        marker = iam.get_account_authorization_details(Filter=["User"])["Marker"]

        with Refused("ValidationError", 400):
            iam.get_account_authorization_details(Filter=["Role"], Marker=marker)


class TestReport:
    def test_states(self, prod: Account, iam: Any) -> None:
        """A report is absent, started, in progress, then complete."""
        prod.report.delay = 2
        with Refused("ReportNotPresent", 410):
            iam.get_credential_report()

        states = [iam.generate_credential_report()["State"]]
        with Refused("ReportInProgress", 404):
            iam.get_credential_report()
        states += [iam.generate_credential_report()["State"] for _ in range(2)]

        assert states == ["STARTED", "INPROGRESS", "COMPLETE"]
        assert iam.get_credential_report()["GeneratedTime"] == NOON

    def test_cache(self, prod: Account, iam: Any, clock: FakeClock) -> None:
        """The report does not change for four hours, even if the users do."""
        iam.generate_credential_report()
        before = iam.get_credential_report()["Content"]
        prod.add_user("alice")
        clock.advance(hours=3, minutes=59)

        assert iam.generate_credential_report()["State"] == "COMPLETE"
        assert iam.get_credential_report()["Content"] == before

    def test_expiry(self, iam: Any, clock: FakeClock) -> None:
        """A report expires after four hours, until another one is generated."""
        report_rows(iam)
        clock.advance(hours=4)

        with Refused("ReportExpired", 410):
            iam.get_credential_report()
        assert iam.generate_credential_report()["State"] == "STARTED"
        assert iam.get_credential_report()["GeneratedTime"] == clock.now()

    def test_expired_by_hand(self, prod: Account, iam: Any) -> None:
        """A test can make the report expire."""
        report_rows(iam)
        prod.report.expire()

        with Refused("ReportExpired", 410):
            iam.get_credential_report()

    def test_no_capacity(self, prod: Account, iam: Any) -> None:
        """Generating can fail a number of times for lack of capacity."""
        prod.report.limit_exceeded = 1

        with Refused("LimitExceeded", 409):
            iam.generate_credential_report()
        assert iam.generate_credential_report()["State"] == "STARTED"

    def test_denied(self, prod: Account, iam: Any) -> None:
        """Both calls can be denied."""
        prod.report.denied = True

        for call in (iam.generate_credential_report, iam.get_credential_report):
            with Refused("AccessDenied", 403):
                call()

    def test_other_content(self, prod: Account, iam: Any) -> None:
        """A test can have other content served."""
        prod.report.instant = True
        prod.report.content = b"garbage"

        assert iam.generate_credential_report()["State"] == "COMPLETE"
        assert iam.get_credential_report()["Content"] == b"garbage"

    def test_complete_content(self, prod: Account, iam: Any) -> None:
        """The report has AWS's 22 columns, root first, Z dates and no final newline."""
        prod.root_password_last_used = NOON
        prod.add_user("alice", password_enabled=True).add_key(created=NOON)
        prod.report.instant = True
        iam.generate_credential_report()

        assert iam.get_credential_report()["Content"].decode().split("\n") == [
            (
                "user,arn,user_creation_time,password_enabled,password_last_used,"
                "password_last_changed,password_next_rotation,mfa_active,"
                "access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
                "access_key_1_last_used_region,access_key_1_last_used_service,"
                "access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
                "access_key_2_last_used_region,access_key_2_last_used_service,"
                "cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
            ),
            (
                "<root_account>,arn:aws:iam::111111111111:root,2026-11-23T12:00:00Z,true,"
                "2026-11-23T12:00:00Z,not_supported,not_supported,false,"
                "false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
            ),
            (
                "alice,arn:aws:iam::111111111111:user/alice,2026-11-23T12:00:00Z,true,"
                "no_information,2026-11-23T12:00:00Z,N/A,false,"
                "true,2026-11-23T12:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
            ),
        ]

    def test_inactive_key(self, prod: Account, iam: Any) -> None:
        """An inactive key keeps its times, and comes after a younger active one."""
        alice = prod.add_user("alice")
        old = alice.add_key(created=NOON - timedelta(days=9), status="Inactive")
        old.use("s3", "us-east-1", at=NOON - timedelta(days=8))
        alice.add_key(created=NOON)

        row = report_rows(iam)["alice"]

        assert (row["access_key_1_active"], row["access_key_1_last_rotated"]) == (
            "true",
            "2026-11-23T12:00:00Z",
        )
        assert [row[f"access_key_2_{name}"] for name in ("active", "last_used_date")] == [
            "false",
            "2026-11-15T12:00:00Z",
        ]

    def test_third_key(self, prod: Account, iam: Any) -> None:
        """A third key is mentioned in a 23rd column, which otherwise does not exist."""
        alice = prod.add_user("alice")
        for _ in range(3):
            alice.add_key()

        row = report_rows(iam)["alice"]

        assert row["additional_credentials_info"].startswith("3 access keys")
        assert len(row) == 23

    def test_name_with_a_comma(self, prod: Account, iam: Any) -> None:
        """A name with a comma is quoted."""
        prod.add_user("smith,john")

        assert report_rows(iam)["smith,john"]["arn"].endswith("user/smith,john")

    def test_unquoted(self, prod: Account, iam: Any) -> None:
        """A test can turn quoting off."""
        prod.report.quoted = False
        prod.add_user("smith,john")

        assert "smith" in report_rows(iam)


class TestSessions:
    def test_assumed_role(self, aws: FakeAws, prod: Account, sts: Any) -> None:
        """The caller identity of an assumed role is in the role's account."""
        prod.role("reader")

        caller = signed_by(aws, "sts", **assume(sts)).get_caller_identity()

        assert caller["Account"] == PROD
        assert caller["Arn"] == f"arn:aws:sts::{PROD}:assumed-role/reader/tests"

    @pytest.mark.parametrize(
        "wrong",
        ["no account", "no role", "no id", "wrong id", "no trust", "other path", "other partition"],
    )
    def test_refused_role(self, aws: FakeAws, sts: Any, wrong: str) -> None:
        """A role that is missing, elsewhere or does not trust the caller cannot be assumed."""
        if wrong != "no account":
            partition = "aws-cn" if wrong == "other partition" else "aws"
            aws.account(PROD, partition=partition).role(
                "other" if wrong == "no role" else "reader",
                external_id="secret" if wrong.endswith(" id") else None,
                path="/ops/" if wrong == "other path" else "/",
                trusts=[TEST] if wrong == "no trust" else None,
            )
        given = {"ExternalId": "guess"} if wrong == "wrong id" else {}

        with Refused("AccessDenied", 403) as refused:
            assume(sts, **given)

        assert refused.message == (
            f"User: arn:aws:iam::{MONITORING}:user/monitoring is not authorized to perform: "
            f"sts:AssumeRole on resource: arn:aws:iam::{PROD}:role/reader"
        )

    def test_right_external_id(self, prod: Account, sts: Any) -> None:
        """A role is assumed with its external id."""
        prod.role("reader", external_id="secret")

        assert assume(sts, ExternalId="secret")["AccessKeyId"].startswith("ASIA")

    def test_removed_role(self, prod: Account, sts: Any) -> None:
        """A role that was removed cannot be assumed."""
        prod.role("reader")
        prod.remove_role("reader")

        with Refused("AccessDenied", 403):
            assume(sts)

    def test_expired_session(self, aws: FakeAws, prod: Account, sts: Any, clock: FakeClock) -> None:
        """A session ends after its duration."""
        prod.role("reader")
        credentials = assume(sts, DurationSeconds=900)
        iam = signed_by(aws, "iam", **credentials)
        clock.advance(seconds=899)
        iam.list_users()
        clock.advance(seconds=1)

        with Refused("ExpiredToken", 403):
            iam.list_users()
        assert credentials["Expiration"] == clock.now()

    def test_revoked_session(self, aws: FakeAws, prod: Account, sts: Any) -> None:
        """Revoking ends existing sessions, but not later ones."""
        prod.role("reader")
        before = signed_by(aws, "iam", **assume(sts))
        aws.revoke(PROD)
        after = signed_by(aws, "iam", **assume(sts))

        with Refused("ExpiredToken", 403):
            before.list_users()
        assert after.list_users()["Users"] == []

    def test_role_chaining(self, aws: FakeAws, prod: Account, sts: Any) -> None:
        """A session cannot assume a role for more than an hour."""
        prod.role("reader", max_seconds=43200)
        chained = signed_by(aws, "sts", **assume(sts))

        with Refused("ValidationError", 400):
            assume(chained, DurationSeconds=3601)

    def test_session_tags(self, prod: Account, sts: Any) -> None:
        """Tags of a session need sts:TagSession in the trust policy."""
        prod.role("reader", allows_tags=False)

        assume(sts)
        with Refused("AccessDenied", 403) as refused:
            assume(sts, Tags=[{"Key": "cluster", "Value": "a"}])
        assert "sts:TagSession on resource" in refused.message

    def test_transitive_session_tags(self, aws: FakeAws, prod: Account) -> None:
        """A session with transitive tags needs it for every role, and passes them on."""
        pod = aws.session(aws.account(PROD).role("pod"), tagged=True)
        prod.role("first")
        prod.role("reader", allows_tags=False)
        sts = signed_by(
            aws,
            "sts",
            AccessKeyId=pod.key_id,
            SecretAccessKey=pod.secret,
            SessionToken=pod.token,
        )
        chained = signed_by(aws, "sts", **assume(sts, "first"))

        for client in (sts, chained):
            with Refused("AccessDenied", 403) as refused:
                assume(client)
            assert "sts:TagSession on resource" in refused.message

    @pytest.mark.parametrize("seconds", [899, 43201])
    def test_out_of_range(self, prod: Account, sts: Any, seconds: int) -> None:
        """A session lasts at least 15 minutes and at most 12 hours."""
        prod.role("reader", max_seconds=43200)

        with Refused("ValidationError", 400):
            assume(sts, DurationSeconds=seconds)

    def test_longest_session(self, prod: Account, sts: Any) -> None:
        """A role cannot be assumed for longer than it allows."""
        prod.role("reader", max_seconds=3600)

        with Refused("ValidationError", 400):
            assume(sts, DurationSeconds=3601)

    def test_unknown_signer(self, aws: FakeAws) -> None:
        """An unknown key id fails with InvalidClientTokenId."""
        with Refused("InvalidClientTokenId", 403):
            signed_by(aws, "iam", AccessKeyId="AKIAUNKNOWN234567234").list_users()

    def test_inactive_signer(self, aws: FakeAws, prod: Account) -> None:
        """An inactive key fails with InvalidClientTokenId."""
        key = prod.add_user("alice").add_key(status="Inactive")

        with Refused("InvalidClientTokenId", 403):
            signed_by(aws, "iam", AccessKeyId=key.id).list_users()

    def test_wrong_token(self, aws: FakeAws, prod: Account, sts: Any) -> None:
        """A session's key id without its token fails with InvalidClientTokenId."""
        prod.role("reader")

        with Refused("InvalidClientTokenId", 403):
            signed_by(aws, "iam", AccessKeyId=assume(sts)["AccessKeyId"]).list_users()


class TestPermissions:
    def test_denied_for_one_user(self, prod: Account, iam: Any) -> None:
        """A call can be denied for one user only, with AWS's message."""
        prod.add_user("alice")
        prod.add_user("bob")
        prod.deny("iam:ListAccessKeys", user="bob")
        iam.list_access_keys(UserName="alice")

        with Refused("AccessDenied", 403) as refused:
            iam.list_access_keys(UserName="bob")

        assert refused.message == (
            f"User: arn:aws:iam::{PROD}:user/monitoring is not authorized to perform: "
            "iam:ListAccessKeys on resource: user bob because no identity-based policy allows "
            "the iam:ListAccessKeys action"
        )

    def test_denied_for_the_owner_of_a_key(self, prod: Account, iam: Any) -> None:
        """GetAccessKeyLastUsed is denied for the owner of the key."""
        alice, bob = (prod.add_user(name).add_key() for name in ("alice", "bob"))
        prod.deny("iam:GetAccessKeyLastUsed", user="bob")
        last_use(iam, alice)

        with Refused("AccessDenied", 403) as refused:
            last_use(iam, bob)

        assert "perform: iam:GetAccessKeyLastUsed on resource: user bob" in refused.message

    def test_reason(self, prod: Account, iam: Any) -> None:
        """A denial can have another reason than a missing permission."""
        prod.deny("iam:ListUsers", reason="with an explicit deny in a service control policy")

        with Refused("AccessDenied", 403) as refused:
            iam.list_users()

        assert refused.message == (
            f"User: arn:aws:iam::{PROD}:user/monitoring is not authorized to perform: "
            f"iam:ListUsers on resource: arn:aws:iam::{PROD}:user/ "
            "with an explicit deny in a service control policy"
        )

    def test_identity_cannot_be_denied(self, prod: Account, aws: FakeAws) -> None:
        """GetCallerIdentity cannot be denied."""
        prod.deny("sts:*")

        assert a_client(aws, "sts").get_caller_identity()["Account"] == PROD

    def test_allowed_again(self, prod: Account, iam: Any) -> None:
        """What was denied can be allowed again."""
        prod.deny("iam:*")
        prod.allow("iam:*")

        assert iam.list_users()["Users"] == []

    def test_throttling(self, prod: Account, iam: Any, clock: FakeClock) -> None:
        """An account accepts a burst of calls, then a number of calls per second."""
        prod.throttle(rate=2, burst=3)
        for _ in range(3):
            iam.list_users()
        with Refused("Throttling", 400) as refused:
            iam.list_users()
        clock.advance(seconds=0.5)

        iam.list_users()

        assert refused.message == "Rate exceeded"

    def test_throttling_is_per_account(self, aws: FakeAws, prod: Account) -> None:
        """Throttling one account does not affect others."""
        prod.throttle(rate=1, burst=0)

        assert a_client(aws, "iam", TEST).list_users()["Users"] == []

    def test_throttling_ends(self, prod: Account, iam: Any) -> None:
        """Throttling can be turned off."""
        prod.throttle(rate=1, burst=0)
        prod.throttle(None)

        assert iam.list_users()["Users"] == []


class TestFaults:
    def test_code(self, aws: FakeAws, iam: Any) -> None:
        """A code alone has its usual status and message, and can occur a number of times."""
        fault = aws.fault(Fault(operation="ListUsers", code="Throttling", times=2))

        for _ in range(2):
            with Refused("Throttling", 400):
                iam.list_users()
        assert iam.list_users()["Users"] == []
        assert fault.fired == 2

    def test_after(self, aws: FakeAws, iam: Any) -> None:
        """A fault can start after a number of calls."""
        aws.fault(Fault(operation="ListUsers", code="ServiceFailure", after=1))
        iam.list_users()

        with Refused("ServiceFailure", 500):
            iam.list_users()

    @pytest.mark.parametrize(
        "other",
        [
            {"operation": "ListUsers"},
            {"account": TEST},
            {"user": "bob"},
            {"key": "AKIAOTHERKEY23456723"},
        ],
    )
    def test_other_calls(
        self, aws: FakeAws, prod: Account, iam: Any, other: dict[str, str]
    ) -> None:
        """A fault does not affect other operations, accounts, users or keys."""
        key = prod.add_user("alice").add_key()
        aws.fault(Fault(code="Throttling", **other))  # type: ignore[arg-type]

        assert last_use(iam, key) == {"ServiceName": "N/A", "Region": "N/A"}

    def test_key_and_owner(self, aws: FakeAws, prod: Account, iam: Any) -> None:
        """A fault of a user applies to calls about that user's keys."""
        key = prod.add_user("alice").add_key()
        aws.fault(Fault(user="Alice", key=key.id, code="InternalFailure"))

        with Refused("InternalFailure", 500):
            last_use(iam, key)

    def test_role_of_one_account(self, aws: FakeAws, sts: Any) -> None:
        """A fault of AssumeRole in an account applies to the roles of that account."""
        for account_id in (PROD, TEST):
            aws.account(account_id).role("reader")
        aws.fault(Fault(operation="AssumeRole", account=TEST, code="AccessDenied"))
        assume(sts, account_id=PROD)

        with Refused("AccessDenied", 403):
            assume(sts, account_id=TEST)

    def test_reset(self, aws: FakeAws, iam: Any) -> None:
        """A reset closes the connection."""
        aws.fault(Fault(reset=True))

        with pytest.raises(ConnectionClosedError):
            iam.list_users()

    def test_reset_is_a_reset(self, aws: FakeAws) -> None:
        """A reset sends RST, not FIN."""
        aws.fault(Fault(reset=True))

        with a_connection(aws) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                connection.recv(1)

    @pytest.mark.parametrize("broken", [{"truncate": True}, {"body": "<html>"}])
    def test_broken_body(self, aws: FakeAws, iam: Any, broken: dict[str, Any]) -> None:
        """Truncated and replaced bodies cannot be parsed."""
        aws.fault(Fault(**broken))

        with pytest.raises(ResponseParserError):
            iam.list_users()

    def test_latency(self, aws: FakeAws, iam: Any) -> None:
        """A delayed call is answered as usual, but later."""
        aws.fault(Fault(latency=0.05))
        started = time.monotonic()

        assert iam.list_users()["Users"] == []
        assert time.monotonic() - started >= 0.05

    def test_latency_delays_no_other_call(self, aws: FakeAws, iam: Any) -> None:
        """While one call is delayed others are answered; closing ends the delay."""
        aws.fault(Fault(operation="ListUsers", latency=60))
        with ThreadPoolExecutor() as threads:
            slow = threads.submit(iam.list_users)
            wait_until(lambda: aws.count("ListUsers"), "the slow call has arrived")
            iam.get_account_summary()
            was_delayed = not slow.done()
            aws.close()

        assert was_delayed
        assert isinstance(slow.exception(), ConnectionClosedError)

    def test_latency_and_code(self, aws: FakeAws, iam: Any) -> None:
        """A fault that only delays leaves the response to the next fault."""
        delay = aws.fault(Fault(latency=0.01))
        aws.fault(Fault(code="Throttling"))

        with Refused("Throttling", 400):
            iam.list_users()
        assert delay.fired == 1

    def test_headers(self, aws: FakeAws, iam: Any) -> None:
        """A fault can add response headers."""
        aws.fault(Fault(code="Throttling", headers={"x-amz-retry-after": "200"}))

        with pytest.raises(ClientError) as caught:
            iam.list_users()

        headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-amz-retry-after"] == "200"

    def test_removed(self, aws: FakeAws, iam: Any) -> None:
        """A fault can be removed."""
        fault = aws.fault(Fault(code="Throttling"))
        aws.remove_fault(fault)

        assert iam.list_users()["Users"] == []

    def test_cleared(self, aws: FakeAws, iam: Any) -> None:
        """All faults can be removed."""
        aws.fault(Fault(code="Throttling"))
        aws.clear_faults()

        assert iam.list_users()["Users"] == []


class TestCounting:
    def test_counts(self, aws: FakeAws, iam: Any) -> None:
        """Calls are counted by account and operation, including failed ones."""
        iam.list_users()
        aws.fault(Fault(code="Throttling"))
        with Refused("Throttling", 400):
            iam.list_users()

        assert aws.calls == {(PROD, "ListUsers"): 2}
        assert aws.errors == {(PROD, "ListUsers", "Throttling"): 1}
        assert (aws.count("ListUsers"), aws.count("ListUsers", account=TEST)) == (2, 0)

    def test_real_time(self) -> None:
        """Without a clock the time is that of the system."""
        with FakeAws() as aws:
            a_client(aws, "iam").list_users()

        assert abs(datetime.now(UTC) - aws.log[0].at) < timedelta(seconds=60)

    def test_role_counts_for_its_account(self, aws: FakeAws, prod: Account, sts: Any) -> None:
        """AssumeRole is counted for the account of the role."""
        prod.role("reader")
        assume(sts)

        assert aws.calls == {(PROD, "AssumeRole"): 1}

    def test_reset(self, aws: FakeAws, iam: Any) -> None:
        """Counts and log can be reset."""
        iam.list_users()
        aws.reset_calls()

        assert (aws.count(), aws.log) == (0, [])

    def test_log(self, aws: FakeAws, prod: Account, iam: Any) -> None:
        """The log has time, account, operation and parameters of each call."""
        prod.add_user("alice")
        iam.list_access_keys(UserName="alice")

        assert aws.log == [(NOON, PROD, "ListAccessKeys", {"UserName": "alice"})]

    def test_callback_comes_before_the_answer(self, aws: FakeAws, prod: Account, iam: Any) -> None:
        """A callback can delete a key before the call is answered."""
        key = prod.add_user("alice").add_key()
        aws.on_call(lambda *_: key.delete())

        assert iam.list_access_keys(UserName="alice")["AccessKeyMetadata"] == []

    def test_removed_callback(self, aws: FakeAws, iam: Any) -> None:
        """A removed callback is not called any more."""
        called: list[str] = []
        remove = aws.on_call(lambda operation, *_: called.append(operation))
        iam.list_users()
        remove()
        iam.list_users()

        assert called == ["ListUsers"]

    def test_blocked_callback_delays_no_other_call(self, aws: FakeAws, iam: Any) -> None:
        """A callback that blocks delays only its own call."""
        go_on = threading.Event()
        aws.on_call(lambda operation, *_: operation == "ListUsers" and go_on.wait(5))
        blocked = threading.Thread(target=iam.list_users)
        blocked.start()

        iam.get_account_summary()
        was_blocked = blocked.is_alive()
        go_on.set()
        blocked.join()

        assert was_blocked

    def test_raising_callback(self) -> None:
        """A callback that raises makes the with block fail."""
        aws = FakeAws()
        aws.on_call(lambda *_: 1 / 0)

        with pytest.raises(AssertionError, match="ZeroDivisionError"), aws:
            a_client(aws, "iam").list_users()


def a_connection(aws: FakeAws) -> socket.socket:
    address = urlsplit(aws.url)
    return socket.create_connection((address.hostname, address.port), timeout=5)


class TestServer:
    def test_connection_is_kept(self, aws: FakeAws) -> None:
        """Pipelined requests on one connection are all answered."""
        request = b"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\nAction=Hello"
        with a_connection(aws) as connection:
            connection.sendall(
                request * 100 + request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            )
            answers = b"".join(iter(lambda: connection.recv(65536), b""))

        assert answers.count(b"HTTP/1.1 403 Forbidden\r\n") == 101
        assert aws.count("Hello") == 101

    def test_split_request(self, aws: FakeAws) -> None:
        """A request may arrive in pieces."""
        with a_connection(aws) as connection:
            for piece in (
                b"POST / HTT",
                b"P/1.1\r\nContent-Length: 12\r\n",
                b"\r\nAction",
                b"=Hello",
            ):
                connection.sendall(piece)
                time.sleep(0.01)  # so that the pieces are not sent together
            answer = connection.recv(65536)

        assert b"<Code>MissingAuthenticationToken</Code>" in answer

    def test_calls_over_http(self, aws: FakeAws, iam: Any) -> None:
        """GET /calls returns the calls so far, for other processes."""
        iam.list_users()
        with a_connection(aws) as connection:
            connection.sendall(b"GET /calls HTTP/1.1\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))

        assert answer.partition(b"\r\n\r\n")[2] == b'{"ListUsers": 1}'

    def test_unknown_action(self, aws: FakeAws) -> None:
        """An unknown operation fails with InvalidAction."""
        with Refused("InvalidAction", 400):
            a_client(aws, "iam").list_groups()

    def test_wrong_method(self, aws: FakeAws) -> None:
        """Other requests than POST with a length are rejected, and the connection is closed."""
        with a_connection(aws) as connection:
            connection.sendall(b"PUT / HTTP/1.1\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))

        assert answer.startswith(b"HTTP/1.1 400 ")

    def test_many_connections(self, aws: FakeAws, prod: Account) -> None:
        """Calls from many threads are all answered and counted."""
        prod.add_user("alice")
        iam = a_client(aws, "iam")

        with ThreadPoolExecutor(8) as threads:
            pages = [*threads.map(lambda _: iam.list_users()["Users"][0]["UserName"], range(200))]

        assert pages == ["alice"] * 200
        assert aws.count("ListUsers") == 200

    def test_closed(self) -> None:
        """After the with block the port is closed, and the counts are still readable."""
        with FakeAws() as aws:
            a_client(aws, "iam").list_users()

        with pytest.raises(ConnectionRefusedError):
            a_connection(aws)
        assert aws.count("ListUsers") == 1


class TestFleet:
    def test_size(self) -> None:
        """There are the requested numbers of accounts and keys, and an account to call from."""
        aws = FakeAws()
        fill(aws, accounts=3, keys=5, keys_per_user=2)

        sizes = [(len(each.users), len([*each.keys])) for each in aws.accounts.values()]

        assert sizes == [(0, 0), (3, 5), (3, 5), (3, 5)]
        assert len(aws.organization().members) == 4

    def test_same_again(self) -> None:
        """Accounts generated with the same clock, sizes and seed are equal."""
        first, second = FakeAws(now=FakeClock().now), FakeAws(now=FakeClock().now)
        for aws in (first, second):
            fill(aws, accounts=2, keys=20)

        keys = [
            [(key.id, key.last_use, key.status) for key in aws.accounts["100000000002"].keys]
            for aws in (first, second)
        ]

        assert keys[0] == keys[1]

    @pytest.mark.process
    def test_process(self) -> None:
        """The program prints an environment for clients, and exits with 0 on SIGTERM."""
        command = [sys.executable, "-m", "tests.fake_aws", "--accounts", "1", "--keys", "2"]
        with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True) as process:
            assert process.stdout is not None
            printed = dict(process.stdout.readline().strip().split("=") for _ in range(6))
            sts = SESSION.client(
                "sts",
                endpoint_url=printed["AWS_ENDPOINT_URL"],
                aws_access_key_id=printed["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=printed["AWS_SECRET_ACCESS_KEY"],
                config=AS_GIVEN,
            )
            account_id = sts.get_caller_identity()["Account"]
            process.terminate()
            _, calls = process.communicate(timeout=10)

        assert account_id == MONITORING
        assert (process.returncode, calls) == (0, "GetCallerIdentity 1\n")

    def test_bench(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The program measures its own speed."""
        monkeypatch.setattr(sys, "argv", ["fake_aws", "--accounts=1", "--keys=2", "--bench=0.05"])

        main()

        assert re.fullmatch(
            r"\d+ calls of GetAccessKeyLastUsed per second\n", capsys.readouterr().out
        )


class TestOrganizations:
    @pytest.fixture
    def management(self, aws: FakeAws) -> Any:
        aws.organization(management=MONITORING)
        return a_client(aws, "organizations", MONITORING)

    def test_account(self, aws: FakeAws, management: Any) -> None:
        """A listed account has a state, the deprecated status, and its path in the tree."""
        organization = aws.organization()
        unit = organization.unit("Prod")
        organization.add_account(PROD, "prod", parent=unit, state="CLOSED")

        account = management.list_accounts()["Accounts"][1]

        assert (account["Id"], account["Name"]) == (PROD, "prod")
        assert (account["State"], account["Status"]) == ("CLOSED", "SUSPENDED")
        assert account["Paths"] == [f"o-exampleorg1/r-ab12/{unit.id}/{PROD}/"]

    def test_state_and_status(self, aws: FakeAws, management: Any) -> None:
        """A test can turn off State, which is new, or Status, which is deprecated."""
        organization = aws.organization()
        organization.with_state = False
        old = management.list_accounts()["Accounts"][0]
        organization.with_state, organization.with_status = True, False
        new = management.list_accounts()["Accounts"][0]

        assert ("State" in old, old["Status"]) == (False, "ACTIVE")
        assert ("Status" in new, new["State"]) == (False, "ACTIVE")

    def test_tree(self, aws: FakeAws, management: Any) -> None:
        """The tree can be walked from the root, one level at a time."""
        organization = aws.organization()
        upper = organization.unit("Upper")
        lower = organization.unit("Lower", parent=upper)
        organization.add_account(PROD, parent=lower)
        root = management.list_roots()["Roots"][0]["Id"]

        def units(parent: str) -> list[str]:
            answer = management.list_organizational_units_for_parent(ParentId=parent)
            return [unit["Name"] for unit in answer["OrganizationalUnits"]]

        assert (units(root), units(upper.id)) == (["Upper"], ["Lower"])
        accounts = management.list_accounts_for_parent(ParentId=lower.id)["Accounts"]
        assert [account["Id"] for account in accounts] == [PROD]

    def test_pages(self, aws: FakeAws, management: Any) -> None:
        """A page has twenty accounts, and may be empty even if more follow."""
        organization = aws.organization()
        organization.empty_pages = 1
        for number in range(25):
            organization.add_account(f"{number:012}")

        pages = management.get_paginator("list_accounts").paginate()

        assert [len(page["Accounts"]) for page in pages] == [0, 20, 6]

    def test_too_large_a_page(self, management: Any) -> None:
        """Pages of more than twenty are rejected."""
        with Refused("InvalidInputException", 400):
            management.list_accounts(MaxResults=21)

    def test_described_account(self, aws: FakeAws, management: Any) -> None:
        """One account can be described, if it is a member."""
        aws.organization().add_account(PROD, "prod")

        assert management.describe_account(AccountId=PROD)["Account"]["Name"] == "prod"
        with Refused("AccountNotFoundException", 400):
            management.describe_account(AccountId=TEST)

    def test_unknown_parent(self, management: Any) -> None:
        """Listing the accounts of an unknown parent fails."""
        with Refused("ParentNotFoundException", 400):
            management.list_accounts_for_parent(ParentId="ou-ab12-99999999")

    def test_denied(self, aws: FakeAws, management: Any) -> None:
        """Permissions can be denied as in IAM, with the code of Organizations."""
        aws.account(MONITORING).deny("organizations:ListAccounts")

        with Refused("AccessDeniedException", 400):
            management.list_accounts()

    def test_bad_token(self, management: Any) -> None:
        """A token of another call is rejected."""
        with Refused("InvalidInputException", 400):
            management.list_accounts(NextToken="invalid")

    def test_tags(self, aws: FakeAws, management: Any) -> None:
        """The tags of an account are listed."""
        aws.organization().add_account(PROD, tags={"env": "prod"})

        tags = management.list_tags_for_resource(ResourceId=PROD)["Tags"]

        assert tags == [{"Key": "env", "Value": "prod"}]

    def test_member_account(self, aws: FakeAws, management: Any) -> None:
        """A member may describe the organization, but not list its accounts unless delegated."""
        aws.organization().add_account(PROD)
        member = a_client(aws, "organizations", PROD)

        described = member.describe_organization()["Organization"]
        with Refused("AccessDeniedException", 400):
            member.list_accounts()
        aws.organization().delegates.add(PROD)

        assert described["MasterAccountId"] == MONITORING
        assert len(member.list_accounts()["Accounts"]) == 2

    def test_no_organization(self, aws: FakeAws) -> None:
        """Calls from an account outside of an organization fail."""
        with Refused("AWSOrganizationsNotInUseException", 400):
            a_client(aws, "organizations").describe_organization()

    def test_fault(self, aws: FakeAws, management: Any) -> None:
        """Faults apply to Organizations too, in its protocol."""
        aws.fault(Fault(code="TooManyRequestsException", times=1))

        with Refused("TooManyRequestsException", 400):
            management.list_accounts()

    def test_unknown_signer(self, aws: FakeAws) -> None:
        """Organizations has its own code for an unknown key id."""
        with Refused("UnrecognizedClientException", 400):
            signed_by(aws, "organizations", AccessKeyId="AKIAUNKNOWN234567234").list_accounts()
