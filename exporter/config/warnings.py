"""Settings that are valid but inadvisable, or without effect."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from exporter.config.schema import Config, ExemptionEntry
from exporter.model import KeyIdFormat, TagSource


def warnings_of(
    config: Config, now: datetime, *, region_exists: Callable[[str], bool] = lambda name: True
) -> list[str]:
    """
    Describe the settings of *config* that are inadvisable or have no effect, each in a sentence.

    Args:
        now: Aware. What exemptions are compared with.
        region_exists: Whether AWS has a region of this name.
    """
    return [*_collection(config), *_exemptions(config, now), *_others(config, region_exists)]


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


def _others(config: Config, region_exists: Callable[[str], bool]) -> Iterator[str]:
    labels, region = config.labels, config.aws.region
    if labels.hash_secret is not None and labels.access_key_id is not KeyIdFormat.HASHED:
        yield "labels.hash_secret has no effect: labels.access_key_id is not hashed"
    if region is not None and not region_exists(region):
        yield f"aws.region: AWS is not known to have a region {region!r}"
