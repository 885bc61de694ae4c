"""The credential report of one account: generation, lifetime and content."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from .refusal import Refusal

if TYPE_CHECKING:
    from .accounts import Account
    from .users import AccessKey, User

LIFETIME: Final = timedelta(hours=4)
COLUMNS: Final = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    *(
        f"access_key_{slot}_{fact}"
        for slot in (1, 2)
        for fact in (
            "active",
            "last_rotated",
            "last_used_date",
            "last_used_region",
            "last_used_service",
        )
    ),
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
)
EXTRA_COLUMN: Final = "additional_credentials_info"
SLOTS: Final = 2
EMPTY_SLOT: Final = ("false", "N/A", "N/A", "N/A", "N/A")
NO_CERTIFICATES: Final = ("false", "N/A", "false", "N/A")


class Generation(NamedTuple):
    """The result of GenerateCredentialReport."""

    state: str
    description: str | None = None


class CredentialReport:
    """
    The credential report of one account, kept for four hours after it was generated.

    Attributes:
        delay: For how many calls, to Generate or Get, a new report is still in progress.
        instant: Whether a new report is complete at once.
        limit_exceeded: For how many calls to Generate AWS is out of capacity.
        content: Served instead of the regular content, also of a report generated before.
        denied: Whether both calls are denied.
        quoted: Whether to quote values that contain a comma; it is unknown whether AWS does.
        generated: When the current report was generated. None: there is none.
    """

    def __init__(self, account: "Account") -> None:
        self._account = account
        self.delay = 0
        self.instant = False
        self.limit_exceeded = 0
        self.content: bytes | None = None
        self.denied = False
        self.quoted = True
        self.generated: datetime | None = None
        self._kept = b""
        self._expired = False
        self._polls_left: int | None = None

    def expire(self) -> None:
        """Make the current report older than four hours."""
        self._expired = True

    def forget(self) -> None:
        """Remove the report, as in an account that never had one."""
        self.generated = None
        self._polls_left = None

    def generate(self) -> Generation:
        """GenerateCredentialReport."""
        if self.limit_exceeded > 0:
            self.limit_exceeded -= 1
            raise Refusal("LimitExceeded", "No more capacity to launch new report generation tasks")
        if self._polls_left is not None:
            return Generation("INPROGRESS" if self._still_in_progress() else "COMPLETE")
        if self.generated is not None and not self._is_expired(self.generated):
            return Generation("COMPLETE")
        if self.instant:
            self._finish()
            return Generation("COMPLETE")
        self._polls_left = self.delay
        return Generation("STARTED", "No report exists. Starting a new report generation task")

    def get(self) -> tuple[bytes, datetime]:
        """GetCredentialReport: the content, and when it was generated."""
        if self._polls_left is not None and self._still_in_progress():
            raise Refusal("ReportInProgress", "Credential report generation is in progress")
        if self.generated is None:
            raise Refusal("ReportNotPresent", "Credential report is not present")
        if self._is_expired(self.generated):
            raise Refusal("ReportExpired", "Credential report has expired")
        return self._kept if self.content is None else self.content, self.generated

    def _is_expired(self, generated: datetime) -> bool:
        return self._expired or self._account.world.now() - generated >= LIFETIME

    def _still_in_progress(self) -> bool:
        if self._polls_left:
            self._polls_left -= 1
            return True
        self._finish()
        return False

    def _finish(self) -> None:
        self._polls_left = None
        self._expired = False
        self.generated = self._account.world.now()
        self._kept = content(self._account, quoted=self.quoted)


def content(account: "Account", *, quoted: bool) -> bytes:
    """
    The content of a report on *account* as it is now.

    Root first, then the users by name; LF between lines, and none at the end.
    """
    users = [account.find_user(name) for name in account.sorted_names]
    rows = [_root_row(account), *(_user_row(user) for user in users if user is not None)]
    header: Sequence[str] = COLUMNS
    if any(len(user.keys) > SLOTS for user in account.users.values()):
        header = (*COLUMNS, EXTRA_COLUMN)
    lines = [header, *(row[: len(header)] for row in rows)]
    if not quoted:
        return "\n".join(",".join(line) for line in lines).encode()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().rstrip("\n").encode()


def _root_row(account: "Account") -> list[str]:
    root = account.root
    return [
        root.name,
        root.arn,
        _time(root.created),
        _bool(root.password_enabled),
        _time(root.password_last_used, otherwise="no_information"),
        "not_supported",
        "not_supported",
        "false",
        *_keys(root),
    ]


def _user_row(user: "User") -> list[str]:
    never = "no_information" if user.password_enabled else "N/A"
    return [
        user.name,
        user.arn,
        _time(user.created),
        _bool(user.password_enabled),
        _time(user.password_last_used if user.password_enabled else None, otherwise=never),
        _time(user.created) if user.password_enabled else "N/A",
        "N/A",
        "false",
        *_keys(user),
    ]


def _keys(user: "User") -> list[str]:
    # In all reports that were observed the active key comes first, even if it is younger.
    keys = sorted(user.keys, key=lambda key: (not key.active, key.created, key.serial))
    slots = [_slot(key) for key in keys[:SLOTS]]
    slots += [EMPTY_SLOT] * (SLOTS - len(slots))
    extra = ""
    if len(keys) > SLOTS:
        extra = f"{len(keys)} access keys; use ListAccessKeys to list them"
    return [*slots[0], *slots[1], *NO_CERTIFICATES, extra]


def _slot(key: "AccessKey") -> tuple[str, ...]:
    use = key.last_use
    return (
        _bool(key.active),
        _time(key.created),
        *((_time(use.at), use.region, use.service) if use else ("N/A", "N/A", "N/A")),
    )


def _time(moment: datetime | None, *, otherwise: str = "N/A") -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else otherwise


def _bool(value: bool) -> str:
    return "true" if value else "false"
