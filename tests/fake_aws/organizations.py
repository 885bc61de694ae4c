"""AWS Organizations: a tree of organizational units and accounts, and the calls that read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from .refusal import Refusal
from .wire import Params, from_marker, to_marker

LARGEST_PAGE: Final = 20
ORGANIZATION_ID: Final = "o-exampleorg1"
ROOT_ID: Final = "r-ab12"
STATUS_OF_STATE: Final = {
    "ACTIVE": "ACTIVE",
    "SUSPENDED": "SUSPENDED",
    "CLOSED": "SUSPENDED",
    "PENDING_CLOSURE": "PENDING_CLOSURE",
}
"""Status, which State replaces, by State; an account pending activation has no Status."""


@dataclass(eq=False)
class Unit:
    """An organizational unit, or the root: then *parent* is None."""

    id: str
    name: str
    parent: "Unit | None"

    @property
    def path(self) -> str:
        return f"{self.parent.path if self.parent else f'{ORGANIZATION_ID}/'}{self.id}/"


@dataclass(eq=False)
class Member:
    """
    An account of the organization. Its attributes may be changed.

    Attributes:
        state: PENDING_ACTIVATION, ACTIVE, SUSPENDED, PENDING_CLOSURE or CLOSED.
        status: The deprecated Status. Empty: the one that belongs to the state.
    """

    id: str
    name: str
    parent: Unit
    state: str = "ACTIVE"
    tags: dict[str, str] = field(default_factory=dict)
    status: str = ""


class Organization:
    """
    One organization, with its management account in the root.

    Attributes:
        members: By account id, in the order in which they joined.
        delegates: Ids of the delegated administrators, which may read the organization.
        with_status: Return the deprecated Status.
        with_state: Return State, which replaces Status, and Paths.
        empty_pages: Begin each list with so many empty pages that have a NextToken.
    """

    def __init__(self, management: str, *, partition: str, joined: datetime) -> None:
        self.management = management
        self.root = Unit(ROOT_ID, "Root", None)
        self.units: dict[str, Unit] = {ROOT_ID: self.root}
        self.members: dict[str, Member] = {}
        self.delegates: set[str] = set()
        self.with_status = True
        self.with_state = True
        self.empty_pages = 0
        self._partition = partition
        self._joined = joined
        self.add_account(management, name="management")

    def unit(self, name: str, parent: Unit | None = None) -> Unit:
        """Create an organizational unit, below the root by default."""
        id = f"ou-{ROOT_ID[2:]}-{len(self.units):08}"
        unit = self.units[id] = Unit(id, name, parent or self.root)
        return unit

    def add_account(
        self,
        id: str,
        name: str | None = None,
        parent: Unit | None = None,
        state: str = "ACTIVE",
        tags: Mapping[str, str] | None = None,
    ) -> Member:
        """Add an account, below the root by default."""
        member = Member(id, name or f"account {id}", parent or self.root, state, dict(tags or {}))
        self.members[id] = member
        return member

    def answer(self, operation: str, params: Params, caller: str) -> dict[str, Any]:
        """The result of *operation*, called from an account of the organization."""
        if operation != "DescribeOrganization" and caller not in {self.management, *self.delegates}:
            raise Refusal(
                "AccessDeniedException", "You don't have permissions to access this resource."
            )
        match operation:
            case "DescribeOrganization":
                return {"Organization": self._description()}
            case "ListRoots":
                root = {"Id": ROOT_ID, "Arn": self._arn("root", ROOT_ID), "Name": "Root"}
                return self._page("Roots", [root | {"PolicyTypes": []}], params)
            case "ListAccounts":
                return self._page("Accounts", [*map(self._account, self.members.values())], params)
            case "DescribeAccount":
                return {"Account": self._account(self._member(params.get("AccountId", "")))}
            case "ListAccountsForParent":
                parent = self._parent(params)
                children = [each for each in self.members.values() if each.parent is parent]
                return self._page("Accounts", [*map(self._account, children)], params)
            case "ListOrganizationalUnitsForParent":
                parent = self._parent(params)
                units = [self._unit(each) for each in self.units.values() if each.parent is parent]
                return self._page("OrganizationalUnits", units, params)
            case "ListTagsForResource":
                return self._page("Tags", self._tags(params.get("ResourceId", "")), params, 50)
        raise Refusal("UnknownOperationException", operation)

    def _arn(self, kind: str, id: str) -> str:
        return (
            f"arn:{self._partition}:organizations::{self.management}"
            f":{kind}/{ORGANIZATION_ID}/{id}".removesuffix(f"/{ORGANIZATION_ID}")
        )

    def _description(self) -> dict[str, Any]:
        return {
            "Id": ORGANIZATION_ID,
            "Arn": self._arn("organization", ORGANIZATION_ID),
            "FeatureSet": "ALL",
            "MasterAccountArn": self._arn("account", self.management),
            "MasterAccountId": self.management,
            "MasterAccountEmail": f"{self.management}@example.com",
            "AvailablePolicyTypes": [],
        }

    def _account(self, member: Member) -> dict[str, Any]:
        account: dict[str, Any] = {
            "Id": member.id,
            "Arn": self._arn("account", member.id),
            "Email": f"{member.id}@example.com",
            "Name": member.name,
            "JoinedMethod": "CREATED",
            "JoinedTimestamp": self._joined.timestamp(),
        }
        if self.with_state:
            account |= {"State": member.state, "Paths": [f"{member.parent.path}{member.id}/"]}
        if self.with_status and (status := member.status or STATUS_OF_STATE.get(member.state)):
            account["Status"] = status
        return account

    def _unit(self, unit: Unit) -> dict[str, Any]:
        return {
            "Id": unit.id,
            "Arn": self._arn("ou", unit.id),
            "Name": unit.name,
            "Path": unit.path,
        }

    def _member(self, id: str) -> Member:
        if id not in self.members:
            raise Refusal(
                "AccountNotFoundException", "You specified an account that doesn't exist."
            )
        return self.members[id]

    def _parent(self, params: Params) -> Unit:
        unit = self.units.get(params.get("ParentId", ""))
        if unit is None:
            raise Refusal("ParentNotFoundException", "You specified parent that doesn't exist.")
        return unit

    def _tags(self, id: str) -> list[dict[str, str]]:
        if id in self.members:
            return [{"Key": key, "Value": value} for key, value in self.members[id].tags.items()]
        if id in self.units:
            return []
        raise Refusal("TargetNotFoundException", "You specified a target that doesn't exist.")

    def _page(
        self, name: str, items: Sequence[Any], params: Params, largest: int = LARGEST_PAGE
    ) -> dict[str, Any]:
        size = params.get("MaxResults", largest)
        if not 1 <= size <= largest:
            raise Refusal(
                "InvalidInputException",
                f"You specified an invalid value for MaxResults: must be between 1 and {largest}",
            )
        scope = f"{name}/{params.get('ParentId')}/{params.get('ResourceId')}"
        start = -self.empty_pages
        if token := params.get("NextToken"):
            try:
                start = int(from_marker(token, scope))
            except Refusal:
                raise Refusal(
                    "InvalidInputException", "You provided a NextToken that is not valid."
                ) from None
        end = start + 1 if start < 0 else min(start + size, len(items))
        answer: dict[str, Any] = {name: [*items[start:end]] if start >= 0 else []}
        if end < len(items):
            answer["NextToken"] = to_marker(str(end), scope)
        return answer
