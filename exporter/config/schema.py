"""The options: their names, types, defaults, and what they must not be."""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

from exporter.model import (
    Account,
    KeyIdFormat,
    Partition,
    ReportMode,
    RoleArn,
    TagSource,
    parse_expiry,
)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

LONGEST = timedelta(days=3650)


def invalid(text: str) -> PydanticCustomError:
    """
    Make the error that says *text*. What is written in the file is added to it.

    It never quotes the value, which may be a secret that a variable brought.
    """
    return PydanticCustomError("wrong", "{text}", {"text": text})


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    parts = re.fullmatch(r"(?:\d+(?:\.\d+)?[smhdw])+", value) if isinstance(value, str) else None
    if parts is None:
        raise invalid("not a duration such as 30s, 15m, 1h30m or 7d")
    found = re.findall(r"([\d.]+)([smhdw])", parts.group())
    seconds = sum(float(number) * UNITS[unit] for number, unit in found)
    if seconds > LONGEST.total_seconds():
        raise invalid("longer than ten years")
    return timedelta(seconds=seconds)


def _positive_duration(value: object) -> timedelta:
    duration = _duration(value)
    if not duration:
        raise invalid("must be longer than nothing")
    return duration


def _pattern(value: object) -> object:
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise invalid(f"not a regular expression ({error})") from error
    return value


def _account_id(value: object) -> object:
    if isinstance(value, int):
        raise invalid("quote it, since YAML takes bare digits for a number")
    if isinstance(value, str) and not re.fullmatch(r"\d{12}", value):
        raise invalid("not the twelve digits of an account id")
    return value


def _role_arn(value: object) -> object:
    if isinstance(value, str):
        try:
            return RoleArn.parse(value)
        except ValueError as error:
            raise invalid(str(error)) from error
    if not isinstance(value, RoleArn):
        raise PydanticCustomError("string_type", "must be a string")
    return value


def _one_of(enum: type[StrEnum]) -> BeforeValidator:
    *names, last = (repr(str(member)) for member in enum)

    def validate(value: object) -> object:
        if value is False:  # YAML reads a bare off as false
            value = "off"
        if not isinstance(value, str) or value not in tuple(enum):
            raise invalid(f"must be {', '.join(names)} or {last}")
        return enum(value)

    return BeforeValidator(validate)


def _until(value: object) -> object:
    if isinstance(value, date):  # YAML makes these of unquoted dates and times
        value = value.isoformat()
    if isinstance(value, str):
        try:
            return parse_expiry(value)
        except ValueError as error:
            raise invalid("not a date such as 2026-12-31") from error
    return value


def _like(pattern: str, what: str) -> BeforeValidator:
    def validate(value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise invalid(what)
        return value

    return BeforeValidator(validate)


Duration = Annotated[timedelta, BeforeValidator(_positive_duration)]
Pattern = Annotated[str, BeforeValidator(_pattern)]
AccountId = Annotated[str, BeforeValidator(_account_id)]
Role = Annotated[RoleArn, PlainValidator(_role_arn)]
Mode = Annotated[ReportMode, _one_of(ReportMode)]
Source = Annotated[TagSource, _one_of(TagSource)]
IdFormat = Annotated[KeyIdFormat, _one_of(KeyIdFormat)]
Until = Annotated[datetime, BeforeValidator(_until)]
ExternalId = Annotated[
    str, _like(r"[\w+=,.@:/-]{2,1224}", "not an external id (2 to 1224 letters, digits, +=,.@:/-)")
]
SessionName = Annotated[
    str, _like(r"[\w+=,.@-]{2,64}", "not a session name (2 to 64 letters, digits, +=,.@-)")
]
Name = Annotated[str, _like(r"(?s).+", "must not be empty")]
Url = Annotated[str, _like(r"https?://.+", "not a URL")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        """Take a section whose options are all commented out for an empty one."""
        return {} if value is None else value


class Collection(Section):
    interval: Duration = timedelta(minutes=15)
    workers: PositiveInt = 32
    requests_per_second: PositiveFloat = 5.0
    burst: PositiveInt = 10
    deadline: Duration = timedelta(hours=1)
    credential_report: Mode = ReportMode.GUIDE
    stale_after: Duration = timedelta(days=7)
    user_tags: Source = TagSource.OFF
    user_tags_interval: Duration = timedelta(hours=1)
    passwords: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "Collection":
        longest = max(self.interval, self.deadline)
        if self.credential_report is ReportMode.VALUES:
            longest = max(longest, timedelta(hours=6))
        if self.stale_after <= longest:
            raise invalid(
                "stale_after must be longer than interval and deadline, and than 6h with"
                " credential_report: values; else facts are dropped before they can be confirmed"
            )
        return self


class AccountEntry(Section):
    account_id: AccountId | None = None
    name: Name | None = None
    role_arn: Role | None = None
    external_id: ExternalId | None = None
    session_name: SessionName = "aws-iam-key-exporter"
    profile: Name | None = None
    requests_per_second: PositiveFloat | None = None
    burst: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "AccountEntry":
        if self.role_arn is None:
            if self.external_id is not None:
                raise invalid("external_id is for assuming a role: give role_arn as well")
            return self
        owner = self.role_arn.account_id
        if self.account_id not in (None, owner):
            raise invalid(f"role_arn is a role of account {owner}, not of {self.account_id}")
        return self

    def account(self) -> Account:
        arn = self.role_arn
        return Account(
            id=self.account_id or (arn.account_id if arn else ""),
            name=self.name or "",
            partition=arn.partition if arn else Partition.AWS,
            role_arn=self.role_arn,
            external_id=self.external_id,
            session_name=self.session_name,
            profile=self.profile,
            requests_per_second=self.requests_per_second,
            burst=self.burst,
        )


class Users(Section):
    include: tuple[Pattern, ...] = Field(default=(".*",), strict=False)
    exclude: tuple[Pattern, ...] = Field(default=(), strict=False)

    def matcher(self) -> Callable[[str], bool]:
        """Give what tells whether a user of some name is to be read. Patterns fit whole names."""
        include = [re.compile(pattern) for pattern in self.include]
        exclude = [re.compile(pattern) for pattern in self.exclude]

        def matches(name: str) -> bool:
            wanted = any(pattern.fullmatch(name) for pattern in include)
            return wanted and not any(pattern.fullmatch(name) for pattern in exclude)

        return matches


class Labels(Section):
    access_key_id: IdFormat = KeyIdFormat.FULL
    hash_secret: Name | None = Field(default=None, repr=False)
    user_tags: tuple[Name, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _consistent(self) -> "Labels":
        if self.access_key_id is KeyIdFormat.HASHED and self.hash_secret is None:
            raise invalid("hashed ids need a hash_secret, so that nobody finds them by trying")
        names: dict[str, str] = {}
        for tag in self.user_tags:
            other = names.setdefault(label_of_tag(tag), tag)
            if other != tag:
                text = f"user_tags {other!r} and {tag!r} would both be the label"
                raise invalid(f"{text} {label_of_tag(tag)!r}")
        return self


def label_of_tag(tag: str) -> str:
    """Make a label's name of a tag's."""
    return "tag_" + re.sub(r"[^a-zA-Z0-9_]", "_", tag)


class ExemptionEntry(Section):
    until: Until
    user: Pattern | None = None
    access_key_id: Name | None = None
    account: Name | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _names_something(self) -> "ExemptionEntry":
        if not (self.user or self.access_key_id or self.account):
            raise invalid("names no user, access_key_id or account: it would exempt every key")
        return self


class ExemptionList(Section):
    tag: Name = "key-exporter:exempt-until"
    entries: tuple[ExemptionEntry, ...] = Field(default=(), strict=False)


class EndpointUrls(Section):
    iam: Url | None = None
    sts: Url | None = None


class Aws(Section):
    region: Name | None = None
    endpoint_urls: EndpointUrls = EndpointUrls()
    use_fips: bool = False
    use_dualstack: bool = False


class Config(Section):
    collection: Collection = Collection()
    accounts: tuple[AccountEntry, ...] = Field(default=(), strict=False)
    users: Users = Users()
    labels: Labels = Labels()
    exemptions: ExemptionList = ExemptionList()
    aws: Aws = Aws()

    def model_accounts(self) -> list[Account]:
        """List the accounts to read: that of the credentials found, if none is configured."""
        return [entry.account() for entry in self.accounts or (AccountEntry(),)]

    def warnings(self) -> list[str]:
        """Say what is accepted and probably not meant."""
        found = []
        if self.collection.interval < timedelta(minutes=15):
            found.append("collection.interval below 15m gains nothing: AWS records no faster")
        if self.collection.requests_per_second > 10:
            found.append("collection.requests_per_second above 10 gets accounts throttled")
        return found


def check_references(document: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """
    Find what is wrong between sections of *document*, each with its path.

    Takes a document as it is read, whatever else is wrong with it.
    """
    sections = document if isinstance(document, dict) else {}
    collection = sections.get("collection") or {}
    labels = sections.get("labels") or {}
    if isinstance(collection, dict) and isinstance(labels, dict):
        tags_are_read = collection.get("user_tags", False) not in (False, "off")
        if labels.get("user_tags") and not tags_are_read:
            yield ("labels", "user_tags"), "needs collection.user_tags: bulk or per_user"
    ids: dict[str, int] = {}
    names: dict[str, int] = {}
    entries = sections.get("accounts") or []
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        try:
            account = AccountEntry.model_validate(entry).account()
        except ValueError:
            continue  # told elsewhere
        first = ids.setdefault(account.id, number) if account.id else number
        if first != number:
            yield ("accounts", number), f"is account {account.id}, as accounts[{first}] is"
            continue
        first = names.setdefault(account.label, number)
        if first != number:
            yield ("accounts", number), f"is called {account.label!r}, as accounts[{first}] is"
