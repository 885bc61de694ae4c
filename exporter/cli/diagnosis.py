"""What is wrong with an account, or with discovery, and what to change in which policy."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from exporter.aws import AccountCheck, Denial, Identity, Outcome, Probe, parse_denial
from exporter.cli.flags import NAME
from exporter.model import Account, ReadError, Reason
from exporter.policy import PERMISSIONS, Permission, Policy

ORGANIZATION: Final = frozenset({"service control", "resource control"})
"""Kinds of policies that are attached to an organization, not to an account."""

NOT_AN_ADMINISTRATOR: Final = "You don't have permissions to access this resource"
"""What Organizations answers to accounts other than the management account and delegates."""

SESSION_ACTIONS: Final = {
    "sts:TagSession": "the exporter's session has tags that go along to every role, as those of EKS"
    " Pod Identity do, or session_tags are configured",
    "sts:SetSourceIdentity": "source_identity is configured",
}
"""Actions that AssumeRole requires in addition, and when."""

FLAGS_OF: Final = {
    Policy.READER: "",
    Policy.TRUST: " --trust",
    Policy.EXPORTER: " --exporter",
    Policy.DISCOVERY: " --discovery",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """
    Something that is wrong.

    Attributes:
        summary: A few words, for a table.
        text: A sentence.
        error: What AWS, or botocore, says.
        cures: What to do; several: one of them, the most likely first.
        action: The action that is not allowed. Empty: it is something else.
        policy: Where the action has to be allowed. None: in no policy that the exporter prints.
    """

    summary: str
    text: str
    error: str
    cures: tuple[str, ...]
    action: str = ""
    policy: Policy | None = None


class Diagnosis:
    """
    Explains failures.

    Args:
        config_file: The configuration. Empty: there is none.
        assumed: Accounts whose roles could be assumed.
    """

    def __init__(self, config_file: str = "", assumed: Iterable[Account] = ()) -> None:
        self._arguments = f" --config.file={shlex.quote(config_file)}" if config_file else ""
        self._proven = {(account.profile, account.role_session) for account in assumed}

    def problems(self, check: AccountCheck) -> list[Problem]:
        """List what is wrong with an account."""
        if check.failure is not None:
            return [self._of_sign_in(check.account, check.base, check.failure)]
        return [
            self._of_probe(check, probe, probe.error)
            for probe in check.probes
            if probe.outcome in (Outcome.DENIED, Outcome.FAILED) and probe.error is not None
        ]

    def of_discovery(self, caller: Account, base: Identity, error: ReadError) -> Problem:
        """Explain why the accounts of an organization cannot be listed."""
        denial = parse_denial(str(error))
        if error.reason is Reason.ASSUME_ROLE or error.reason in _OF_CREDENTIALS:
            return self._of_sign_in(caller, base, error)
        if error.code == "AWSOrganizationsNotInUseException":
            cure = (
                "Use credentials of the organization's management account or of a delegated"
                " administrator, or set organization.discovery_role_arn to a role there."
            )
            text = "The account that asks AWS Organizations is in no organization."
            return Problem("no organization", text, str(error), (cure,))
        if error.reason is not Reason.ACCESS_DENIED:
            return _general("discovery failed", "The accounts cannot be listed.", error)
        if not denial.action and NOT_AN_ADMINISTRATOR in str(error):
            text = (
                "AWS Organizations was asked from an account that is neither the organization's"
                " management account nor that of a delegated administrator."
            )
            role = (
                "Set organization.discovery_role_arn to a role in the management account, or in"
                " that of a delegated administrator of any service, which trusts the exporter and"
                f" has the discovery policy ({self._policy(Policy.DISCOVERY)})."
            )
            credentials = "Run the exporter with credentials of one of these accounts."
            delegate = (
                "In the management account, make this account a delegated administrator: aws"
                " organizations register-delegated-administrator."
            )
            cures = (role, credentials, delegate)
            return Problem("not an administrator", text, str(error), cures)
        where = f"role {caller.role_arn}" if caller.role_arn else f"identity {base.arn}"
        return self._of_denial(error, denial, where, _permission(denial.action))

    # -- signing in ----------------------------------------------------------------------------

    def _of_sign_in(self, account: Account, base: Identity, error: ReadError) -> Problem:
        if error.reason is Reason.ASSUME_ROLE:
            return self._of_assume_role(account, base, error)
        if error.reason is Reason.WRONG_ACCOUNT:
            return _wrong_account(account, error)
        if error.reason is Reason.CREDENTIALS:
            return _credentials(account, error)
        if "MaxSessionDuration" in str(error) or "1 hour session limit" in str(error):
            cure = "Lower session_duration, or raise the maximum session duration of the role."
            text = f"The role {account.role_arn} allows no session that is so long."
            return Problem("session too long", text, str(error), (cure,))
        if error.code == "PackedPolicyTooLarge":
            cure = (
                "Configure fewer or shorter session_tags; with EKS Pod Identity, set"
                " disableSessionTags in the pod identity association."
            )
            return Problem("tags too large", "The session has too many tags.", str(error), (cure,))
        return _general("no access", "The exporter cannot sign in.", error)

    def _of_assume_role(self, account: Account, base: Identity, error: ReadError) -> Problem:
        denial = parse_denial(str(error))
        role = denial.resource or str(account.role_arn)
        us = denial.caller or base.arn or "the exporter's identity"
        if denial.explicit:
            return self._of_explicit_deny(error, denial, us)
        if denial.action in SESSION_ACTIONS:
            return self._of_session_action(error, denial, role, us)
        if denial.kind in ("identity-based", "permissions boundary", "session"):
            cure = (
                f"Allow {denial.action} on {role} in the {denial.kind} policy of {us}"
                f" ({self._policy(Policy.EXPORTER)})."
            )
            text = f"The identity {us} is not allowed to assume the role {role}."
            found = "may not assume roles"
            return Problem(found, text, str(error), (cure,), denial.action, Policy.EXPORTER)
        return self._of_trust(account, error, denial, role, us)

    def _of_session_action(self, error: ReadError, denial: Denial, role: str, us: str) -> Problem:
        action = denial.action
        condition = (
            "If the trust policy allows it on the condition of an external ID: compare that with"
            " the configured external_id. AWS names this action also where it is the external ID"
            " that is wrong."
        )
        off = (
            "With EKS Pod Identity, session tags can be switched off instead: set"
            " disableSessionTags of the pod identity association."
        )
        cures = (
            f"Allow {action} in the trust policy of {role} ({self._policy(Policy.TRUST, us)}).",
            f"Allow {action} on the role in the policy of {us} ({self._policy(Policy.EXPORTER)}).",
            condition,
            *([off] if action == "sts:TagSession" else []),
        )
        text = (
            f"The role {role} cannot be assumed, since its trust policy lacks {action}:"
            f" {SESSION_ACTIONS[action]}."
        )
        found = f"no {action.partition(':')[2]}"
        return Problem(found, text, str(error), cures, action, Policy.TRUST)

    def _of_trust(
        self, account: Account, error: ReadError, denial: Denial, role: str, us: str
    ) -> Problem:
        session = account.role_session
        missing = (
            f"Missing role: create {role}, with its path if it has one, or correct"
            f" {_setting(account, 'role_arn')}. A StackSet does not create it in the management"
            " account, and in a new account only after some minutes."
        )
        condition = (
            "Wrong external ID: the trust policy must have the configured"
            f" {_setting(account, 'external_id')} in its condition on sts:ExternalId."
            if session.external_id
            else "Missing external ID: if the trust policy has a condition on sts:ExternalId, set"
            f" {_setting(account, 'external_id')}."
        )
        principal = (
            f"Missing trust: the trust policy must allow sts:AssumeRole to {_principal(us)}, with"
            f" its path if it has one ({self._policy(Policy.TRUST, us)})."
        )
        if denial.kind == "role trust":
            text = f"The trust policy of the role {role} does not let {us} in."
            cures: tuple[str, ...] = (principal, condition)
            return Problem("not trusted", text, str(error), cures, "sts:AssumeRole", Policy.TRUST)
        if (account.profile, session) in self._proven:
            # Another role accepted the same external ID from the same identity.
            cures = (missing, principal, condition)
        else:
            own = (
                f"Missing permission: allow {us} to assume the role"
                f" ({self._policy(Policy.EXPORTER)}). AWS often says so, but not always."
            )
            configured = session.external_id is not None and account.source == "static"
            first = (condition, principal) if configured else (principal, condition)
            cures = (*first, missing, own)
        text = (
            f"The role {role} cannot be assumed as {us}. AWS gives the same answer whether the role"
            " does not exist, does not trust this identity, or requires another external ID. In the"
            " order of likelihood:"
        )
        found = "cannot assume role"
        return Problem(found, text, str(error), cures, "sts:AssumeRole", Policy.TRUST)

    # -- permissions ---------------------------------------------------------------------------

    def _of_probe(self, check: AccountCheck, probe: Probe, error: ReadError) -> Problem:
        if probe.outcome is Outcome.FAILED:
            return _general(f"{probe.operation} failed", f"{probe.operation} failed.", error)
        role = check.account.role_arn
        where = f"role {role}" if role else f"identity {check.identity}"
        permission = next(
            each
            for each in PERMISSIONS
            if each.policy is Policy.READER and each.operation == probe.operation
        )
        return self._of_denial(error, parse_denial(str(error)), where, permission)

    def _of_denial(
        self, error: ReadError, denial: Denial, where: str, permission: Permission | None
    ) -> Problem:
        if denial.explicit:
            return self._of_explicit_deny(error, denial, denial.caller or f"the {where}")
        action = permission.action if permission else denial.action or "the action"
        text = f"The {where} is not allowed to call {action}."
        found = f"no {action.partition(':')[2] or action}"
        if denial.kind in ORGANIZATION:
            cure = (
                f"Allow {action} in the {denial.kind} policies of the account and of the units that"
                " it is in; the policies of the account itself cannot."
            )
            return Problem(found, text, str(error), (cure,), action)
        if denial.kind in ("permissions boundary", "session"):
            kind = denial.kind.removesuffix(" policy")
            cure = f"Allow {action} in the {kind} of the {where}, too."
            return Problem(found, text, str(error), (cure,), action)
        if permission is None:
            return _general(found, text, error)
        name = "discovery" if permission.policy is Policy.DISCOVERY else "reader"
        cure = (
            f"Add {action} to the permissions of the {where}: statement {permission.statement} of"
            f" the {name} policy ({self._policy(permission.policy)})."
        )
        return Problem(found, text, str(error), (cure,), action, permission.policy)

    def _of_explicit_deny(self, error: ReadError, denial: Denial, us: str) -> Problem:
        kind = denial.kind if denial.kind.endswith("boundary") else f"{denial.kind} policy"
        which = f"The {kind} {denial.policy_arn}".rstrip()
        text = f"A {kind} denies {denial.action} to {us}."
        if denial.kind in ORGANIZATION:
            cure = (
                f"{which} must not deny {denial.action}: exempt the role there, such as by a"
                " condition on aws:PrincipalArn. It belongs to the organization, and no policy of"
                " the account can override it."
            )
        else:
            cure = f"{which} must not deny {denial.action}: no other policy can override it."
        found = f"{denial.action.partition(':')[2] or 'access'} denied by {kind}"
        return Problem(found, text, str(error), (cure,), denial.action)

    def _policy(self, policy: Policy, us: str = "") -> str:
        """Write the command that prints *policy*, for the exporter's own identity *us*."""
        principal = f" --principal={_principal(us)}" if policy is Policy.TRUST else ""
        return f"{NAME} policy{FLAGS_OF[policy]}{principal}{self._arguments}"


_OF_CREDENTIALS: Final = frozenset({Reason.CREDENTIALS, Reason.WRONG_ACCOUNT})


def _permission(action: str) -> Permission | None:
    found: Iterable[Permission] = (
        each for each in PERMISSIONS if each.action == action and each.policy is Policy.DISCOVERY
    )
    return next(iter(found), None)


def _setting(account: Account, name: str) -> str:
    """Name the setting of the configuration, for a configured or a discovered account."""
    if account.source == "organization":
        return {"role_arn": "organization.role_name"}.get(name, f"organization.{name}")
    return name


def _principal(arn: str) -> str:
    """Return what a trust policy can name: of a session, its role, whose path is unknown."""
    head, found, rest = arn.partition(":assumed-role/")
    if not found:
        return arn if arn.startswith("arn:") else "ARN"
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.partition('/')[0]}"


def _credentials_of(account: Account) -> str:
    return f"profile {account.profile}" if account.profile else "the default chain"


def _wrong_account(account: Account, error: ReadError) -> Problem:
    said = str(error)
    text = f"{said[:1].upper()}{said[1:]}."
    if "already read" in said:
        cure = "Remove one of the two from the configuration: each account is read once."
        return Problem("duplicate", text, "", (cure,))
    cures = (
        f"Set account_id to the account that {_credentials_of(account)} belongs to.",
        "Set another profile, or role_arn to a role in the account.",
    )
    return Problem("wrong account", text, "", cures)


def _credentials(account: Account, error: ReadError) -> Problem:
    source = _credentials_of(account)
    text = f"AWS does not accept the credentials of {source}."
    match error.code:
        case (
            "ExpiredToken"
            | "ExpiredTokenException"
            | "ExpiredCredentials"
            | ("UnauthorizedSSOTokenError")
            | "LoginRefreshRequired"
        ):
            text = f"The credentials of {source} have expired."
            cure = (
                "Renew them: aws sso login, aws login, or whatever wrote them. The exporter looks"
                " for new ones by itself."
            )
            return Problem("credentials expired", text, str(error), (cure,))
        case "NoCredentialsError" | "ProfileNotFound":
            text = f"There are no credentials in {source}."
            cure = (
                "Set AWS_PROFILE or the setting profile, or give the exporter a role: IRSA, EKS Pod"
                " Identity, an ECS task role or an instance profile."
            )
        case "RequestExpired" | "RequestTimeTooSkewed":
            text = "The clock of this machine is wrong, or AWS's answer came far too late."
            cure = "Set the clock of this machine, best by NTP."
        case "SignatureDoesNotMatch":
            cure = f"Correct the secret access key of {source}."
        case "InvalidClientTokenId" | "UnrecognizedClientException" | "InvalidAccessKeyId":
            cure = (
                f"The access key of {source} was deleted or deactivated, or is of another"
                " partition, which aws.region chooses: create or choose another one."
            )
        case "RegionDisabledException" | "OptInRequired":
            text = "STS is not enabled for the region in the account."
            cure = "Enable the region in the account, or set aws.region to another one."
        case _:
            cure = f"Correct the credentials of {source}."
    return Problem("bad credentials", text, str(error), (cure,))


def _general(summary: str, text: str, error: ReadError) -> Problem:
    cures = {
        Reason.THROTTLED: "AWS throttles requests of this account, not only ours: check again"
        " later, or lower requests_per_second.",
        Reason.SERVICE_FAILURE: "AWS has an internal problem: check again later.",
        Reason.NETWORK: "Check the connection to AWS: aws.endpoint_urls, HTTPS_PROXY, NO_PROXY,"
        " AWS_CA_BUNDLE, firewalls.",
        Reason.TIMEOUT: "Check the connection to AWS: HTTPS_PROXY, NO_PROXY, firewalls.",
        Reason.MALFORMED: "Check what answers instead of AWS: aws.endpoint_urls, HTTPS_PROXY.",
        Reason.DEADLINE: "Raise collection.deadline, or the account's requests_per_second.",
    }
    cure = cures.get(error.reason)
    return Problem(summary, text, str(error), (cure,) if cure else ())
