"""What is checked in an account, what it costs, and what AWS says about what it denies."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from exporter.aws import AccountCheck, AccountChecker, Denial, Identities, Outcome, parse_denial
from exporter.aws.probing import SAMPLE
from exporter.cli.diagnosis import Diagnosis
from exporter.model import (
    Account,
    Partition,
    Reason,
    ReportMode,
    RoleArn,
    RoleSession,
    TagSource,
)
from exporter.policy import Features, Policy, needed
from tests import fake_aws
from tests.builders import (
    PROD,
    TEST,
    FakeClock,
    FakeStop,
    FixedRandom,
    MonitoredAccount,
    a_role_account,
    add_key,
    add_users,
    an_account,
    before_answer,
    environment,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault

Check = Callable[..., AccountCheck]

FEATURES = [
    Features(report_mode=mode, tag_source=source) for mode, source in product(ReportMode, TagSource)
]


@pytest.fixture(autouse=True)
def prod(aws: FakeAws) -> Iterator[fake_aws.Account]:
    """PROD, called with credentials of its own."""
    account = aws.account(PROD)
    account.report.instant = True
    with environment(aws.environment(PROD)):
        yield account


@pytest.fixture
def check(aws: FakeAws, clock: FakeClock) -> Check:
    def check(account: Account | None = None, **options: Any) -> AccountCheck:
        return a_checker(aws, clock, **options).check(account or an_account())

    return check


def a_checker(
    aws: FakeAws, clock: FakeClock, *, rate: float = 5.0, burst: int = 10, **options: Any
) -> AccountChecker:
    sessions = some_sessions(
        aws.url, clock, requests_per_second=rate, burst=burst, stop=FakeStop(clock)
    )
    rng = FixedRandom(0.5)
    defaults: dict[str, Any] = {
        "interval": 900.0,
        "deadline": 3600.0,
        "report_mode": ReportMode.AUTO,
        "include_user": lambda name: True,
        "tag_source": TagSource.OFF,
    }
    return AccountChecker(
        **{**defaults, **options},
        sessions=sessions,
        clock=clock,
        rng=rng,
        identities=Identities(sessions, deadline=3600.0, clock=clock, rng=rng),
    )


def outcomes(check: AccountCheck) -> dict[str, Outcome]:
    return {str(probe.operation): probe.outcome for probe in check.probes}


def notes(check: AccountCheck) -> dict[str, str]:
    return {str(probe.operation): probe.note for probe in check.probes if probe.note}


def name_of(features: Features) -> str:
    return f"{features.report_mode}-{features.tag_source}"


def reader_operations(features: Features) -> list[str]:
    return [each.operation for each in needed(features) if each.policy is Policy.READER]


# -- permissions -------------------------------------------------------------------------------


@pytest.mark.parametrize("features", FEATURES, ids=name_of)
def test_what_the_policy_allows_is_checked(
    prod: fake_aws.Account, check: Check, features: Features
) -> None:
    """Exactly the operations are called that the policy of the enabled features allows."""
    add_key(prod)

    found = check(report_mode=features.report_mode, tag_source=features.tag_source)

    assert found.ok
    assert outcomes(found) == dict.fromkeys(reader_operations(features), Outcome.OK)


@pytest.mark.parametrize(
    ("features", "operation"),
    [(features, operation) for features in FEATURES for operation in reader_operations(features)],
    ids=lambda value: name_of(value) if isinstance(value, Features) else value,
)
def test_a_missing_permission_is_named(
    prod: fake_aws.Account, check: Check, features: Features, operation: str
) -> None:
    """Without an action, the check names that action, and the policy to add it to."""
    add_key(prod)
    prod.deny(f"iam:{operation}")

    found = check(report_mode=features.report_mode, tag_source=features.tag_source)

    [problem] = Diagnosis().of_account(found)
    assert (problem.action, problem.policy) == (f"iam:{operation}", Policy.READER)
    assert f"Add iam:{operation} to the permissions of" in problem.cures[0].text
    assert problem.cures[0].command == "aws-iam-key-exporter policy"


def test_an_account_without_users(check: Check) -> None:
    """Without users, nothing is wrong, but what is asked for users is not checked."""
    found = check(tag_source=TagSource.PER_USER)

    assert (found.ok, found.users) == (True, 0)
    assert notes(found) == {
        "ListAccessKeys": "the account has no users",
        "GetAccessKeyLastUsed": "no access key is known",
        "ListUserTags": "the account has no users",
    }


def test_users_without_keys(prod: fake_aws.Account, check: Check) -> None:
    """Without keys, asking for the last use of one is not checked."""
    add_users(prod, 3)

    assert notes(check()) == {"GetAccessKeyLastUsed": "no access key was found"}


def test_keys_that_cannot_be_listed(prod: fake_aws.Account, check: Check) -> None:
    """Without permission to list keys, no key is known to ask for."""
    add_key(prod)
    prod.deny("iam:ListAccessKeys")

    assert notes(check()) == {"GetAccessKeyLastUsed": "no access key is known"}


def test_a_key_that_is_deleted_meanwhile(
    aws: FakeAws, prod: fake_aws.Account, check: Check
) -> None:
    """AWS denies a deleted key; another one is asked for."""
    key, _ = add_key(prod), add_key(prod)

    with before_answer(aws, "GetAccessKeyLastUsed", key.delete):
        found = check()

    assert outcomes(found)["GetAccessKeyLastUsed"] is Outcome.OK
    assert aws.count("GetAccessKeyLastUsed") == 2


def test_a_user_that_is_deleted_meanwhile(
    aws: FakeAws, prod: fake_aws.Account, check: Check
) -> None:
    """A deleted user is no missing permission; another one is asked for."""
    add_key(prod, "alice")
    add_key(prod, "bob")
    alice = prod.users["alice"]

    with before_answer(aws, "ListAccessKeys", alice.delete):
        found = check(report_mode=ReportMode.OFF)

    assert found.ok
    assert outcomes(found)["ListAccessKeys"] is Outcome.OK


@pytest.mark.parametrize("code", ["ReportNotPresent", "ReportInProgress", "ReportExpired"])
def test_a_report_that_is_not_there_is_permitted(
    aws: FakeAws, prod: fake_aws.Account, check: Check, code: str
) -> None:
    """AWS says that there is no report to whoever may read it."""
    add_key(prod)
    aws.fault(Fault(operation="GetCredentialReport", code=code))

    assert set(outcomes(check()).values()) == {Outcome.OK}


def test_a_report_that_takes_long(prod: fake_aws.Account, check: Check) -> None:
    """Where AWS does not generate the report in time, keys are counted without it."""
    add_users(prod, 5, keys=3)
    prod.report.instant = False
    prod.report.delay = 600

    found = check()

    assert found.ok
    assert (found.keys and found.keys.total, found.users) == (3, 5)


def test_a_failure_is_not_a_missing_permission(
    aws: FakeAws, prod: fake_aws.Account, check: Check
) -> None:
    """A call that fails is a problem of its own, and no policy is to be changed."""
    add_key(prod)
    aws.fault(Fault(operation="GetAccountSummary", code="ServiceFailure"))

    [problem] = Diagnosis().of_account(check())

    assert (problem.summary, problem.policy) == ("GetAccountSummary failed", None)
    assert problem.cures[0].text == "AWS has an internal problem: check again later."


def test_a_crash_is_no_success(prod: fake_aws.Account, check: Check) -> None:
    """A bug costs the account its check, and is a problem."""
    add_users(prod, 1)

    found = check(include_user={}.__getitem__)

    assert found.failure is not None
    assert found.failure.reason is Reason.UNEXPECTED
    assert Diagnosis().of_account(found)[0].summary == "check crashed"


# -- users, keys and costs ---------------------------------------------------------------------


def test_keys_are_counted_from_the_report(
    aws: FakeAws, prod: fake_aws.Account, check: Check
) -> None:
    """With a report, all keys are counted with a single list of keys."""
    add_users(prod, 100, keys=70)
    for name in ("user-0000", "user-0001"):
        prod.users[name].keys[0].status = "Inactive"

    found = check()

    assert found.users == 100
    assert found.keys is not None
    assert (found.keys.total, found.keys.active, found.keys.exact) == (70, 68, True)
    assert aws.count("ListAccessKeys") == 1


def test_without_a_report_keys_are_estimated(
    aws: FakeAws, prod: fake_aws.Account, check: Check
) -> None:
    """Without a report, the keys of a sample of the users say about how many there are."""
    add_users(prod, 200, keys=100)

    found = check(report_mode=ReportMode.OFF)

    assert found.keys is not None
    assert (found.keys.total, found.keys.exact) == (100, False)
    assert aws.count("ListAccessKeys") == SAMPLE


def test_without_a_report_a_few_users_are_counted(prod: fake_aws.Account, check: Check) -> None:
    """The keys of no more users than the sample has are counted exactly."""
    add_users(prod, SAMPLE, keys=7)

    found = check(report_mode=ReportMode.OFF)

    assert found.keys is not None
    assert (found.keys.total, found.keys.exact) == (7, True)


def test_users_that_are_not_read_are_not_counted(prod: fake_aws.Account, check: Check) -> None:
    """Users that the configuration excludes are neither counted nor asked for."""
    add_users(prod, 10, keys=10)

    found = check(include_user=lambda name: name < "user-0004")

    assert (found.users, found.keys and found.keys.total) == (4, 4)


@pytest.mark.parametrize("mode", list(ReportMode))
@pytest.mark.parametrize("users", [0, 40, 300])
def test_the_cost_is_that_of_a_refresh(
    aws: FakeAws, clock: FakeClock, prod: fake_aws.Account, mode: ReportMode, users: int
) -> None:
    """The number of calls is exactly that of a regular refresh in the same mode."""
    add_users(prod, users, keys=users * 3 // 4)
    for user in list(prod.users.values())[: users // 10]:
        for key in user.keys:
            key.status = "Inactive"
    sessions = some_sessions(
        aws.url, clock, requests_per_second=5.0, burst=10, stop=FakeStop(clock)
    )
    monitored = MonitoredAccount(aws, clock, report_mode=mode, sessions=sessions)
    for _ in range(3):
        monitored.refresh()
        clock.advance(minutes=15)

    found = a_checker(aws, clock, report_mode=mode).check(an_account())

    assert found.cost is not None
    assert found.cost.calls == monitored.calls.total()


@pytest.mark.parametrize(("users", "mode"), [(224, ReportMode.OFF), (225, ReportMode.GUIDE)])
def test_auto_chooses_a_mode(
    prod: fake_aws.Account, check: Check, users: int, mode: ReportMode
) -> None:
    """Auto uses the report in accounts where a plain refresh takes more than 450 calls."""
    add_users(prod, users, keys=users)

    found = check()

    assert found.cost is not None
    assert found.cost.mode is mode


def test_the_duration_is_that_of_the_rate_limit(prod: fake_aws.Account, check: Check) -> None:
    """What the burst leaves takes its time at the configured rate, or that of the account."""
    add_users(prod, 30, keys=29)  # 1 + 30 + 29 calls

    found = check()
    slower = check(an_account(requests_per_second=2.0, burst=20))

    assert found.cost is not None
    assert slower.cost is not None
    assert (found.cost.seconds, slower.cost.seconds) == (10.0, 20.0)


@pytest.mark.parametrize(
    ("source", "calls"), [(TagSource.OFF, 0), (TagSource.BULK, 1), (TagSource.PER_USER, 5)]
)
def test_tags_cost_more(
    prod: fake_aws.Account, check: Check, source: TagSource, calls: int
) -> None:
    """Where tags are due, they take one call for all users, or one for each."""
    add_users(prod, 5)

    found = check(tag_source=source)

    assert found.cost is not None
    assert found.cost.tag_calls == calls


# -- identities --------------------------------------------------------------------------------


def test_identities(aws: FakeAws, check: Check) -> None:
    """Both identities are known: the one the exporter begins with, and the one of the role."""
    aws.account(TEST).role("reader")

    found = check(a_role_account(TEST, "reader"))

    assert found.base.arn == f"arn:aws:iam::{PROD}:user/monitoring"
    assert (
        found.identity
        == f"arn:aws:sts::{TEST}:assumed-role/reader/{found.account.role_session.name}"
    )


def test_the_base_identity_is_asked_for_once(aws: FakeAws, clock: FakeClock) -> None:
    """Accounts with the same base credentials share what is known of them."""
    for number in range(2, 8):
        aws.account(str(number) * 12).role("reader")
    checker = a_checker(aws, clock)

    for number in range(2, 8):
        checker.check(a_role_account(str(number) * 12, "reader", name=str(number)))

    assert aws.count("GetCallerIdentity", PROD) <= 3


def test_a_role_that_cannot_be_assumed(aws: FakeAws, check: Check) -> None:
    """The identity that tried to assume the role is known."""
    aws.account(TEST)

    found = check(a_role_account(TEST, "reader"))

    assert found.failure is not None
    assert (found.failure.reason, found.identity) == (Reason.ASSUME_ROLE, "")
    assert found.base.arn == f"arn:aws:iam::{PROD}:user/monitoring"
    assert not found.ok


def test_a_chain_of_roles_that_breaks(aws: FakeAws, check: Check) -> None:
    """The role of a chain that cannot be assumed is named, with the setting that has it."""
    aws.account(TEST).role("reader")
    via = (RoleArn(Partition.AWS, TEST, "hub"),)
    session = RoleSession(via=via, external_id="secret")

    found = check(a_role_account(TEST, "reader", role_session=session))

    [problem] = Diagnosis().of_account(found)
    assert f"The role {via[0]} cannot be assumed" in problem.text
    texts = [cure.text for cure in problem.cures]
    assert any("or correct role_chain." in text for text in texts)
    assert any("sends none to roles of role_chain" in text for text in texts)
    [trust] = [cure.command for cure in problem.cures if "--trust" in cure.command]
    assert trust.endswith(" --external-id=")


def test_an_account_that_is_configured_twice(aws: FakeAws, clock: FakeClock) -> None:
    """The second of two ways to the same account is a problem, as it is for the exporter."""
    checker = a_checker(aws, clock)
    checker.check(an_account("", "one"))

    found = checker.check(an_account("", "two"))

    [problem] = Diagnosis().of_account(found)
    assert problem.summary == "duplicate"
    assert "'one'" in problem.text


# -- what AWS says -----------------------------------------------------------------------------

USER = "arn:aws:iam::111111111111:user/x"
ROLE = "arn:aws:iam::222222222222:role/a/b"
SCP = "arn:aws:organizations::999999999999:policy/o-1/service_control_policy/p-1"


@pytest.mark.parametrize(
    ("said", "kind", "explicit", "policy"),
    [
        ("", "", False, ""),
        (" because no identity-based policy allows the {} action", "identity-based", False, ""),
        (" because no service control policy allows the {} action", "service control", False, ""),
        (" because no session policy allows the {} action", "session", False, ""),
        (
            " because no permissions boundary allows the {} action",
            "permissions boundary",
            False,
            "",
        ),
        (" because no role trust policy allows the {} action", "role trust", False, ""),
        (" with an explicit deny in an identity-based policy", "identity-based", True, ""),
        (" with an explicit deny in a service control policy", "service control", True, ""),
        (
            f" with an explicit deny in a service control policy: {SCP}",
            "service control",
            True,
            SCP,
        ),
        (
            f" with an explicit deny in a resource control policy: {SCP}.",
            "resource control",
            True,
            SCP,
        ),
        (" with an explicit deny in a permissions boundary", "permissions boundary", True, ""),
        (" with an explicit deny in the role trust policy", "role trust", True, ""),
    ],
)
@pytest.mark.parametrize(
    ("action", "resource"),
    [("iam:ListUsers", "*"), ("iam:ListUsers", ""), ("sts:TagSession", ROLE)],
)
def test_denials(
    action: str, resource: str, said: str, kind: str, explicit: bool, policy: str
) -> None:
    """AWS says which action is denied to whom, and mostly by which kind of policy."""
    what = f"{action} on resource: {resource}" if resource else action
    message = f"User: {USER} is not authorized to perform: {what}{said.format(action)}"

    found = parse_denial(f"Operation: AccessDenied: {message}")

    assert found == Denial(USER, action, resource, kind, explicit, policy)


def test_a_denial_that_says_nothing() -> None:
    """Other services' denials say nothing."""
    message = "ListAccounts: AccessDeniedException: You don't have permissions to access this"

    assert parse_denial(message) == Denial()


def test_commands_are_for_the_partition_of_the_account(aws: FakeAws, clock: FakeClock) -> None:
    """What has to be added is printed with ARNs of the account's partition."""
    china = f"{9:012}"
    aws.account(china, "aws-cn").deny("iam:ListUsers")
    with environment(aws.environment(china)):
        found = a_checker(aws, clock).check(an_account(china))

    [problem] = Diagnosis("config.yaml").of_account(found)
    assert problem.cures[0].command == (
        "aws-iam-key-exporter policy --partition=aws-cn --config.file=config.yaml"
    )
