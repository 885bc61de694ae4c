"""Why a role cannot be assumed, as far as AWS does not say, and how each cause is cured."""

from dataclasses import dataclass
from typing import Final

from exporter.cli.problems import Cure
from exporter.model import Account


@dataclass(frozen=True, slots=True)
class Settings:
    """The names of the settings that say which role is assumed, and how."""

    role: str = "role_arn"
    external_id: str = "external_id"
    chain: str = "role_chain"


OF_ORGANIZATION: Final = Settings(
    "organization.role_name", "organization.external_id", "organization.role_chain"
)
OF_DISCOVERY: Final = Settings(
    "organization.discovery_role_arn",
    "organization.discovery_external_id",
    "organization.role_chain",
)


@dataclass(frozen=True, slots=True)
class Causes:
    """The cures of what AWS does not tell apart."""

    role: Cure
    trust: Cure
    external_id: Cure
    permission: Cure


def causes_of(
    account: Account, role: str, us: str, settings: Settings, *, trust: str, exporter: str
) -> Causes:
    """
    Explain how each cause is cured.

    Args:
        role: The role that cannot be assumed: that of the account, or one on the way to it.
        us: Who cannot assume it.
        trust: The command that prints the trust policy.
        exporter: The command that prints the policy of the exporter's own identity.
    """
    in_chain = role in map(str, account.role_session.via)
    setting = settings.chain if in_chain else settings.role
    path = " (with its path, if it has one)" if ":assumed-role/" in us else ""
    if in_chain:
        external_id = (
            f"Required external ID: the exporter sends none to roles of {settings.chain}, so the"
            " trust policy must not have a condition on sts:ExternalId."
        )
    elif account.role_session.external_id:
        external_id = (
            f"Wrong external ID: {settings.external_id} must be what the trust policy requires"
            " in its condition on sts:ExternalId."
        )
    else:
        external_id = (
            "Missing external ID: if the trust policy has a condition on sts:ExternalId, set"
            f" {settings.external_id} to what it requires."
        )
    return Causes(
        role=Cure(
            f"Missing role: create it, with exactly this name and path, or correct {setting}. A"
            " StackSet creates none in the management account, and takes some minutes in a new"
            " account."
        ),
        trust=Cure(
            "Missing trust: the trust policy of the role must allow sts:AssumeRole to"
            f" {principal_of(us)}{path}:",
            trust,
        ),
        external_id=Cure(external_id),
        permission=Cure(
            f"Missing permission, although AWS mostly says so: allow {us} to assume the role:",
            exporter,
        ),
    )


def principal_of(arn: str) -> str:
    """Return what a trust policy can name: of a session, its role, whose path is unknown."""
    head, found, rest = arn.partition(":assumed-role/")
    if not found:
        return arn if arn.startswith("arn:") else "ARN"
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"
