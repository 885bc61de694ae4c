"""What to do about a key: the commands of the runbooks."""

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from exporter.report import FindingKind
from exporter.server import Step

RUNBOOKS: Final = (
    "https://github.com/aws-iam-key-exporter/aws-iam-key-exporter/blob/main/deploy/prometheus/"
    "runbooks/"
)

ALERTS: Final[Mapping[FindingKind, str]] = {
    FindingKind.ROOT_ACCESS_KEY: "AwsIamRootAccessKeyPresent",
    FindingKind.AWAKENED: "AwsIamAccessKeyAwakened",
    FindingKind.FIRST_USE: "AwsIamAccessKeyFirstUse",
    FindingKind.UNUSED: "AwsIamAccessKeyUnused",
    FindingKind.NEVER_USED: "AwsIamAccessKeyNeverUsed",
    FindingKind.UNKNOWN: "AwsIamExporterAccountDown",
    FindingKind.SUPERSEDED: "AwsIamAccessKeySafeToDelete",
    FindingKind.NOT_ROTATED: "AwsIamAccessKeyNotRotated",
    FindingKind.INACTIVE_NOT_DELETED: "AwsIamAccessKeyInactiveNotDeleted",
    FindingKind.TWO_ACTIVE_KEYS: "AwsIamUserHasTwoActiveKeys",
}
"""The alert, and so the runbook, for each finding."""

INVESTIGATED: Final = {FindingKind.AWAKENED, FindingKind.FIRST_USE}
"""Findings about a use: somebody may have stolen the key."""

IDLE: Final = {FindingKind.UNUSED, FindingKind.NEVER_USED, FindingKind.SUPERSEDED}
"""Findings about a key that nobody seems to need."""

HIDDEN_KEY: Final = '"$ACCESS_KEY_ID"'
HIDDEN_USER: Final = '"$USER_NAME"'
"""What takes the place of what is not shown."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    The key that commands are about.

    Attributes:
        key: Its id. Empty: it is not shown.
        user: Empty: the name is not shown.
        exemption_tag: The tag that exempts the keys of a user. Empty: none does.
    """

    account_id: str
    key: str
    user: str
    active: bool
    exemption_tag: str = ""

    @property
    def note(self) -> str:
        """How the commands have to be completed. Empty: they are complete."""
        hidden = [
            *(["USER_NAME to the name of the user"] if not self.user else []),
            *(["ACCESS_KEY_ID to the full ID, which list-access-keys prints"] * (not self.key)),
        ]
        return f"Set {' and '.join(hidden)}: this page does not show it." if hidden else ""


def runbook_of(kind: FindingKind) -> str:
    """Return the URL of the runbook for a finding."""
    return f"{RUNBOOKS}{ALERTS[kind]}.md"


def steps_of(target: Target, findings: Collection[FindingKind]) -> Iterator[Step]:
    """Yield what to do about a key with these findings, with commands for a shell."""
    user = _option("--user-name", target.user, HIDDEN_USER)
    key = _option("--access-key-id", target.key, HIDDEN_KEY)
    yield Step(
        f"Look at the key, with credentials of the account {target.account_id}.",
        (f"aws iam list-access-keys {user}", f"aws iam get-access-key-last-used {key}"),
    )
    if not findings:
        return
    if INVESTIGATED & set(findings):
        attribute = "AttributeKey=AccessKeyId,AttributeValue="
        value = shlex.quote(target.key) if target.key else HIDDEN_KEY
        yield Step(
            "See in CloudTrail what the key was used for, in each region in which it was used.",
            (f"aws cloudtrail lookup-events --lookup-attributes {attribute}{value}",),
        )
    update, delete = f"aws iam update-access-key {user} {key}", f"aws iam delete-access-key {user}"
    if FindingKind.NOT_ROTATED in findings and not IDLE & set(findings):
        yield Step(
            "Create a second key, and give it to whatever uses this one.",
            (f"aws iam create-access-key {user}",),
        )
    if target.active:
        yield Step(
            "Ask its owner whether the key is needed. If not, deactivate it, which can be undone.",
            (f"{update} --status Inactive",),
        )
        yield Step(
            "Watch for failures for two weeks. This is how to undo it:",
            (f"{update} --status Active",),
        )
    yield Step("Delete it for good.", (f"{delete} {key}",))
    if target.exemption_tag:
        tag = shlex.quote(f"Key={target.exemption_tag},Value=YYYY-MM-DD")
        yield Step(
            "If it has to stay as it is, exempt the keys of the user until a date. This requires"
            " that the exporter reads tags.",
            (f"aws iam tag-user {user} --tags {tag}",),
        )


def _option(name: str, value: str, hidden: str) -> str:
    """Write an option for a shell, which takes no value for another option."""
    separator = "=" if value.startswith("-") else " "
    return f"{name}{separator}{shlex.quote(value) if value else hidden}"
