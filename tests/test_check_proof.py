"""
With any single permission removed, check names the action that is missing, and the account.

ministack enforces the policies.
"""

from collections.abc import Iterator
from itertools import product

import pytest

from exporter.cli.check import check
from exporter.cli.check_page import Checked
from exporter.cli.flags import parse_flags
from exporter.cli.problems import Problem
from exporter.cli.wiring import SystemClock
from exporter.config import parse
from exporter.model import Partition, ReportMode, TagSource
from exporter.policy import (
    Features,
    Policy,
    discovery_policy,
    exporter_policy,
    needed,
    reader_policy,
    role_arn,
    trust_policy,
)
from tests.iam.ministack import ministack, without
from tests.test_policy_proof import EXTERNAL_ID, HOME, MEMBER, ROLE, Aws, set_up

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.xdist_group("ministack")]

READERS = [
    Features(report_mode=mode, tag_source=source) for mode, source in product(ReportMode, TagSource)
]
ROLES = [role_arn(ROLE, Partition.AWS)]


@pytest.fixture(scope="module")
def server() -> Iterator[Aws]:
    with ministack() as url:
        yield set_up(url)


@pytest.fixture
def aws(server: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The accounts with all permissions, and the exporter's key where it finds it."""
    key, secret = server.key
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    server.allow_exporter(exporter_policy(Features(), ROLES))
    server.trust(trust_policy(Features(), server.exporter, EXTERNAL_ID))
    server.allow_reader(reader_policy(Features(), Partition.AWS))
    return server


def run(aws: Aws, text: str, features: Features | None = None) -> Checked:
    features = features or Features()
    collection = (
        f"credential_report: {features.report_mode}, user_tags: {features.tag_source},"
        " requests_per_second: 500, burst: 500"
    )
    urls = ", ".join(f"{service}: '{aws.url}'" for service in ("iam", "sts", "organizations"))
    more = (
        f"\ncollection: {{{collection}}}\naws: {{region: us-east-1, endpoint_urls: {{{urls}}}}}\n"
    )
    query = parse_flags(["check"], {}).check
    assert query is not None
    return check(query, parse(text + more, "test"), SystemClock(), config_file="config.yaml")


def member(more: str = "", *, role: str = ROLE, external_id: str = EXTERNAL_ID) -> str:
    """The configuration of one account."""
    arn = f"arn:aws:iam::{MEMBER}:role/{role}"
    return f"accounts: [{{name: prod, role_arn: '{arn}', external_id: {external_id}{more}}}]"


def problem_of(found: Checked) -> Problem:
    [account] = found.accounts
    assert account.check.account.id == MEMBER
    [problem] = account.problems
    return problem


def name_of(features: Features) -> str:
    return f"{features.report_mode}-{features.tag_source}"


@pytest.mark.parametrize("features", READERS, ids=name_of)
def test_nothing_is_wrong_with_the_printed_policy(aws: Aws, features: Features) -> None:
    """With the policy of its features, check finds nothing wrong, and checks everything."""
    aws.allow_reader(reader_policy(features, Partition.AWS))

    found = run(aws, member(), features)

    [account] = found.accounts
    assert found.ok, account.problems
    assert account.notes == ()
    assert account.check.keys is not None
    assert (account.check.users, account.check.keys.total) == (2, 2)


@pytest.mark.parametrize(
    ("features", "action"),
    [
        (features, permission.action)
        for features in READERS
        for permission in needed(features)
        if permission.policy is Policy.READER
    ],
    ids=lambda value: name_of(value) if isinstance(value, Features) else value,
)
def test_a_missing_action_is_named(aws: Aws, features: Features, action: str) -> None:
    """With any action of the reader policy removed, check names it, and the account."""
    aws.allow_reader(without(reader_policy(features, Partition.AWS), action))

    problem = problem_of(run(aws, member(), features))

    assert (problem.action, problem.policy) == (action, Policy.READER)
    assert f"arn:aws:iam::{MEMBER}:role/{ROLE}" in problem.text


@pytest.mark.parametrize(
    ("action", "policy", "summary"),
    [
        ("sts:AssumeRole", Policy.EXPORTER, "may not assume role"),
        ("sts:AssumeRole", Policy.TRUST, "cannot assume role"),
        ("sts:TagSession", Policy.TRUST, "no TagSession"),
    ],
)
def test_a_role_that_cannot_be_assumed(aws: Aws, action: str, policy: Policy, summary: str) -> None:
    """With any action removed that assuming a role takes, check says so."""
    if policy is Policy.EXPORTER:
        aws.allow_exporter(without(exporter_policy(Features(), ROLES), action))
    else:
        aws.trust(without(trust_policy(Features(), aws.exporter, EXTERNAL_ID), action))

    problem = problem_of(run(aws, member(", session_tags: {cluster: a}")))

    assert (problem.action, problem.policy, problem.summary) == (action, policy, summary)


@pytest.mark.parametrize(
    "text", [member(external_id="another-id"), member(role="none")], ids=["external id", "role"]
)
def test_what_aws_does_not_tell_apart(aws: Aws, text: str) -> None:
    """A wrong external ID and a missing role have the same cures, the most likely one first."""
    aws.allow_exporter(exporter_policy(Features(), [role_arn("*", Partition.AWS)]))

    problem = problem_of(run(aws, text))

    heads = [cure.text.partition(":")[0] for cure in problem.cures]
    assert heads[:3] == ["Wrong external ID", "Missing trust", "Missing role"]


@pytest.mark.parametrize(
    ("features", "action"),
    [
        (features, permission.action)
        for features in (
            Features(),
            Features(account_tags=True),
        )
        for permission in needed(features)
        if permission.policy is Policy.DISCOVERY
    ],
)
def test_a_missing_action_of_discovery_is_named(aws: Aws, features: Features, action: str) -> None:
    """With any action of the discovery policy removed, check names it, and the identity."""
    aws.allow_exporter(
        without(discovery_policy(features), action), exporter_policy(features, ROLES)
    )
    tags = "\nlabels: {account_tags: [team]}" if features.account_tags else ""

    found = run(aws, f"organization: {{role_name: {ROLE}, external_id: {EXTERNAL_ID}}}{tags}")

    assert found.discovery is not None
    problem = found.discovery.problem
    assert problem is not None
    assert (problem.action, problem.policy) == (action, Policy.DISCOVERY)
    assert f"identity arn:aws:iam::{HOME}:user/exporter" in problem.text
