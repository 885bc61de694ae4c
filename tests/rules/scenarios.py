"""
Scenarios for the alert rules: what the exporter exports over time, and which alerts must fire.

Time starts at 0, so that "90 days ago" is a negative number.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.rules.files import THRESHOLDS

MINUTE, HOUR, DAY = 60, 3600, 86400
STEP = 15 * MINUTE

Value = float | Sequence[tuple[int, float | None]]
"""A constant, or a sequence of (seconds, value): how long each value holds. None: no sample."""

Series = dict[str, Value]
"""Values by series, in Prometheus's notation: ``name{label="value"}``."""

Uses = dict[tuple[str, str], Value]
"""Presence of a last use, by (service, region)."""

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
        thresholds: Text of thresholds.yaml. None: the file is missing.
    """

    series: Series
    firing: Mapping[int, Iterable[str]]
    by: tuple[str, ...] = ()
    step: int = STEP
    thresholds: str | None = THRESHOLDS.read_text(encoding="utf-8")

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
) -> Series:
    """
    Return what an exporter exports about itself and about one account; healthy by default.

    Args:
        last_success: When the last successful refresh began. None: at each scrape.
    """
    job = {"job": JOB, "instance": instance}
    of = {**job, **ACCOUNT}
    if last_success is None:
        last_success = [(STEP, at) for at in range(0, 100 * DAY, STEP)]
    return {
        **series("up", job, up),
        **series("aws_iam_exporter_accounts_configured", job, configured),
        **series("aws_iam_exporter_refresh_interval_seconds", job, 15 * MINUTE),
        **series("aws_iam_exporter_account_up", of, account_up),
        **series("aws_iam_exporter_account_last_success_timestamp_seconds", of, last_success),
        **series("aws_iam_exporter_account_refresh_duration_seconds", of, duration),
        **series("aws_iam_exporter_account_report_usable", of, report_usable),
        **series("aws_iam_account_root_access_keys", of, root_keys),
    }


def key(
    access_key_id: str = "AKIA1",
    *,
    user: str = "ada",
    instance: str = "a",
    created: Value = 0,
    last_used: Value | None = None,
    never_used: Value | None = None,
    active: Value = 1,
    exempt_until: Value | None = None,
    uses: Uses | None = None,
    tags: Mapping[str, str] | None = None,
) -> Series:
    """
    Return what an exporter exports about one key.

    Args:
        created: By default the start, even if the key was used before: a scenario that is not
            about age has no alert about it.
        last_used: None: never, or unknown.
        never_used: None: unknown, or 0 if *last_used* is given.
        tags: None: there is no info series.
    """
    of = {"job": JOB, "instance": instance, **ACCOUNT, "user": user, "access_key_id": access_key_id}
    exported = {
        **series("aws_iam_access_key_created_timestamp_seconds", of, created),
        **series("aws_iam_access_key_active", of, active),
    }
    if last_used is not None:
        exported |= series("aws_iam_access_key_last_used_timestamp_seconds", of, last_used)
        exported |= series("aws_iam_access_key_never_used", of, 0)
    if never_used is not None:
        exported |= series("aws_iam_access_key_never_used", of, never_used)
    if exempt_until is not None:
        exported |= series("aws_iam_access_key_exempt_until_timestamp_seconds", of, exempt_until)
    for (service, region), present in (uses or {}).items():
        place = {**of, "service": service, "region": region}
        exported |= series("aws_iam_access_key_last_used_age_seconds", place, present)
    if tags is not None:
        info = {**of, "status": "Active", "path": "/", "description": "", **tags}
        exported |= series("aws_iam_access_key_info", info, 1)
    return exported


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
