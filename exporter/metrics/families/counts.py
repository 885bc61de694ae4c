"""Families that count the active access keys of an account."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from exporter.metrics.counts import KeyCounts
from exporter.metrics.families.family import CountFamily, Samples

_LOWER_BOUND = (
    "A lower bound where the last use of some keys, or the keys of some users, are unknown. Absent:"
    " nothing is known."
)


def _by_days(
    durations: Callable[[KeyCounts], Sequence[timedelta] | None],
) -> Callable[[KeyCounts], Samples]:
    def samples(counts: KeyCounts) -> Samples:
        known = durations(counts)
        return () if known is None else counts.by_days(known)

    return samples


COUNT_FAMILIES: tuple[CountFamily, ...] = (
    CountFamily(
        name="aws_iam_account_access_keys_idle",
        help="Number of active keys, without exempt ones, that were used and had then been idle for"
        " at least that many days when AWS last reported their last use (GetAccessKeyLastUsed)."
        f" {_LOWER_BOUND}",
        extra_labels=("days",),
        samples=_by_days(lambda counts: counts.idle),
    ),
    CountFamily(
        name="aws_iam_account_access_keys_never_used",
        help="Number of active keys, without exempt ones, that were created at least that many days"
        " before AWS last reported that they were never used (GetAccessKeyLastUsed)."
        f" {_LOWER_BOUND}",
        extra_labels=("days",),
        samples=_by_days(lambda counts: counts.never_used),
    ),
    CountFamily(
        name="aws_iam_account_access_keys_age",
        help="Number of active keys, without exempt ones, that were created at least that many days"
        " before AWS last reported them. A lower bound where the keys of some users are unknown."
        " Absent: nothing is known.",
        extra_labels=("days",),
        samples=_by_days(lambda counts: counts.age),
    ),
    CountFamily(
        name="aws_iam_account_access_keys_exempt",
        help="Number of active keys that are exempt from findings. A lower bound where the keys of"
        " some users are unknown. Absent: nothing is known.",
        value=lambda counts: counts.exempt,
    ),
    CountFamily(
        name="aws_iam_account_access_keys_superseded",
        help="Number of active keys, without exempt ones, whose user has another active key that"
        f" was used later (GetAccessKeyLastUsed). {_LOWER_BOUND}",
        value=lambda counts: counts.superseded,
    ),
    CountFamily(
        name="aws_iam_account_access_keys_unknown",
        help="Number of active keys, without exempt ones, whose last use is unknown: by this number"
        " the counts of idle, never used and superseded keys may be too low. Absent: the keys of"
        " some users are unknown.",
        value=lambda counts: counts.unknown,
    ),
)
