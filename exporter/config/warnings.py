"""Settings that are valid but inadvisable, or without effect."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from exporter.config.metric_names import NEEDED_BY_RULES
from exporter.config.schema import Config, Counts, ExemptionEntry
from exporter.model import KeyIdFormat, TagSource

AWAKENED: Final = timedelta(days=90)
"""The limit of the alert AwsIamAccessKeyAwakened."""


def warnings_of(
    config: Config, now: datetime, *, region_exists: Callable[[str], bool] = lambda name: True
) -> list[str]:
    """
    Describe the settings of *config* that are inadvisable or have no effect, each in a sentence.

    Args:
        now: Aware. What exemptions are compared with.
        region_exists: Whether AWS has a region of this name.
    """
    return [
        *_collection(config),
        *_exemptions(config, now),
        *_changes(config),
        *_counts(config),
        *_metrics(config),
        *_others(config, region_exists),
    ]


def _collection(config: Config) -> Iterator[str]:
    if config.collection.interval < timedelta(minutes=15):
        yield (
            "collection.interval below 15m has no benefit: AWS updates last-used data at most"
            " every 15 minutes"
        )
    if config.collection.requests_per_second > 10:
        yield "collection.requests_per_second above 10: AWS is likely to throttle"
    for number, entry in enumerate(config.accounts):
        if (entry.requests_per_second or 0) > 10:
            yield f"accounts[{number}].requests_per_second above 10: AWS is likely to throttle"


def _exemptions(config: Config, now: datetime) -> Iterator[str]:
    exemptions = config.exemptions
    if "tag" in exemptions.model_fields_set and config.collection.user_tags is TagSource.OFF:
        yield "exemptions.tag has no effect: user tags are not read (collection.user_tags: off)"
    for number, entry in enumerate(exemptions.entries):
        path = f"exemptions.entries[{number}]"
        if entry.until <= now:
            yield f"{path} has no effect: it ended at {entry.until:%Y-%m-%d %H:%M} UTC"
        if entry.account is not None and not _may_be_an_account(config, entry):
            yield f"{path} has no effect: no account has the ID or name {entry.account!r}"
        key_id = entry.access_key_id
        if key_id is not None and not re.fullmatch(r"A[KS]IA[A-Z0-9]{12,}", key_id):
            yield (
                f"{path} has no effect: access_key_id is not the complete ID of an access key,"
                " 20 capital letters and digits that begin with AKIA"
            )


def _may_be_an_account(config: Config, entry: ExemptionEntry) -> bool:
    accounts = config.model_accounts()
    if any(entry.account in (account.id, account.label) for account in accounts):
        return True
    some_id_is_unknown = any(not account.id for account in accounts)
    return some_id_is_unknown and re.fullmatch(r"[0-9]{12}", entry.account or "") is not None


def _changes(config: Config) -> Iterator[str]:
    if config.changes.min_idle > AWAKENED:
        yield (
            "changes.min_idle above 90d: the alert AwsIamAccessKeyAwakened will not fire for keys"
            " that were idle for less, although its limit is 90 days"
        )
    if config.changes.shown_for < timedelta(minutes=10):
        yield (
            "changes.shown_for below 10m: Prometheus may miss events, and alerts about them"
            " resolve at once"
        )


def _counts(config: Config) -> Iterator[str]:
    missing = [day for day in Counts().days if day not in config.counts.days]
    if missing:
        yield (
            f"counts.days without {', '.join(map(str, missing))}: panels of the shipped dashboards"
            " that count keys by these are empty"
        )
    tags = config.counts.by_tags
    if len(tags) > 2:
        series = 3 * len(config.counts.days) + 3
        yield (
            f"counts.by_tags with {len(tags)} tags: each combination of their values in an account"
            f" is {series} series"
        )
    for tag in tags:
        if re.search(r"(?i)owner|mail|contact|person", tag):
            yield (
                f"counts.by_tags with {tag!r}: if it has a value per person, the counts are as many"
                " series as the keys; use tags with few values, such as the team"
            )


def _metrics(config: Config) -> Iterator[str]:
    for name in dict.fromkeys(config.metrics.exclude):
        if name in NEEDED_BY_RULES:
            yield f"metrics.exclude with {name}: shipped alerts need it and will not fire"


def _others(config: Config, region_exists: Callable[[str], bool]) -> Iterator[str]:
    labels, region = config.labels, config.aws.region
    if labels.hash_secret is not None and labels.access_key_id is not KeyIdFormat.HASHED:
        yield "labels.hash_secret has no effect: labels.access_key_id is not hashed"
    if region is not None and not region_exists(region):
        yield f"aws.region: AWS is not known to have a region {region!r}"
