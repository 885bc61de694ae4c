"""
Scenarios for the alert rules: what the exporter exports over time, and which alerts must fire.

Time starts at 0, so that "90 days ago" is a negative number.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MINUTE, HOUR, DAY = 60, 3600, 86400
STEP = 15 * MINUTE

Value = float | Sequence[tuple[int, float | None]]
"""A constant, or a sequence of (seconds, value): how long each value holds. None: no sample."""

Series = dict[str, Value]
"""Values by series, in Prometheus's notation: ``name{label="value"}``."""

JOB = "aws-iam-key-exporter"
ACCOUNT = {"account_id": "111111111111", "account": "prod"}


@dataclass(frozen=True)
class Scenario:
    """
    Series, and the alerts that the shipped rules must derive from them.

    Attributes:
        series: What Prometheus scrapes.
        firing: Names of the alerts that fire, by time. No other alert may fire at these times, and
            none twice. With *by*, a name is followed by the values of these labels.
        by: Labels that are compared besides the name. All others are ignored.
        step: Seconds between scrapes, and between rule evaluations. A multiple of STEP.
        command: Changes the rules before they are evaluated, run in a copy of the directory that
            they are in. Empty: they are evaluated as shipped.
        early: Whether the early warnings, which are optional, are loaded, too.
    """

    series: Series
    firing: Mapping[int, Iterable[str]]
    by: tuple[str, ...] = ()
    step: int = STEP
    command: str = ""
    early: bool = False

    @property
    def end(self) -> int:
        return max(self.firing)

    @property
    def evaluations(self) -> int:
        """How many times the rules are evaluated."""
        return self.end // self.step + 1

    @property
    def can_share(self) -> bool:
        """
        Whether the scenario can be evaluated in one Prometheus with others, under another job name.

        Not if there is a series without a job, or an exporter that is not always up:
        AwsIamExporterDown watches a fixed job.
        """
        return all(
            f'job="{JOB}"' in name and (value == 1 or not name.startswith("up{"))
            for name, value in self.series.items()
        )


def samples(value: Value, end: int) -> Iterator[tuple[int, float | None]]:
    """Yield (time, value) every STEP; up to *end* for a constant."""
    at = 0
    for seconds, current in value if isinstance(value, Sequence) else [(end, value)]:
        for _ in range(max(1, seconds // STEP)):
            yield at, current
            at += STEP


EACH_SCRAPE: Value = [(STEP, at) for at in range(0, 100 * DAY, STEP)]
"""The time of each scrape."""


# -- builders ----------------------------------------------------------------------------------


def series(name: str, labels: Mapping[str, str], value: Value) -> Series:
    pairs = ",".join(f"{label}={json.dumps(text)}" for label, text in labels.items())
    return {f"{name}{{{pairs}}}": value}


def exporter(
    instance: str = "a",
    *,
    up: Value = 1,
    account_up: Value = 1,
    last_success: Value | None = None,
    configured: Value = 1,
    duration: Value = 10,
    report_usable: Value = 1,
    root_keys: Value = 0,
    store_up: Value | None = 1,
    discovery_up: Value | None = None,
) -> Series:
    """
    Return what an exporter exports about itself and about one account; healthy by default.

    Args:
        last_success: When the last successful refresh began. None: at each scrape.
        store_up: None: there is no store.
        discovery_up: None: there is no organization.
    """
    job = {"job": JOB, "instance": instance}
    of = {**job, **ACCOUNT}
    exported = {
        **series("up", job, up),
        **series("aws_iam_exporter_accounts_configured", job, configured),
        **series("aws_iam_exporter_refresh_interval_seconds", job, 15 * MINUTE),
        **series("aws_iam_exporter_account_up", of, account_up),
        **series(
            "aws_iam_exporter_account_last_success_timestamp_seconds",
            of,
            EACH_SCRAPE if last_success is None else last_success,
        ),
        **series("aws_iam_exporter_account_refresh_duration_seconds", of, duration),
        **series("aws_iam_exporter_account_report_usable", of, report_usable),
        **series("aws_iam_account_root_access_keys", of, root_keys),
    }
    if store_up is not None:
        exported |= series("aws_iam_exporter_store_up", job, store_up)
    if discovery_up is not None:
        exported |= series("aws_iam_exporter_discovery_up", job, discovery_up)
    return exported


def shard(ordinal: int, *, total: Value = 3, shown: Value | None = None) -> Series:
    """
    Return what one of several exporters exports about that.

    Args:
        shown: The ordinal as it is scraped over time. None: always *ordinal*.
    """
    job = {"job": JOB, "instance": f"shard-{ordinal}"}
    of = {**job, "shard_ordinal": str(ordinal)}
    return {
        **series("aws_iam_exporter_total_shards", job, total),
        **series("aws_iam_exporter_shard_ordinal", of, ordinal if shown is None else shown),
    }


def key(
    access_key_id: str = "AKIA1",
    *,
    user: str = "ada",
    instance: str = "a",
    created: Value = 0,
    last_used: Value | None = None,
    never_used: Value | None = None,
    confirmed: Value = EACH_SCRAPE,
    active: Value = 1,
    inactive_since: Value | None = None,
    superseded: Value | None = None,
    exempt_until: Value | None = None,
    tags: Mapping[str, str] | None = None,
) -> Series:
    """
    Return what an exporter exports about one key.

    Args:
        created: By default the start, even if the key was used before: a scenario that is not
            about age has no alert about it.
        last_used: None: never, or unknown.
        never_used: None: unknown, or 0 if *last_used* is given.
        confirmed: When its last use was confirmed, if that is known. By default at each scrape.
    """
    of = {"job": JOB, "instance": instance, **ACCOUNT, "user": user, "access_key_id": access_key_id}
    if never_used is None and last_used is not None:
        never_used = 0
    facts = {
        "created_timestamp_seconds": created,
        "active": active,
        "last_used_timestamp_seconds": last_used,
        "never_used": never_used,
        "confirmed_timestamp_seconds": None if never_used is None else confirmed,
        "inactive_since_timestamp_seconds": inactive_since,
        "superseded_seconds": superseded,
        "exempt_until_timestamp_seconds": exempt_until,
    }
    exported: Series = {}
    for name, value in facts.items():
        if value is not None:
            exported |= series(f"aws_iam_access_key_{name}", of, value)
    for status, is_active in (("Active", 1), ("Inactive", 0)):
        info = {**of, "status": status, "path": "/", "description": "", **(tags or {})}
        exported |= series("aws_iam_access_key_info", info, where(active, is_active))
    return exported


def where(value: Value, wanted: float) -> Value:
    """Return 1 while *value* is *wanted*, and no sample at other times."""
    if isinstance(value, Sequence):
        return [(seconds, 1 if current == wanted else None) for seconds, current in value]
    return 1 if value == wanted else [(STEP, None)]


def event(name: str, value: float, at: int, access_key_id: str = "AKIA1", **labels: str) -> Series:
    """
    Return what an exporter exports about an event of a key of ada that it noticed at *at*.

    Args:
        name: Of the family, without what all families of keys begin with.
        labels: Others than those of the key; also the tags of its user.
    """
    of = {"job": JOB, "instance": "a", **ACCOUNT, "user": "ada", "access_key_id": access_key_id}
    shown: Value = [(at, None), (DAY, value), (STEP, None)] if at else [(DAY, value), (STEP, None)]
    return series(f"aws_iam_access_key_{name}", {**of, **labels}, shown)


def of_instance(exported: Series, instance: str) -> Series:
    """Return the same series as another replica exports them."""
    return {
        name.replace('instance="a"', f'instance="{instance}"'): value
        for name, value in exported.items()
    }


def with_gap(exported: Series, start: int, seconds: int, end: int = 60 * DAY) -> Series:
    """Remove all samples from *start* on, for so many *seconds*. Constants end at *end*."""
    return {
        name: [
            (STEP, None if start <= at < start + seconds else current)
            for at, current in samples(value, end)
        ]
        for name, value in exported.items()
    }
