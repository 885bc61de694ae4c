"""
Which of the operations that a refresh may need can be called, and what an account has.

Source: IAM, the operations of `account_refresh`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from exporter.aws import credential_report
from exporter.aws.api import Aborted, AccountApi
from exporter.aws.credential_report import CredentialReport
from exporter.aws.operations import Operation
from exporter.model import ACTIVE, Clock, ReadError, Reason, ReportMode, TagSource

SAMPLE: Final = 20
"""Users whose keys are listed where no credential report says who has keys."""

PERMITTED: Final = frozenset(
    {"LimitExceeded", "ReportExpired", "ReportInProgress", "ReportNotPresent"}
)
"""Errors that AWS only returns to whoever has the permission."""


class Outcome(StrEnum):
    """How the call of an operation went. Public: values of the JSON output."""

    OK = "ok"
    DENIED = "denied"
    FAILED = "failed"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True)
class Probe:
    """
    An operation that a refresh may need, and whether it can be called.

    Attributes:
        error: Why it was denied or failed. None: it was not.
        note: Why it was not checked. Empty: it was.
    """

    operation: Operation
    outcome: Outcome
    error: ReadError | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """
    The number of access keys of the users that are read.

    Attributes:
        exact: False: estimated from a sample of the users.
    """

    total: int
    active: int
    exact: bool


class Probing:
    """
    Calls each operation that a refresh of one account may need, where it harms nobody.

    Users' keys are counted from the credential report, else listed for a sample of the users.

    Attributes:
        probes: By operation, in the order of the calls.
        users: Names of the users that are read. None: they cannot be listed.
        keys: None: unknown.
    """

    def __init__(
        self,
        api: AccountApi,
        *,
        report_mode: ReportMode,
        include_user: Callable[[str], bool],
        tag_source: TagSource,
        clock: Clock,
    ) -> None:
        self._api = api
        self._report_mode = report_mode
        self._include_user = include_user
        self._tag_source = tag_source
        self._clock = clock
        self.probes: dict[Operation, Probe] = {}
        self.users: list[str] | None = None
        self.keys: Keys | None = None
        self._aborted: ReadError | None = None

    def run(self) -> None:
        """Call them. Whatever fails is part of the result."""
        self._list_users()
        report = self._read_report()
        names = self._sample(report)
        self._read_last_use(self._list_keys(names, one_is_enough=report is not None))
        self._read_tags(names)
        self._probe(Operation.GET_ACCOUNT_SUMMARY)
        if report is not None:
            self.keys = self._counted(report)

    def _probe(self, operation: Operation, **parameters: Any) -> dict[str, Any] | None:
        """Call *operation*, and note how that went. None: it returned nothing usable."""
        if self._aborted is not None:
            self._skip(operation, f"the check was given up: {self._aborted}")
            return None
        try:
            result = self._api.call(operation, **parameters)
        except Aborted as aborted:
            self._aborted = aborted.error
            self._note(operation, aborted.error)
        except ReadError as error:
            self._note(operation, error)
        else:
            self._note(operation, None)
            return result
        return None

    def _note(self, operation: Operation, error: ReadError | None) -> None:
        if error is None or error.code in PERMITTED:
            self.probes[operation] = Probe(operation, Outcome.OK)
        elif error.reason is Reason.ACCESS_DENIED:
            self.probes[operation] = Probe(operation, Outcome.DENIED, error)
        else:
            self.probes[operation] = Probe(operation, Outcome.FAILED, error)

    def _skip(self, operation: Operation, note: str) -> None:
        self.probes[operation] = Probe(operation, Outcome.NOT_CHECKED, note=note)

    def _list_users(self) -> None:
        operation, names = Operation.LIST_USERS, []
        try:
            for item in self._api.pages(operation):
                name = item.get("UserName")
                if isinstance(name, str) and self._include_user(name):
                    names.append(name)
        except Aborted as aborted:
            self._aborted = aborted.error
            self._note(operation, aborted.error)
        except ReadError as error:
            self._note(operation, error)
        else:
            self._note(operation, None)
            self.users = list(dict.fromkeys(names))

    def _read_report(self) -> CredentialReport | None:
        """Read the credential report, if it is used. None: it is not, or there is none so far."""
        if self._report_mode is ReportMode.OFF:
            return None
        # Each by itself: it is the permission that matters, whether there is a report or not.
        requested = self._probe(Operation.GENERATE_CREDENTIAL_REPORT)
        self._probe(Operation.GET_CREDENTIAL_REPORT)
        outcome = self.probes[Operation.GET_CREDENTIAL_REPORT].outcome
        if requested is None or outcome is not Outcome.OK:
            return None
        try:
            return credential_report.fetch(self._api, self._clock)
        except Aborted as aborted:
            self._aborted = aborted.error
            self._note(Operation.GET_CREDENTIAL_REPORT, aborted.error)
        except ReadError as error:
            if error.code:  # else AWS has not generated it in time, which takes its time
                self._note(Operation.GET_CREDENTIAL_REPORT, error)
        return None

    def _sample(self, report: CredentialReport | None) -> Sequence[str]:
        """Choose users whose keys are listed: those that have some, as far as a report says."""
        names = self.users or []
        if report is not None:
            names = [name for name in names if name in report.rows and report.rows[name].slots]
            return names[:SAMPLE] or (self.users or [])[:SAMPLE]
        step = max(1, len(names) // SAMPLE)
        return names[::step][:SAMPLE]

    def _list_keys(self, names: Sequence[str], *, one_is_enough: bool) -> list[str]:
        """
        List the keys of the users *names*, and count them, unless *one_is_enough*.

        Returns:
            Ids of keys.
        """
        operation = Operation.LIST_ACCESS_KEYS
        statuses: list[list[str]] = []
        ids: list[str] = []
        for name in names:
            before = self.probes.get(operation)
            result = self._probe(operation, UserName=name)
            if result is None:
                if not self._was_deleted(operation, before):
                    return ids
                continue
            items = result[operation.member]
            statuses.append([str(item.get("Status")) for item in items])
            ids += [str(item["AccessKeyId"]) for item in items if item.get("AccessKeyId")]
            if ids and one_is_enough:
                return ids
        if operation not in self.probes:
            self._skip(operation, self._nobody())
        if self.users is not None and (statuses or not self.users):
            self.keys = self._estimated(statuses)
        return ids

    def _was_deleted(self, operation: Operation, before: Probe | None) -> bool:
        """Whether the latest call failed since the user was deleted meanwhile; then forget it."""
        error = self.probes[operation].error
        if error is None or error.code != "NoSuchEntity":
            return False
        del self.probes[operation]
        if before is not None:
            self.probes[operation] = before
        return True

    def _read_last_use(self, ids: Sequence[str]) -> None:
        operation = Operation.GET_ACCESS_KEY_LAST_USED
        for id_ in ids:
            self._probe(operation, AccessKeyId=id_)
            error = self.probes[operation].error
            # AWS names the key, instead of the user, where the key was deleted meanwhile.
            if error is None or f"access key {id_}" not in str(error):
                return
        listed = self.probes[Operation.LIST_ACCESS_KEYS].outcome is Outcome.OK
        self._skip(operation, "no access key was found" if listed else "no access key is known")

    def _read_tags(self, names: Sequence[str]) -> None:
        match self._tag_source:
            case TagSource.BULK:
                operation = Operation.GET_ACCOUNT_AUTHORIZATION_DETAILS
                self._probe(operation, Filter=["User"], MaxItems=1)
            case TagSource.PER_USER if names:
                self._probe(Operation.LIST_USER_TAGS, UserName=names[0], MaxItems=1)
            case TagSource.PER_USER:
                self._skip(Operation.LIST_USER_TAGS, self._nobody())

    def _nobody(self) -> str:
        return "the account has no users" if self.users is not None else "no user is known"

    def _estimated(self, statuses: Sequence[Sequence[str]]) -> Keys:
        """Count the keys of a sample of the users, and infer how many there are."""
        users = len(self.users or ())
        scale = users / len(statuses) if statuses else 0.0
        total = sum(len(each) for each in statuses)
        active = sum(each.count(ACTIVE) for each in statuses)
        return Keys(round(total * scale), round(active * scale), exact=len(statuses) == users)

    def _counted(self, report: CredentialReport) -> Keys | None:
        """Count the keys of the users that are read, as the report has them."""
        if self.users is None:
            return None
        rows = [report.rows[name] for name in self.users if name in report.rows]
        slots = [slot for row in rows for slot in row.slots]
        active = sum(slot.active for slot in slots)
        exact = len(rows) == len(self.users) and not any(row.more for row in rows)
        return Keys(len(slots), active, exact=exact)
