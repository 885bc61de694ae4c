"""The types of options: how values are validated, and how they are written in a summary."""

import difflib
import re
import warnings
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_before_validator_function

from exporter.config.metric_names import METRICS
from exporter.model import KeyIdFormat, Partition, ReportMode, RoleArn, TagSource, parse_expiry

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
"""Seconds by unit."""

DURATION = r"(?:[0-9]+(?:\.[0-9]+)?[smhdw])+"

MAX_DURATION = timedelta(days=3650)

MIN_RATE = 0.001
"""Requests per second."""

MAX_DAYS = 20
"""How many numbers of days keys are counted by."""

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")


class FromEnvironment(str):
    """
    The text of a value that has environment variables.

    Numbers, booleans and lists accept it, although they accept no other strings.
    """

    __slots__ = ()


def invalid(text: str) -> PydanticCustomError:
    """
    Create a validation error with the message *text*.

    *text* must not quote the value: it may be a secret from an environment variable. The loader
    appends the value as it is written in the file.
    """
    return PydanticCustomError("invalid", "{text}", {"text": text})


def parse_duration(value: object) -> timedelta:
    """
    Parse a duration such as ``1h30m``.

    Raises:
        ValueError: *value* is none. The message says what is valid.
    """
    parts = re.fullmatch(DURATION, value) if isinstance(value, str) else None
    if parts is None:
        raise invalid("must be a duration such as 30s, 15m, 1h30m or 7d")
    found = re.findall(r"([\d.]+)([smhdw])", parts.group())
    seconds = sum(float(number) * UNITS[unit] for number, unit in found)
    if seconds > MAX_DURATION.total_seconds():
        raise invalid("must not be longer than ten years")
    return timedelta(seconds=seconds)


def _positive_duration(value: object) -> timedelta:
    duration = parse_duration(value)
    if not duration:
        raise invalid("must be greater than 0")
    return duration


def duration_text(duration: timedelta) -> str:
    """Write *duration* as it is configured, such as ``1h30m``."""
    text, seconds = "", duration.total_seconds()
    for unit in "dhms":
        count = seconds if unit == "s" else seconds // UNITS[unit]
        if count:
            text += f"{count:.6f}".rstrip("0").rstrip(".") + unit
        seconds -= count * UNITS[unit]
    return text


def _pattern(value: object) -> object:
    if isinstance(value, str):
        if not value:
            raise invalid("must not be empty")
        try:
            with warnings.catch_warnings():  # such as one about a possible nested set
                warnings.simplefilter("ignore")
                re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise invalid(f"invalid regular expression ({error})") from error
    return value


def _account_id(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        raise invalid("must be quoted: YAML reads bare digits as a number")
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{12}", value):
        raise invalid("must be a 12-digit account ID")
    return value


def _role_arn(value: object) -> RoleArn:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be a string")
    try:
        return RoleArn.parse(value)
    except ValueError as error:
        raise invalid(str(error)) from error


def _member_of(enum: type[StrEnum]) -> BeforeValidator:
    *names, last = (repr(str(member)) for member in enum)

    def validate(value: object) -> object:
        if value is False:  # YAML reads a bare off as false
            value = "off"
        if not isinstance(value, str) or value not in tuple(enum):
            raise invalid(f"must be {', '.join(names)} or {last}")
        return enum(value)

    return BeforeValidator(validate)


def _expiry(value: object) -> datetime:
    if isinstance(value, date):  # what YAML makes of unquoted dates and times
        value = value.isoformat()
    try:
        if isinstance(value, str):
            return parse_expiry(value)
    except ValueError:
        pass
    raise invalid("must be a date such as 2026-12-31")


def _integer(value: object) -> object:
    if isinstance(value, FromEnvironment) and re.fullmatch(r"[0-9]{1,18}", value.strip()):
        return int(value)
    return value


def _number(value: object) -> object:
    if isinstance(value, FromEnvironment):
        try:
            return float(value)
        except ValueError:
            return value
    # float() fails for an integer that is too large; no bound is anywhere near.
    return min(value, 10**12) if isinstance(value, int) and not isinstance(value, bool) else value


def _not_too_slow(rate: float) -> float:
    if rate < MIN_RATE:
        raise invalid(f"must be at least {MIN_RATE}")
    return rate


def _unique_and_sorted(days: tuple[int, ...]) -> tuple[int, ...]:
    if len(days) > MAX_DAYS:
        raise invalid(f"must have at most {MAX_DAYS} numbers: each is three series per account")
    if len({*days}) < len(days):
        raise invalid("must not have a number twice")
    return tuple(sorted(days))


def _boolean(value: object) -> object:
    if isinstance(value, FromEnvironment):
        word = value.strip().lower()
        return word in TRUE if word in TRUE + FALSE else value
    return value


def _metric_name(value: object) -> object:
    if not isinstance(value, str) or value in METRICS:
        return value
    close = difflib.get_close_matches(value[:100], sorted(METRICS), n=1)
    suggestion = f"; did you mean {close[0]}?" if close else ""
    raise invalid(f"is none of the exporter's metrics of AWS and of itself{suggestion}")


def _list(value: object) -> object:
    """Split a variable: ``a, b`` or, for what has commas itself, a list in YAML: ``["a", "b"]``."""
    if not isinstance(value, FromEnvironment):
        return value
    if value.lstrip().startswith("["):
        try:
            return yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError):
            return value
    return [FromEnvironment(part.strip()) for part in value.split(",") if part.strip()]


def _session_duration(value: object) -> timedelta:
    duration = _positive_duration(value)
    if duration < timedelta(minutes=30):
        # botocore and we renew a session minutes before it ends: with 15m, for every call.
        raise invalid("must be at least 30m: shorter sessions would be renewed all the time")
    if duration > timedelta(hours=12):
        raise invalid("must be at most 12h, which is the longest session that AWS allows")
    return duration


def _tag_patterns(value: object) -> object:
    """Accept one pattern where there is no list of them."""
    if not isinstance(value, dict):
        return value
    return {name: [item] if isinstance(item, str) else item for name, item in value.items()}


@dataclass(frozen=True, slots=True)
class _Matching:
    """
    Refuses a string with *message* unless *pattern* matches all of it.

    The pattern means the same in Python and in a JSON schema.
    """

    pattern: str
    message: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_before_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^(?:{self.pattern})$"}

    def _validate(self, value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(self.pattern, value, re.ASCII):
            raise invalid(self.message)
        return value


def text_of(pattern: str) -> WithJsonSchema:
    """Describe to editors a string that *pattern* matches; validators may know more about it."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$"})


POSITIVE_DURATION = rf"(?=.*[1-9])(?:{DURATION})"

Duration = Annotated[
    timedelta,
    BeforeValidator(_positive_duration),
    PlainSerializer(duration_text, when_used="json"),
    text_of(POSITIVE_DURATION),
]
Pattern = Annotated[str, BeforeValidator(_pattern), text_of(r"[\s\S]+")]
AccountId = Annotated[str, BeforeValidator(_account_id), text_of("[0-9]{12}")]
Role = Annotated[
    RoleArn,
    PlainValidator(_role_arn),
    PlainSerializer(str, when_used="json"),
    text_of(rf"arn:(?:{'|'.join(Partition)}):iam::[0-9]{{12}}:role/[\w+=,.@/-]+"),
]
Mode = Annotated[ReportMode, _member_of(ReportMode)]
Source = Annotated[TagSource, _member_of(TagSource)]
IdFormat = Annotated[KeyIdFormat, _member_of(KeyIdFormat)]
Expiry = Annotated[
    datetime,
    BeforeValidator(_expiry),
    text_of(r"[0-9]{4}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4}|-?W[0-9]{2})[\s\S]*"),
]
ExternalId = Annotated[
    str,
    _Matching(r"[\w+=,.@:/-]{2,1224}", "must be 2 to 1224 letters, digits or any of _+=,.@:/-"),
]
SessionName = Annotated[
    str, _Matching(r"[\w+=,.@-]{2,64}", "must be 2 to 64 letters, digits or any of _+=,.@-")
]
RoleName = Annotated[
    str,
    _Matching(
        r"[\w+=,.@-]+(?:/[\w+=,.@-]+)*",
        "must be the name of a role, with its path if it has one, not its ARN",
    ),
]
Unit = Annotated[
    str,
    _Matching(
        r"r-[a-z0-9]{4,32}|ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}",
        "must be the ID of an organizational unit (ou-...) or of the root (r-...)",
    ),
]
SourceIdentity = Annotated[
    str, _Matching(r"[\w+=,.@-]{2,64}", "must be 2 to 64 letters, digits or any of _+=,.@-")
]
SessionDuration = Annotated[
    timedelta,
    BeforeValidator(_session_duration),
    PlainSerializer(duration_text, when_used="json"),
    text_of(POSITIVE_DURATION),
]
Name = Annotated[str, _Matching(r"[\s\S]+", "must not be empty")]
Secret = Annotated[str, _Matching(r"[\s\S]{16,}", "must have at least 16 characters")]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
Workers = Annotated[int, Field(gt=0, le=1000), BeforeValidator(_integer)]
Burst = Annotated[int, Field(gt=0, le=1_000_000), BeforeValidator(_integer)]
Rate = Annotated[
    float,
    Field(gt=0, le=1_000_000, allow_inf_nan=False, json_schema_extra={"minimum": MIN_RATE}),
    BeforeValidator(_number),
    AfterValidator(_not_too_slow),
]
Day = Annotated[int, Field(ge=0, le=3650), BeforeValidator(_integer)]
Days = Annotated[
    tuple[Day, ...],
    Field(strict=False, json_schema_extra={"maxItems": MAX_DAYS, "uniqueItems": True}),
    BeforeValidator(_list),
    AfterValidator(_unique_and_sorted),
]
Names = Annotated[tuple[Name, ...], Field(strict=False), BeforeValidator(_list)]
MetricName = Annotated[
    str,
    BeforeValidator(_metric_name),
    WithJsonSchema({"type": "string", "enum": sorted(METRICS)}),
]
MetricNames = Annotated[tuple[MetricName, ...], Field(strict=False), BeforeValidator(_list)]
Patterns = Annotated[tuple[Pattern, ...], Field(strict=False), BeforeValidator(_list)]
Units = Annotated[tuple[Unit, ...], Field(strict=False), BeforeValidator(_list)]
AccountIds = Annotated[tuple[AccountId, ...], Field(strict=False), BeforeValidator(_list)]
TagPatterns = Annotated[dict[Name, Patterns], BeforeValidator(_tag_patterns)]
Roles = Annotated[tuple[Role, ...], Field(strict=False), BeforeValidator(_list)]
SessionTags = Annotated[dict[Name, Name], Field(max_length=50)]
