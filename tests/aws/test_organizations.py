"""Which accounts an organization has, and which of them are read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.aws import Selection
from exporter.model import Account, Partition, ReadError, Reason, RoleArn, RoleSession
from tests.builders import PROD, FakeClock, a_discovery, an_account, environment, some_sessions
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.organizations import Organization

READER = "team/reader"
"""The role in every account."""

SESSION = RoleSession(name="exporter", external_id="secret")

Discover = Callable[..., list[Account]]


@pytest.fixture
def organization(aws: FakeAws) -> Organization:
    """An organization whose management account, PROD, is the one that calls."""
    return aws.organization(PROD)


@pytest.fixture
def discover(aws: FakeAws, clock: FakeClock) -> Discover:
    sessions = some_sessions(aws.url, clock)

    def discover(**options: Any) -> list[Account]:
        defaults: dict[str, Any] = {"role_name": READER, "role_session": SESSION}
        return a_discovery(sessions, clock, **{**defaults, **options}).discover()

    return discover


def ids(accounts: list[Account]) -> list[str]:
    return [account.id for account in accounts]


def add(organization: Organization, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        organization.add_account(f"{number:012}", f"account-{number}", **fields)


def error_of(discover: Discover, **options: Any) -> ReadError:
    with pytest.raises(ReadError) as caught:
        discover(**options)
    return caught.value


# -- which accounts ------------------------------------------------------------------------------


def test_a_member_is_read_with_the_role(organization: Organization, discover: Discover) -> None:
    """A member account is read with the role of that name in it."""
    organization.add_account("222222222222", "Staging")

    [_, member] = discover()

    assert member == Account(
        "222222222222",
        "Staging",
        role_arn=RoleArn(Partition.AWS, "222222222222", READER),
        role_session=SESSION,
        source="organization",
    )


def test_members_are_read_with_the_credentials_of_the_organization(
    aws: FakeAws, organization: Organization, discover: Discover, tmp_path: Path
) -> None:
    """The profile of the organization is also that with which each account is read."""
    add(organization, 2)
    key_id, secret = aws.credentials(PROD)
    file = tmp_path / "credentials"
    file.write_text(f"[audit]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n")
    variables = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "NO_PROXY": "127.0.0.1"}
    with environment(variables):
        accounts = discover(caller=an_account("", "organization", profile="audit"))

    assert [account.profile for account in accounts] == ["audit", "audit"]


def test_the_management_account_is_read_with_its_own_credentials(
    organization: Organization, discover: Discover
) -> None:
    """Credentials of the management account need no role there, where StackSets create none."""
    [management] = discover()

    assert (management.id, management.role_arn) == (PROD, None)
    assert management.role_session.external_id is None


def test_a_delegated_administrator_needs_a_role_in_the_management_account(
    aws: FakeAws, clock: FakeClock, discover: Discover
) -> None:
    """With credentials of another account, the management account is read with the role."""
    organization = aws.organization("999999999999")
    organization.add_account(PROD)
    organization.delegates.add(PROD)

    roles = {account.id: account.role_arn for account in discover()}

    assert roles["999999999999"] == RoleArn(Partition.AWS, "999999999999", READER)
    assert roles[PROD] == RoleArn(Partition.AWS, PROD, READER)


def test_only_active_accounts_are_read(organization: Organization, discover: Discover) -> None:
    """Accounts that are suspended, closed, or not activated yet are not read."""
    for number, state in enumerate(("SUSPENDED", "CLOSED", "PENDING_CLOSURE", "ACTIVE"), 2):
        add(organization, number, state=state)
    add(organization, 6, state="PENDING_ACTIVATION")

    assert ids(discover()) == [PROD, f"{5:012}"]


@pytest.mark.parametrize("member", ["with_state", "with_status"])
def test_state_or_status(organization: Organization, discover: Discover, member: str) -> None:
    """One of State and Status is enough."""
    setattr(organization, member, False)
    add(organization, 2, state="CLOSED")
    add(organization, 3)

    assert ids(discover()) == [PROD, f"{3:012}"]


def test_state_before_status(organization: Organization, discover: Discover) -> None:
    """Where State and the deprecated Status differ, State counts."""
    organization.add_account(f"{2:012}", state="CLOSED").status = "ACTIVE"
    organization.add_account(f"{3:012}", state="ACTIVE").status = "SUSPENDED"

    assert ids(discover()) == [PROD, f"{3:012}"]


def test_an_account_without_state_is_a_failure(
    organization: Organization, discover: Discover
) -> None:
    """Accounts that have neither State nor Status are not taken for closed ones."""
    organization.with_state = organization.with_status = False

    error = error_of(discover)

    assert error.reason is Reason.MALFORMED
    assert "neither State nor Status" in str(error)


def test_no_active_account_is_a_failure(organization: Organization, discover: Discover) -> None:
    """An organization whose accounts are all suspended is not taken for an empty one."""
    organization.members[PROD].state = "SUSPENDED"

    assert error_of(discover).reason is Reason.MALFORMED


def test_pages(organization: Organization, discover: Discover, aws: FakeAws) -> None:
    """Accounts are listed 20 a page."""
    add(organization, *range(1, 100))

    assert len(discover()) == 100
    assert aws.count("ListAccounts") == 5


def test_empty_pages(organization: Organization, discover: Discover) -> None:
    """Empty pages may come before others."""
    organization.empty_pages = 12
    add(organization, 2)

    assert len(discover()) == 2


# -- include and exclude -------------------------------------------------------------------------


@pytest.fixture
def company(organization: Organization) -> Organization:
    """Two units, one of them with another below it, and an account in each."""
    production = organization.unit("production")
    europe = organization.unit("europe", production)
    sandbox = organization.unit("sandbox")
    for number, name, parent, tags in (
        (2, "shop", production, {"env": "prod", "team": "web"}),
        (3, "shop-eu", europe, {"env": "prod"}),
        (4, "playground", sandbox, {"env": "test"}),
        (5, "untagged", organization.root, {}),
    ):
        organization.add_account(f"{number:012}", name, parent, tags=tags)
    return organization


def unit_named(organization: Organization, name: str) -> str:
    return next(unit.id for unit in organization.units.values() if unit.name == name)


def numbers(accounts: list[Account]) -> list[int]:
    """The accounts but the management account, as the numbers that their ids are."""
    return [int(account.id) for account in accounts if account.id != PROD]


@pytest.mark.parametrize("with_paths", [True, False])
@pytest.mark.parametrize(
    ("name", "expected"), [("production", [2, 3]), ("europe", [3]), ("Root", [2, 3, 4, 5])]
)
def test_a_unit_includes_all_below(
    company: Organization, discover: Discover, name: str, expected: list[int], with_paths: bool
) -> None:
    """A unit stands for all units below it, with and without the paths of accounts."""
    company.with_state = with_paths
    units = frozenset({unit_named(company, name)})

    assert numbers(discover(include=Selection(units=units))) == expected


def test_paths_spare_calls(company: Organization, discover: Discover, aws: FakeAws) -> None:
    """Where AWS returns paths, units are not walked."""
    units = frozenset({unit_named(company, "production")})

    discover(include=Selection(units=units))

    assert aws.count("ListAccountsForParent") == 0


@pytest.mark.parametrize(
    ("selection", "included"),
    [
        (Selection(ids=frozenset({f"{2:012}", f"{5:012}"})), [2, 5]),
        (Selection(names=("shop.*",)), [2, 3]),
        (Selection(names=("shop",)), [2]),
        (Selection(tags={"env": ("prod",)}), [2, 3]),
        (Selection(tags={"env": ("pr.*", "test")}), [2, 3, 4]),
        (Selection(tags={"env": ("prod",), "team": (".*",)}), [2]),
        (Selection(names=("shop.*",), tags={"env": ("prod",), "team": (".*",)}), [2]),
    ],
)
def test_include(
    company: Organization, discover: Discover, selection: Selection, included: list[int]
) -> None:
    """An account is read if it meets one criterion of every kind."""
    assert numbers(discover(include=selection)) == included


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(ids=frozenset({f"{2:012}"})), [3, 4, 5]),
        (Selection(names=("shop.*",), tags={"env": ("test",)}), [5]),
    ],
)
def test_exclude(
    company: Organization, discover: Discover, selection: Selection, left: list[int]
) -> None:
    """An account is not read if it meets any criterion."""
    assert numbers(discover(exclude=selection)) == left


def test_exclude_takes_precedence(company: Organization, discover: Discover) -> None:
    """An account that is both included and excluded is not read."""
    both = Selection(names=("shop.*",))

    error = error_of(discover, include=both, exclude=both)

    assert "organization.include and exclude" in str(error)


def test_tags_become_part_of_the_account(company: Organization, discover: Discover) -> None:
    """Only the allowed tags of an account are kept."""
    accounts = {account.id: account.tags for account in discover(account_tags=("team",))}

    assert accounts[f"{2:012}"] == (("team", "web"),)
    assert accounts[f"{3:012}"] == ()


def test_tags_that_accounts_are_chosen_by_are_not_kept(
    company: Organization, discover: Discover
) -> None:
    """A tag that only include names does not become part of the account."""
    include = Selection(tags={"env": ("prod",)})

    accounts = discover(account_tags=("team",), include=include)

    assert [account.tags for account in accounts] == [(("team", "web"),), ()]


def test_tags_are_read_only_if_they_matter(
    company: Organization, discover: Discover, aws: FakeAws
) -> None:
    """Without tags in the configuration there is no call per account."""
    discover()

    assert aws.count("ListTagsForResource") == 0


# -- failures ------------------------------------------------------------------------------------


def test_others_may_not_ask(aws: FakeAws, discover: Discover) -> None:
    """An account that is neither management account nor delegated administrator is denied."""
    aws.organization("999999999999").add_account(PROD)

    assert error_of(discover).reason is Reason.ACCESS_DENIED


def test_throttling_is_retried(
    organization: Organization, discover: Discover, aws: FakeAws
) -> None:
    """Organizations throttles early: requests are repeated."""
    aws.fault(Fault(operation="ListAccounts", code="TooManyRequestsException", times=3))

    assert ids(discover()) == [PROD]


def test_a_discovery_role(aws: FakeAws, discover: Discover) -> None:
    """Organizations may be asked with a role, in an account that is allowed to."""
    aws.organization("999999999999").add_account(PROD)
    role = aws.account("999999999999").role("discovery")
    arn = RoleArn(Partition.AWS, "999999999999", "discovery")
    caller = an_account("999999999999", "organization", role_arn=arn)
    assert role

    accounts = {account.id: account for account in discover(caller=caller)}

    # The base credentials are those of another account: the management account needs the role.
    assert accounts["999999999999"].role_arn is not None
    assert accounts[PROD].role_arn is not None


def test_discovery_does_not_claim_its_account(
    organization: Organization, discover: Discover, aws: FakeAws, clock: FakeClock
) -> None:
    """The account that asks Organizations can be read itself."""
    sessions = some_sessions(aws.url, clock)

    [management] = a_discovery(sessions, clock).discover()

    assert sessions.get(management) is not None
