"""
The credential report: the users of one account and the state of their keys, in two or three calls.

It is up to four hours old and has no key ids. Two of its promises are weaker than they look: the
number of a slot says nothing about which key it holds, and an inactive key may have lost its last
use. So slots are matched to keys by creation time, and only ever add to what is known.

Source: IAM GenerateCredentialReport, GetCredentialReport.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from exporter.aws.api import AccountApi
from exporter.aws.errors import malformed
from exporter.aws.operations import Operation
from exporter.aws.responses import check_account, is_past, past_time
from exporter.aws.xml_parser import parse_time
from exporter.model import NEVER, AccessKey, Clock, LastUse, ReadError, Reason, Root, Use

ROOT: Final = "<root_account>"

ABSENT: Final = frozenset({"", "N/A", "no_information", "not_supported"})

SLOTS: Final = 2
"""Keys of a user that a report describes."""

COLUMNS: Final = frozenset(
    {
        "user",
        "arn",
        "user_creation_time",
        "password_last_used",
        *(
            f"access_key_{number}_{fact}"
            for number in (1, 2)
            for fact in (
                "active",
                "last_rotated",
                "last_used_date",
                "last_used_region",
                "last_used_service",
            )
        ),
    }
)
"""The columns that we rely on."""

POLLS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between polls of a report that is being generated. After the last we give up."""


@dataclass(frozen=True, slots=True)
class Slot:
    """
    One of a user's keys, as the report describes it.

    Attributes:
        last_use: NEVER where the report has no date.
    """

    created: datetime
    active: bool
    last_use: Use


@dataclass(frozen=True, slots=True)
class Row:
    """
    A user, as the report describes them.

    Attributes:
        more: The user has keys that the report does not cover.
    """

    user: str
    path: str
    created: datetime
    slots: tuple[Slot, ...]
    more: bool

    def matches(self, keys: Iterable[AccessKey]) -> bool:
        """Whether *keys* are exactly those of this row."""
        ours = sorted((key.created, key.active) for key in keys)
        return ours == sorted((slot.created, slot.active) for slot in self.slots)

    def slot_for(self, key: AccessKey, keys: Sequence[AccessKey]) -> Slot | None:
        """Find the slot that can only be that of *key*, one of the user's *keys*."""
        twins = [k for k in keys if k.created == key.created]
        slots = [slot for slot in self.slots if slot.created == key.created]
        if len(twins) > 1 or len(slots) > 1:  # created in the same second
            twins = [k for k in twins if k.active == key.active]
            slots = [slot for slot in slots if slot.active == key.active]
        return slots[0] if len(slots) == 1 and len(twins) == 1 else None


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """
    A parsed report.

    Attributes:
        rows: By user name.
        malformed: Names of the users, or root, whose rows cannot be parsed.
        root: None: the report has no row for root, or none that can be parsed.
    """

    generated: datetime
    rows: Mapping[str, Row]
    malformed: frozenset[str]
    root: Root | None


def fetch(api: AccountApi, clock: Clock) -> CredentialReport:
    """
    Request a report, wait until AWS has generated it, and read it.

    Raises:
        ReadError: It is denied, takes too long, or is not a credential report.
        Aborted: See `AccountApi.call`.
    """
    for seconds in (0.0, *POLLS):
        if not api.has_time_for(2 * seconds):
            break  # the rest of the time is for refreshing without a report
        api.sleep(seconds)
        state = api.call(Operation.GENERATE_CREDENTIAL_REPORT)["State"]
        if state == "COMPLETE":
            operation = Operation.GET_CREDENTIAL_REPORT
            result = api.call(operation)
            try:
                generated = past_time(result, "GeneratedTime", operation, clock.now())
                report = parse(result["Content"], generated, api.account.id)
            except ReadError:
                api.count_malformed(operation)
                raise
            for _ in report.malformed:
                api.count_malformed(operation)
            return report
    raise ReadError(Reason.TIMEOUT, "the credential report was not generated in time")


def parse(content: bytes, generated: datetime, account_id: str) -> CredentialReport:
    """
    Parse a report.

    Raises:
        ReadError: It is not a credential report, or that of another account.
    """
    rows: dict[str, Row] = {}
    bad: set[str] = set()
    root = None
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True)
        header = next(lines)
        if not COLUMNS.issubset(header):
            raise ValueError("columns are missing")
        cells = [dict(zip(header, _split(line, len(header)), strict=True)) for line in lines]
        for row in cells:
            name = row["user"]
            try:
                check_account(row["arn"], account_id, Operation.GET_CREDENTIAL_REPORT)
                if name == ROOT:
                    root = _root(row, generated)
                elif name in rows or name in bad:
                    raise ValueError("a second row of the same user")
                else:
                    rows[name] = _row(row, generated)
            except (ReadError, ValueError) as error:
                if isinstance(error, ReadError) and error.reason is Reason.WRONG_ACCOUNT:
                    raise
                bad.add(name)
        if not cells:
            raise ValueError("no rows, not even root's")
    except (ValueError, StopIteration, csv.Error) as error:
        raise malformed(
            Operation.GET_CREDENTIAL_REPORT, f"not a credential report: {type(error).__name__}"
        ) from None
    good = {name: row for name, row in rows.items() if name not in bad}
    return CredentialReport(generated, MappingProxyType(good), frozenset(bad), root)


def _split(fields: list[str], columns: int) -> list[str]:
    """Split a row whose user name contains unquoted commas: count columns from the right."""
    if len(fields) <= columns:
        return fields
    tail = len(fields) - (columns - 2)
    user, _, arn = ",".join(fields[:tail]).partition(",arn:")
    return [user, f"arn:{arn}", *fields[tail:]]


def _row(row: dict[str, str], generated: datetime) -> Row:
    path = row["arn"].partition(":user")[2].removesuffix(row["user"])
    created = _time(row["user_creation_time"])
    if created is None or not path.startswith("/"):
        raise ValueError(f"not a user: {row['arn']!r}")
    return Row(
        row["user"],
        path,
        created,
        tuple(slot for number in (1, 2) if (slot := _slot(row, number, generated))),
        row.get("additional_credentials_info", "") not in ABSENT,
    )


def _slot(row: dict[str, str], number: int, generated: datetime) -> Slot | None:
    prefix = f"access_key_{number}_"
    created = _time(row[prefix + "last_rotated"])
    if created is None:
        return None
    used = _time(row[prefix + "last_used_date"], generated)
    service, region = row[prefix + "last_used_service"], row[prefix + "last_used_region"]
    if used and not (service and region and (service + region).isprintable()):
        raise ValueError("no service or region")
    return Slot(created, _active(row, number), LastUse(used, service, region) if used else NEVER)


def _active(row: dict[str, str], number: int) -> bool:
    text = row[f"access_key_{number}_active"].lower()
    if text not in ("true", "false"):
        raise ValueError("not a boolean")
    return text == "true"


def _root(row: dict[str, str], generated: datetime) -> Root:
    used = [_time(row[f"access_key_{number}_last_used_date"], generated) for number in (1, 2)]
    return Root(
        generated,
        sum(_active(row, number) for number in (1, 2)),
        _time(row["password_last_used"], generated),
        max((at for at in used if at), default=None),
        uses_as_of=generated,
    )


def _time(text: str, latest: datetime | None = None) -> datetime | None:
    if text in ABSENT:
        return None
    time = parse_time(text)
    if latest is not None and not is_past(time, latest):
        raise ValueError("not a past time")
    return time
