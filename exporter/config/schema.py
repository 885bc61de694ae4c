"""The options: names, types, defaults and constraints. Defaults are defined here and only here."""

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, ValidationError, model_validator

from exporter.config.accounts import AccountEntry, Organization, Users
from exporter.config.files import secret_files
from exporter.config.locations import DatabaseUrl, StatePath, Url
from exporter.config.section import Section
from exporter.config.values import (
    Boolean,
    Burst,
    Days,
    Duration,
    Expiry,
    IdFormat,
    MetricNames,
    Mode,
    Name,
    Names,
    Pattern,
    Rate,
    Secret,
    Source,
    Workers,
    invalid,
)
from exporter.model import Account, KeyIdFormat, ReportMode, TagSource

SECRETS = frozenset({"external_id", "discovery_external_id", "hash_secret"})
"""Options whose values are never shown, neither in errors nor in summaries."""


KEY_ID = r"(?i)A[KS]IA[A-Z0-9]{12,}"


class Collection(Section):
    interval: Duration = timedelta(minutes=15)
    workers: Workers = 32
    requests_per_second: Rate = 5.0
    burst: Burst = 10
    deadline: Duration = timedelta(hours=1)
    credential_report: Mode = ReportMode.AUTO
    stale_after: Duration = timedelta(days=7)
    user_tags: Source = TagSource.OFF
    user_tags_interval: Duration = timedelta(hours=1)
    passwords: Boolean = False

    @model_validator(mode="after")
    def _consistent(self) -> "Collection":
        longest = max(self.interval, self.deadline)
        if self.credential_report is ReportMode.VALUES:
            longest = max(longest, timedelta(hours=6))
        if self.stale_after <= longest:
            raise invalid(
                "stale_after must be longer than interval and deadline, and longer than 6h with"
                " credential_report: values; otherwise data is dropped before it can be confirmed"
            )
        return self


class Labels(Section):
    access_key_id: IdFormat = KeyIdFormat.FULL
    hash_secret: Secret | None = Field(default=None, repr=False)
    hash_secret_file: Name | None = None
    user_tags: Names = ()
    account_tags: Names = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Labels":
        if self.access_key_id is KeyIdFormat.HASHED and self.hash_secret is None:
            raise invalid("hashed IDs require a hash_secret: without one they could be guessed")
        for option in ("user_tags", "account_tags"):
            self._check_tags(option, getattr(self, option))
        return self

    def _check_tags(self, option: str, tags: Iterable[str]) -> None:
        names: dict[str, str] = {}
        for tag in tags:
            if self.access_key_id is not KeyIdFormat.FULL and re.search(KEY_ID, tag):
                raise invalid(f"{option} must not contain access key IDs, which would be shown")
            other = names.setdefault(label_of_tag(tag), tag)
            if other != tag:
                text = f"{option} {other!r} and {tag!r} both become the label"
                raise invalid(f"{text} {label_of_tag(tag)!r}")


def label_of_tag(tag: str) -> str:
    """Return the name of the label for a user tag."""
    return "tag_" + re.sub(r"[^a-zA-Z0-9_]", "_", tag)


class ExemptionEntry(Section):
    until: Expiry
    user: Pattern | None = None
    access_key_id: Name | None = None
    account: Name | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _selects_keys(self) -> "ExemptionEntry":
        if not (self.user or self.access_key_id or self.account):
            raise invalid("requires user, access_key_id or account: otherwise every key is exempt")
        return self


class ExemptionList(Section):
    tag: Name = "key-exporter:exempt-until"
    entries: tuple[ExemptionEntry, ...] = Field(default=(), strict=False)


class Changes(Section):
    shown_for: Duration = timedelta(days=1)
    min_idle: Duration = timedelta(days=30)
    learning: Duration = timedelta(days=7)


class Counts(Section):
    days: Days = (0, 1, 7, 30, 45, 60, 90, 180, 365)
    by_tags: Names = ()

    @model_validator(mode="after")
    def _unique(self) -> "Counts":
        if len({*self.by_tags}) < len(self.by_tags):
            raise invalid("by_tags must not have a tag twice")
        return self


class Metrics(Section):
    exclude: MetricNames = ()


class State(Section):
    path: StatePath | None = None
    url: DatabaseUrl | None = Field(default=None, repr=False)
    keep_events: Duration = timedelta(days=400)

    @model_validator(mode="after")
    def _one_place(self) -> "State":
        if self.path is not None and self.url is not None:
            raise invalid("path and url exclude each other: a file or a database")
        return self

    def location(self) -> Path | str | None:
        """Return the SQLite file or the URL of the database. None: nothing survives a restart."""
        return self.url if self.path is None else Path(self.path)

    def passwords(self) -> list[str]:
        """List what must not be shown of the URL: passwords, as they are written and in plain."""
        if self.url is None:
            return []
        parts = urlsplit(self.url)
        user_info = parts.netloc.rpartition("@")[0]
        password = user_info.partition(":")[2]
        query = [value for name, value in parse_qsl(parts.query) if "password" in name]
        hidden = [user_info, password, unquote(password)] if password else []
        return list(dict.fromkeys((*hidden, *query)))


class EndpointUrls(Section):
    iam: Url | None = Field(default=None, repr=False)
    sts: Url | None = Field(default=None, repr=False)
    organizations: Url | None = Field(default=None, repr=False)

    def passwords(self) -> list[str]:
        """List what must not be shown of the URLs: user names and passwords."""
        urls = self.by_service().values()
        parts = [url.partition("://")[2].rpartition("@")[0] for url in urls]
        passwords = [part.partition(":")[2] for part in parts]
        return [part for part in (*parts, *passwords) if part]

    def by_service(self) -> dict[str, str]:
        """Return the configured URLs by the name of the service."""
        urls = {"iam": self.iam, "sts": self.sts, "organizations": self.organizations}
        return {service: url for service, url in urls.items() if url is not None}


class Aws(Section):
    region: Name | None = None
    endpoint_urls: EndpointUrls = EndpointUrls()
    use_fips: Boolean = False
    use_dualstack: Boolean = False


class Config(Section):
    collection: Collection = Collection()
    accounts: tuple[AccountEntry, ...] = Field(default=(), strict=False)
    organization: Organization | None = None
    users: Users = Users()
    labels: Labels = Labels()
    exemptions: ExemptionList = ExemptionList()
    changes: Changes = Changes()
    counts: Counts = Counts()
    metrics: Metrics = Metrics()
    state: State = State()
    aws: Aws = Aws()

    def with_state_path(self, path: str) -> "Config":
        """
        Return this configuration with *path* in the place of ``state.path`` and ``state.url``.

        Raises:
            ValueError: *path* is invalid. The message says what is valid.
        """
        try:
            valid = State(path=path)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from error
        state = self.state.model_copy(update={"path": valid.path, "url": None})
        return self.model_copy(update={"state": state})

    def secrets(self) -> list[str]:
        """List the texts that must not be shown anywhere, longest first."""
        secrets = [*self.aws.endpoint_urls.passwords(), *self.state.passwords()]
        if self.labels.hash_secret is not None:
            secrets.append(self.labels.hash_secret)
        return sorted(secrets, key=len, reverse=True)

    def secret_files(self) -> list[str]:
        """List the files that secrets were read from."""
        return [*secret_files(self.model_dump())]

    def model_accounts(self) -> list[Account]:
        """
        List the accounts that are configured.

        Default, without an organization: the one that the AWS credentials belong to.
        """
        default = () if self.organization is not None else (AccountEntry(),)
        return [entry.account() for entry in self.accounts or default]


Finding = tuple[tuple[str | int, ...], str]
"""The path and message of a problem."""

SectionType = TypeVar("SectionType", bound=Section)


def _valid(section: type[SectionType], value: Any) -> SectionType | None:
    """Return *value* as a *section*. None: it is invalid, which has been reported already."""
    try:
        return section.model_validate(value)
    except ValidationError:
        return None


def _only(option: str, section: type[SectionType], value: Any) -> SectionType | None:
    """Return *value* as a *section* with this option alone: others may be invalid."""
    given = value if isinstance(value, dict) else {}
    return _valid(section, {option: given[option]} if option in given else {})


def check_references(document: Any) -> Iterator[Finding]:
    """
    Check what depends on several sections, and yield the path and message of each problem.

    Args:
        document: The parsed YAML, before validation: it may have any other problem as well.
    """
    sections = document if isinstance(document, dict) else {}
    collection = sections.get("collection") or {}
    labels = sections.get("labels") or {}
    if isinstance(collection, dict) and isinstance(labels, dict):
        tags_are_read = collection.get("user_tags", False) not in (False, "off")
        if labels.get("user_tags") and not tags_are_read:
            yield ("labels", "user_tags"), "requires collection.user_tags: bulk or per_user"
        if labels.get("account_tags") and not sections.get("organization"):
            yield ("labels", "account_tags"), "requires organization: other accounts have no tags"
    if sections.get("organization", ...) is None:
        # Else the exporter would read one account, and nobody would notice what is missing.
        yield ("organization",), "is empty: set role_name, or remove the section"
    yield from _check_counts(sections)
    yield from _check_state(sections)
    yield from _check_accounts(sections)


def _check_counts(sections: dict[str, Any]) -> Iterator[Finding]:
    counts = _only("by_tags", Counts, sections.get("counts"))
    labels = _only("user_tags", Labels, sections.get("labels"))
    if counts and labels:
        for tag in counts.by_tags:
            if tag not in labels.user_tags:
                yield ("counts", "by_tags"), f"requires {tag!r} in labels.user_tags"


def _check_state(sections: dict[str, Any]) -> Iterator[Finding]:
    state = _only("keep_events", State, sections.get("state"))
    changes = _only("shown_for", Changes, sections.get("changes"))
    if state and changes and state.keep_events < changes.shown_for:
        text = "must not be shorter than changes.shown_for: events would be deleted while exported"
        yield ("state", "keep_events"), text


def _check_accounts(sections: dict[str, Any]) -> Iterator[Finding]:
    ids: dict[str, int] = {}
    names: dict[str, int] = {}
    entries = sections.get("accounts") or []
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        valid = _valid(AccountEntry, entry)
        if valid is None:
            continue
        account = valid.account()
        first = ids.setdefault(account.id, number) if account.id else number
        if first != number:
            yield (
                ("accounts", number),
                f"duplicate account {account.id}, already configured in accounts[{first}]",
            )
            continue
        first = names.setdefault(account.label, number)
        if first != number:
            yield (
                ("accounts", number),
                f"duplicate name {account.label!r}, already used by accounts[{first}]",
            )
