"""
The policies are sufficient, and each of their actions is necessary.

ministack enforces them; the exporter refreshes an account and finds those of an organization.
"""

import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from time import monotonic
from typing import Final

import pytest
from botocore.exceptions import ClientError

from exporter.aws import AccountRefresher, AccountSessions, Clients, Endpoints, Operation
from exporter.aws.organizations import Discovery, Selection
from exporter.model import (
    Account,
    AccountSnapshot,
    Partition,
    ReadError,
    Reason,
    ReportMode,
    RoleArn,
    RoleSession,
    TagSource,
)
from exporter.policy import (
    Document,
    Features,
    Policy,
    discovery_policy,
    exporter_policy,
    needed,
    reader_policy,
    role_arn,
    trust_policy,
)
from tests.iam.ministack import as_ministack_checks, client, ministack, root_client, without

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.xdist_group("ministack")]

HOME, MEMBER = "111111111111", "222222222222"
"""The exporter's own account, which manages the organization, and one that it reads."""

ROLE, EXTERNAL_ID = "aws-iam-key-exporter", "the-external-id"
REPORT = ("iam:GenerateCredentialReport", "iam:GetCredentialReport")
READERS: Final = [
    Features(report_mode=mode, tag_source=source) for mode, source in product(ReportMode, TagSource)
]
DISCOVERIES: Final = [
    Features(ou_filters=units, account_tags=tags)
    for units, tags in product((False, True), (False, True))
]


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


@dataclass
class Aws:
    """
    Two accounts, and the exporter's identity in one of them.

    Attributes:
        exporter: The ARN of the exporter's user.
        unit: The organizational unit of the member account.
    """

    url: str
    exporter: str
    key: tuple[str, str]
    unit: str

    def allow_exporter(self, *documents: Document) -> None:
        """Replace the policies of the exporter's own identity."""
        iam = root_client(self.url, "iam", HOME)
        for policy in iam.list_user_policies(UserName="exporter")["PolicyNames"]:
            iam.delete_user_policy(UserName="exporter", PolicyName=policy)
        for number, document in enumerate(documents):
            if document["Statement"]:
                iam.put_user_policy(
                    UserName="exporter",
                    PolicyName=f"policy-{number}",
                    PolicyDocument=json.dumps(document),
                )

    def allow_reader(self, document: Document) -> None:
        """Replace the permissions of the role."""
        root_client(self.url, "iam", MEMBER).put_role_policy(
            RoleName=ROLE, PolicyName="policy", PolicyDocument=as_ministack_checks(document)
        )

    def trust(self, document: Document) -> None:
        """Replace the trust policy of the role."""
        root_client(self.url, "iam", MEMBER).update_assume_role_policy(
            RoleName=ROLE, PolicyDocument=json.dumps(document)
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with ministack() as url:
        yield set_up(url)


def set_up(url: str) -> Aws:
    home, member = (root_client(url, "iam", account) for account in (HOME, MEMBER))
    exporter = home.create_user(UserName="exporter")["User"]["Arn"]
    key = home.create_access_key(UserName="exporter")["AccessKey"]
    for name in ("alice", "bob"):
        member.create_user(UserName=name, Tags=[{"Key": "team", "Value": "payments"}])
        member.create_access_key(UserName=name)
    trust = json.dumps(trust_policy(Features(), exporter, EXTERNAL_ID))
    member.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)
    organizations = root_client(url, "organizations", HOME)
    (root,) = organizations.list_roots()["Roots"]
    parent = organizations.create_organizational_unit(ParentId=root["Id"], Name="workloads")
    parent_id = parent["OrganizationalUnit"]["Id"]
    unit = organizations.create_organizational_unit(ParentId=parent_id, Name="production")
    unit_id = unit["OrganizationalUnit"]["Id"]
    status = organizations.create_account(Email="prod@example.com", AccountName="prod")
    account_id = status["CreateAccountStatus"]["AccountId"]
    organizations.tag_resource(ResourceId=account_id, Tags=[{"Key": "team", "Value": "payments"}])
    organizations.move_account(
        AccountId=account_id, SourceParentId=root["Id"], DestinationParentId=unit_id
    )
    return Aws(url, exporter, (key["AccessKeyId"], key["SecretAccessKey"]), parent_id)


@pytest.fixture
def aws(server: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The accounts with all permissions, and the exporter's key where it finds it."""
    key, secret = server.key
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    server.allow_exporter(exporter_policy(Features(), [role_arn(ROLE, Partition.AWS)]))
    server.trust(trust_policy(Features(), server.exporter, EXTERNAL_ID))
    return server


@dataclass
class Outcome:
    """
    What came of a refresh.

    Attributes:
        codes: The error codes of each operation; empty for success.
    """

    snapshot: AccountSnapshot
    codes: dict[str, set[str]] = field(default_factory=dict)


def account(external_id: str | None = EXTERNAL_ID, role: str = ROLE) -> Account:
    arn = RoleArn(Partition.AWS, MEMBER, role)
    return Account(
        MEMBER,
        "prod",
        Partition.AWS,
        role_arn=arn,
        role_session=RoleSession(external_id=external_id),
    )


def sessions(aws: Aws, codes: dict[str, set[str]]) -> AccountSessions:
    urls = dict.fromkeys(("iam", "sts", "organizations"), aws.url)
    clients = Clients(
        Endpoints("us-east-1", urls),
        workers=1,
        observe=lambda operation, _, code: codes.setdefault(operation, set()).add(code),
        count_error=lambda operation, code: codes.setdefault(operation, set()).add(code),
        clock=RealClock(),
    )
    return AccountSessions(
        clients, requests_per_second=1000, burst=1000, stop=threading.Event(), clock=RealClock()
    )


def refresh(aws: Aws, features: Features, of: Account | None = None) -> Outcome:
    """Refresh the account once, as the exporter does at its start."""
    subject = of or account()
    codes: dict[str, set[str]] = {}
    refresher = AccountRefresher(
        sessions=sessions(aws, codes),
        interval=900,
        deadline=60,
        report_mode=features.report_mode,
        include_user=lambda name: True,
        tag_source=features.tag_source,
        keep_tag=lambda name: True,
        tags_interval=timedelta(hours=1),
        clock=RealClock(),
        rng=random.Random(1),
    )
    return Outcome(refresher.refresh(subject, AccountSnapshot(subject)), codes)


def name_of(features: Features) -> str:
    return f"{features.report_mode}-{features.tag_source}"


# The reader's policy.


@pytest.mark.parametrize("features", READERS, ids=name_of)
def test_the_reader_policy_is_sufficient(aws: Aws, features: Features) -> None:
    """With the policy of its features a refresh succeeds, and no request fails."""
    aws.allow_reader(reader_policy(features, Partition.AWS))

    outcome = refresh(aws, features)

    assert outcome.snapshot.failure is None, outcome.snapshot.error
    assert {code for codes in outcome.codes.values() for code in codes} == {""}
    assert [user.name for user in outcome.snapshot.users] == ["alice", "bob"]
    assert len(outcome.snapshot.keys) == 2
    assert outcome.snapshot.root is not None
    tags = () if features.tag_source is TagSource.OFF else (("team", "payments"),)
    assert {user.tags for user in outcome.snapshot.users} == {tags}


REMOVALS = [
    (features, permission.operation, permission.action)
    for features in READERS
    for permission in needed(features)
    if permission.policy is Policy.READER
]

WITHOUT_FAILURE = ("GenerateCredentialReport", "GetCredentialReport", "GetAccountSummary")
"""A refresh that may not call these goes on with less: it lists keys, or knows less of root."""

INSTEAD_OF_REPORT = [
    (ReportMode.AUTO, "GetAccountSummary"),
    (ReportMode.GUIDE, "GetAccountSummary"),
    (ReportMode.VALUES, "GetAccountSummary"),
    (ReportMode.VALUES, "GetAccessKeyLastUsed"),
]
"""What is only called where there is no report."""


@pytest.mark.parametrize(
    ("features", "operation", "action"),
    REMOVALS,
    ids=[f"{name_of(features)}-{operation}" for features, operation, _ in REMOVALS],
)
def test_each_action_of_the_reader_policy_is_necessary(
    aws: Aws, features: Features, operation: str, action: str
) -> None:
    """Without an action, AWS denies its operation, and no other."""
    policy = without(reader_policy(features, Partition.AWS), action)
    denied = {operation}
    if (features.report_mode, operation) in INSTEAD_OF_REPORT:
        policy = without(policy, *REPORT)
        denied.add("GenerateCredentialReport")
    aws.allow_reader(policy)

    outcome = refresh(aws, features)

    found = {name for name, codes in outcome.codes.items() if "AccessDenied" in codes}
    assert found == denied
    expected = None if operation in WITHOUT_FAILURE else Reason.ACCESS_DENIED
    assert outcome.snapshot.failure is expected
    if expected is not None:
        assert action in outcome.snapshot.error


# The trust policy, and the exporter's own.


def test_a_trusted_exporter_may_read(aws: Aws) -> None:
    """The printed trust policy lets the exporter in."""
    aws.allow_reader(reader_policy(Features(), Partition.AWS))

    assert refresh(aws, Features()).snapshot.failure is None


@pytest.mark.parametrize(
    "subject",
    [account("another-external-id"), account(None), account(role="no-such-role")],
    ids=["wrong external id", "no external id", "missing role"],
)
def test_a_role_that_does_not_let_the_exporter_in(aws: Aws, subject: Account) -> None:
    """Whatever is wrong with the role or the external id, it cannot be assumed."""
    outcome = refresh(aws, Features(), subject)

    assert outcome.snapshot.failure is Reason.ASSUME_ROLE
    assert outcome.codes == {"GetCallerIdentity": {""}, "AssumeRole": {"AccessDenied"}}


def test_a_role_that_trusts_somebody_else(aws: Aws) -> None:
    """Only the principal of the trust policy may assume the role."""
    aws.trust(trust_policy(Features(), f"arn:aws:iam::{HOME}:role/somebody", EXTERNAL_ID))

    assert refresh(aws, Features()).snapshot.failure is Reason.ASSUME_ROLE


def test_an_exporter_that_may_not_assume_roles(aws: Aws) -> None:
    """The exporter's own identity needs the permission as well."""
    policy = exporter_policy(Features(), [role_arn(ROLE, Partition.AWS)])
    aws.allow_exporter(without(policy, "sts:AssumeRole"))

    outcome = refresh(aws, Features())

    assert outcome.snapshot.failure is Reason.ASSUME_ROLE
    assert "sts:AssumeRole" in outcome.snapshot.error


def test_an_exporter_that_may_assume_other_roles_only(aws: Aws) -> None:
    """The exporter's policy allows the configured role, and no other."""
    aws.allow_exporter(exporter_policy(Features(), [role_arn("another-role", Partition.AWS)]))

    assert refresh(aws, Features()).snapshot.failure is Reason.ASSUME_ROLE


def assume_with_tags(aws: Aws) -> None:
    """Assume the role as a session of EKS Pod Identity does."""
    client(aws.url, "sts", *aws.key).assume_role(
        RoleArn=f"arn:aws:iam::{MEMBER}:role/{ROLE}",
        RoleSessionName="session",
        ExternalId=EXTERNAL_ID,
        Tags=[{"Key": "eks-cluster-arn", "Value": "cluster"}],
    )


def test_a_tagged_session_may_assume_the_role(aws: Aws) -> None:
    """The trust policy allows the session tags of EKS Pod Identity."""
    assume_with_tags(aws)


def test_a_tagged_session_needs_tag_session(aws: Aws) -> None:
    """Without TagSession in the trust policy, AssumeRole itself is allowed, and fails anyway."""
    aws.trust(without(trust_policy(Features(), aws.exporter, EXTERNAL_ID), "sts:TagSession"))

    with pytest.raises(ClientError, match="sts:TagSession"):
        assume_with_tags(aws)


# The discovery policy.


def discover(aws: Aws, features: Features) -> list[Account]:
    discovery = Discovery(
        sessions=sessions(aws, {}),
        role_name=ROLE,
        role_session=RoleSession(name="session", external_id=EXTERNAL_ID),
        caller=Account("", "organization", Partition.AWS),
        include=Selection(units=frozenset([aws.unit] if features.ou_filters else [])),
        exclude=Selection(),
        account_tags=("team",) if features.account_tags else (),
        deadline=60,
        clock=RealClock(),
        rng=random.Random(1),
    )
    return discovery.discover()


@pytest.mark.parametrize("features", DISCOVERIES, ids=str)
def test_the_discovery_policy_is_sufficient(aws: Aws, features: Features) -> None:
    """With the policy of its features, all accounts of the organization are found."""
    aws.allow_exporter(discovery_policy(features))

    found = discover(aws, features)

    names = {account.name for account in found}
    assert names == {"prod"} if features.ou_filters else names > {"prod"}
    tags = {account.name: account.tags for account in found}
    assert tags["prod"] == ((("team", "payments"),) if features.account_tags else ())


DISCOVERY_REMOVALS = [
    (features, permission.action)
    for features in DISCOVERIES
    for permission in needed(features)
    if permission.policy is Policy.DISCOVERY
]


@pytest.mark.parametrize(("features", "action"), DISCOVERY_REMOVALS, ids=str)
def test_each_action_of_the_discovery_policy_is_necessary(
    aws: Aws, features: Features, action: str
) -> None:
    """Without an action, discovery fails, and the error names the action."""
    aws.allow_exporter(without(discovery_policy(features), action))

    with pytest.raises(ReadError, match=action) as raised:
        discover(aws, features)
    assert raised.value.reason is Reason.ACCESS_DENIED


def test_every_operation_is_proven() -> None:
    """Each action of the reader and of discovery was removed once; the others have own tests."""
    proven = {operation for _, operation, _ in REMOVALS}
    proven |= {action.partition(":")[2] for _, action in DISCOVERY_REMOVALS}

    assert proven == {str(op) for op in Operation if op.service != "sts"}
