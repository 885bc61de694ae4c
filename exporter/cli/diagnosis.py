"""What keeps the exporter from an account, or from listing accounts, and which policy to change."""

import shlex
from collections.abc import Iterable
from typing import Final

from exporter.aws import AccountCheck, Denial, Identity, Outcome, Probe, parse_denial
from exporter.cli.flags import NAME
from exporter.cli.problems import Cure, Problem, of_credentials, of_failure, of_wrong_account
from exporter.cli.trust import (
    OF_DISCOVERY,
    OF_ORGANIZATION,
    Causes,
    Settings,
    causes_of,
    principal_of,
)
from exporter.model import Account, Partition, ReadError, Reason
from exporter.policy import PERMISSIONS, Permission, Policy

ORGANIZATION: Final = frozenset({"service control", "resource control"})
"""Kinds of policies that are attached to an organization, not to an account."""

LIMITS: Final = frozenset({"permissions boundary", "session"})
"""Kinds of policies that limit what an identity's own policies allow."""

NOT_AN_ADMINISTRATOR: Final = "You don't have permissions to access this resource"
"""What Organizations answers to accounts other than the management account and delegates."""

SESSION_ACTIONS: Final = {
    "sts:TagSession": "the exporter's session has tags that go along to every role, as those of EKS"
    " Pod Identity do, or session_tags are configured",
    "sts:SetSourceIdentity": "the exporter's session has a source identity",
}
"""Actions that AssumeRole requires in addition, and when."""

FLAGS: Final = {
    Policy.READER: "",
    Policy.TRUST: " --trust",
    Policy.EXPORTER: " --exporter",
    Policy.DISCOVERY: " --discovery",
}
"""Those of the subcommand policy."""


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

    def of_account(self, check: AccountCheck) -> list[Problem]:
        """List what is wrong with an account."""
        if check.failure is not None and check.failure.reason is Reason.UNEXPECTED:
            text = "The check of this account crashed, which is a bug of the exporter."
            return [of_failure("check crashed", text, check.failure)]
        if check.failure is not None:
            settings = OF_ORGANIZATION if check.account.source == "organization" else Settings()
            return [self._of_sign_in(check.account, check.base, check.failure, settings)]
        return [
            self._of_probe(check, probe, probe.error)
            for probe in check.probes
            if probe.outcome in (Outcome.DENIED, Outcome.FAILED) and probe.error is not None
        ]

    def of_discovery(self, caller: Account, base: Identity, error: ReadError) -> Problem:
        """Explain why the accounts of an organization cannot be listed."""
        if error.reason in (Reason.ASSUME_ROLE, Reason.CREDENTIALS, Reason.WRONG_ACCOUNT):
            return self._of_sign_in(caller, base, error, OF_DISCOVERY)
        if error.code == "AWSOrganizationsNotInUseException":
            cure = (
                "Use credentials of the organization's management account or of a delegated"
                " administrator, or set organization.discovery_role_arn to a role there."
            )
            text = "The account that asks AWS Organizations is in no organization."
            return Problem("no organization", text, str(error), (Cure(cure),))
        if error.code == "NoAccount":
            cure = "Correct organization.include and organization.exclude."
            text = "No account of the organization is chosen to be read."
            return Problem("no account", text, str(error), (Cure(cure),))
        if error.reason is not Reason.ACCESS_DENIED:
            return of_failure("discovery failed", "The accounts cannot be listed.", error)
        denial = parse_denial(str(error))
        if not denial.action and NOT_AN_ADMINISTRATOR in str(error):
            return self._of_other_account(error)
        where = f"role {caller.role_arn}" if caller.role_arn else f"identity {base.arn}"
        permission = next(
            (p for p in PERMISSIONS if (p.policy, p.action) == (Policy.DISCOVERY, denial.action)),
            None,
        )
        return self._of_denial(error, denial, where, permission)

    def _of_other_account(self, error: ReadError) -> Problem:
        text = (
            "AWS Organizations was asked from an account that is neither the organization's"
            " management account nor that of a delegated administrator."
        )
        role = (
            "Set organization.discovery_role_arn to a role in the management account, or in that of"
            " a delegated administrator of any service, that trusts the exporter and has the"
            " discovery policy:"
        )
        delegate = (
            "Make this account a delegated administrator, in the management account: aws"
            " organizations register-delegated-administrator."
        )
        cures = (
            Cure(role, self._command(Policy.DISCOVERY)),
            Cure("Run the exporter with credentials of one of these accounts."),
            Cure(delegate),
        )
        return Problem("not an administrator", text, str(error), cures)

    # -- signing in ----------------------------------------------------------------------------

    def _of_sign_in(
        self, account: Account, base: Identity, error: ReadError, settings: Settings
    ) -> Problem:
        if error.reason is Reason.ASSUME_ROLE:
            return self._of_assume_role(account, base, error, settings)
        if error.reason is Reason.WRONG_ACCOUNT:
            return of_wrong_account(account, error)
        if error.reason is Reason.CREDENTIALS:
            return of_credentials(account, error)
        if "MaxSessionDuration" in str(error) or "1 hour session limit" in str(error):
            text = f"The role {account.role_arn} allows no session that is so long."
            cure = "Lower session_duration, or raise the maximum session duration of the role."
            return Problem("session too long", text, str(error), (Cure(cure),))
        if error.code == "PackedPolicyTooLarge":
            cure = (
                "Configure fewer or shorter session_tags; with EKS Pod Identity, set"
                " disableSessionTags of the pod identity association."
            )
            text = "The tags of the session are too large."
            return Problem("tags too large", text, str(error), (Cure(cure),))
        return of_failure("no access", "The exporter cannot sign in.", error)

    def _of_assume_role(
        self, account: Account, base: Identity, error: ReadError, settings: Settings
    ) -> Problem:
        denial = parse_denial(str(error))
        role = denial.resource or str(account.role_arn)
        us = denial.caller or base.arn or "the exporter's identity"
        if denial.explicit:
            return self._of_explicit_deny(error, denial, us)
        trust = self._trust_command(account, role, us, settings)
        exporter = self._command(Policy.EXPORTER, partition=account.partition)
        if denial.action in SESSION_ACTIONS:
            return self._of_session_action(error, denial.action, role, us, (trust, exporter))
        if denial.kind == "identity-based" or denial.kind in LIMITS:
            text = f"The identity {us} is not allowed to assume the role {role}."
            kind = denial.kind if denial.kind.endswith("boundary") else f"{denial.kind} policy"
            cure = Cure(
                f"Allow {denial.action} on the role in the {kind} of the identity:", exporter
            )
            found = "may not assume role"
            return Problem(found, text, str(error), (cure,), denial.action, Policy.EXPORTER)
        causes = causes_of(
            account,
            role,
            us,
            settings,
            trust=trust,
            exporter=exporter,
        )
        if denial.kind == "role trust":
            text = f"The trust policy of the role {role} does not allow {us} to assume it."
            cures: tuple[Cure, ...] = (causes.trust, causes.external_id)
            return Problem("not trusted", text, str(error), cures, "sts:AssumeRole", Policy.TRUST)
        text = (
            f"The role {role} cannot be assumed as {us}. AWS gives the same answer whether the role"
            " does not exist, does not trust this identity, or requires another external ID. In the"
            " order of likelihood:"
        )
        found = "cannot assume role"
        cures = self._in_order(account, causes)
        return Problem(found, text, str(error), cures, "sts:AssumeRole", Policy.TRUST)

    def _of_session_action(
        self, error: ReadError, action: str, role: str, us: str, commands: tuple[str, str]
    ) -> Problem:
        trust, exporter = commands
        text = (
            f"The role {role} cannot be assumed, since its trust policy lacks {action}:"
            f" {SESSION_ACTIONS[action]}."
        )
        condition = (
            f"If the trust policy allows {action} on the condition of an external ID: compare that"
            " with the configured external_id. AWS names this action even where it is the external"
            " ID that is wrong."
        )
        off = (
            "With EKS Pod Identity, session tags can be switched off instead: set"
            " disableSessionTags of the pod identity association."
        )
        cures = (
            Cure(f"Allow {action} in the trust policy:", trust),
            Cure(f"Allow {action} on the role in the policy of {us}:", exporter),
            Cure(condition),
            *([Cure(off)] if action == "sts:TagSession" else []),
        )
        found = f"no {action.partition(':')[2]}"
        return Problem(found, text, str(error), cures, action, Policy.TRUST)

    def _in_order(self, account: Account, causes: Causes) -> tuple[Cure, ...]:
        """Return the cures, those of the most likely causes first."""
        session = account.role_session
        if (account.profile, session) in self._proven:
            # Another role accepted the same external ID from the same identity.
            return causes.role, causes.trust, causes.external_id
        if session.external_id and account.source != "organization":
            return causes.external_id, causes.trust, causes.role, causes.permission
        return causes.trust, causes.role, causes.external_id, causes.permission

    # -- permissions ---------------------------------------------------------------------------

    def _of_probe(self, check: AccountCheck, probe: Probe, error: ReadError) -> Problem:
        if probe.outcome is Outcome.FAILED:
            return of_failure(f"{probe.operation} failed", f"{probe.operation} failed.", error)
        role = check.account.role_arn
        where = f"role {role}" if role else f"identity {check.identity}"
        permission = next(
            p for p in PERMISSIONS if (p.policy, p.operation) == (Policy.READER, probe.operation)
        )
        denial, partition = parse_denial(str(error)), check.account.partition
        return self._of_denial(error, denial, where, permission, partition)

    def _of_denial(
        self,
        error: ReadError,
        denial: Denial,
        where: str,
        permission: Permission | None,
        partition: Partition = Partition.AWS,
    ) -> Problem:
        if denial.explicit:
            return self._of_explicit_deny(error, denial, denial.caller or f"the {where}")
        action = permission.action if permission else denial.action or "this action"
        text = f"The {where} is not allowed to call {action}."
        found = f"no {action.rpartition(':')[2]}"
        if denial.kind in ORGANIZATION:
            cure = Cure(
                f"Allow {action} in the {denial.kind} policies of the account and of the units that"
                " it is in. What is missing there, no policy of the account can allow."
            )
            return Problem(found, text, str(error), (cure,), action)
        if denial.kind in LIMITS:
            kind = denial.kind if denial.kind.endswith("boundary") else f"{denial.kind} policy"
            cure = Cure(f"Allow {action} in the {kind} of the {where} as well.")
            return Problem(found, text, str(error), (cure,), action)
        if permission is None:
            return of_failure(found, text, error)
        name = "discovery" if permission.policy is Policy.DISCOVERY else "reader"
        cure = Cure(
            f"Add {action} to the permissions of the {where}. It is in the statement"
            f" {permission.statement} of the {name} policy:",
            self._command(permission.policy, partition=partition),
        )
        return Problem(found, text, str(error), (cure,), action, permission.policy)

    def _of_explicit_deny(self, error: ReadError, denial: Denial, us: str) -> Problem:
        kind = denial.kind if denial.kind.endswith("boundary") else f"{denial.kind} policy"
        which = f"The {kind} {denial.policy_arn}".rstrip()
        text = f"A {kind} denies {denial.action} to {us}."
        if denial.kind in ORGANIZATION:
            cure = (
                f"{which} must not deny {denial.action} to this role: exempt it there, such as by a"
                " condition on aws:PrincipalArn. The policy is the organization's, and no policy of"
                " the account can override it."
            )
        else:
            cure = f"{which} must not deny {denial.action}: no other policy can override it."
        found = f"{denial.action.partition(':')[2]} denied by {kind}"
        return Problem(found, text, str(error), (Cure(cure),), denial.action)

    def _trust_command(self, account: Account, role: str, us: str, settings: Settings) -> str:
        """Write the command that prints the trust policy of *role*, with what is sent to it."""
        command = self._command(Policy.TRUST, us)
        if role in map(str, account.role_session.via):
            return f"{command} --external-id="
        if settings is OF_DISCOVERY:
            sent = "DISCOVERY_EXTERNAL_ID" if account.role_session.external_id else ""
            return f"{command} --external-id={sent}"
        return command

    def _command(self, policy: Policy, us: str = "", partition: Partition = Partition.AWS) -> str:
        """Write the command that prints *policy*, for the exporter's own identity *us*."""
        principal = f" --principal={principal_of(us)}" if policy is Policy.TRUST else ""
        # The configuration need not say which partition it is.
        where = "" if partition is Partition.AWS else f" --partition={partition}"
        return f"{NAME} policy{FLAGS[policy]}{principal}{where}{self._arguments}"
