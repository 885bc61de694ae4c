"""STS's operations, from parameters to the content of the XML result."""

from typing import Final

from .accounts import World
from .identity import Caller, Credentials
from .refusal import Refusal
from .wire import Params, constraint, element, integer

SHORTEST: Final = 900
LONGEST: Final = 43200
LONGEST_CHAINED: Final = 3600


def get_caller_identity(caller: Caller) -> str:
    return (
        element("Arn", caller.arn)
        + element("UserId", caller.user_id)
        + element("Account", caller.account.id)
    )


def get_access_key_info(world: World, params: Params) -> str:
    """The account of any key of any account."""
    key = world.keys.get(params.get("AccessKeyId", ""))
    if key is None:
        raise Refusal("ValidationError", "Access key not found")
    return element("Account", key.user.account.id)


def assume_role(world: World, credentials: Credentials, caller: Caller, params: Params) -> str:
    """
    Issue credentials of a session.

    A missing role, another partition, missing trust and a wrong external id all give the same
    AccessDenied.
    """
    arn = params.get("RoleArn", "")
    name = params.get("RoleSessionName", "")
    if not 2 <= len(name) <= 64:
        raise constraint(name, "roleSessionName", "have length between 2 and 64")
    seconds = integer(params, "DurationSeconds", 3600)
    if seconds < SHORTEST:
        raise constraint(
            seconds, "durationSeconds", f"have value greater than or equal to {SHORTEST}"
        )
    if seconds > LONGEST:
        raise constraint(seconds, "durationSeconds", f"have value less than or equal to {LONGEST}")

    account = world.accounts.get(account_of(arn))
    role = account.roles.get(arn.rpartition("/")[2]) if account else None
    if (
        role is None
        or role.arn != arn
        or not role.trusts_caller(caller.account.id, params.get("ExternalId"))
    ):
        raise denial(caller, arn)
    if not role.allows_tags and (caller.tagged or "Tags.member.1.Key" in params):
        raise denial(caller, arn, "sts:TagSession")
    if caller.role is not None and seconds > LONGEST_CHAINED:
        raise Refusal(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining",
        )
    if seconds > role.max_seconds:
        raise Refusal(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        )

    session = credentials.session(role, name, seconds=seconds, tagged=caller.tagged)
    return (
        f"<AssumedRoleUser>{element('AssumedRoleId', session.user_id)}"
        f"{element('Arn', session.arn)}</AssumedRoleUser>"
        f"<Credentials>{element('AccessKeyId', session.key_id)}"
        f"{element('SecretAccessKey', session.secret)}{element('SessionToken', session.token)}"
        f"{element('Expiration', session.expires)}</Credentials>"
    )


def account_of(arn: str) -> str:
    """The account id in an ARN, or ""."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 5 else ""


def denial(caller: Caller, arn: str, action: str = "sts:AssumeRole") -> Refusal:
    return Refusal(
        "AccessDenied",
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {arn}",
    )
