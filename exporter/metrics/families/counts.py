"""
Families that count the active access keys of an account, so that nobody has to look at every key.

Exempt keys are counted as exempt, and as used in a region; nowhere else.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

from exporter.metrics.counts import KeyCounts
from exporter.metrics.families.family import CountFamily, Samples

_LOWER_BOUND = (
    " A lower bound where some last uses, or the keys of some users, are unknown. Absent: nothing"
    " is known."
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
        help="Number of active keys, except exempt ones, that were used, but not within the last"
        " days before AWS reported it (GetAccessKeyLastUsed)." + _LOWER_BOUND,
        extra_labels=("days",),
        samples=_by_days(lambda counts: counts.idle),
    ),
    CountFamily(
        name="aws_iam_account_access_keys_never_used",
        help="Number of active keys, except exempt ones, that were never used and were created at"
        " least so many days before AWS reported it (GetAccessKeyLastUsed)." + _LOWER_BOUND,
        extra_labels=("days",),
        samples=_by_days(lambda counts: counts.never_used),
    ),
    CountFamily(
        name="aws_iam_account_access_keys_age",
        help="Number of active keys, except exempt ones, that were created at least so many days"
        " before AWS last reported them. A lower bound where the keys of some users are unknown."
        " Absent: no keys are known.",
        extra_labels=("days",),
        samples=_by_days(lambda counts: counts.age),
    ),
    CountFamily(
        name="aws_iam_account_access_keys_exempt",
        help="Number of active keys that are exempt from findings. A lower bound where the keys of"
        " some users are unknown. Absent: no keys are known.",
        value=lambda counts: counts.exempt,
    ),
    CountFamily(
        name="aws_iam_account_access_keys_superseded",
        help="Number of active keys, except exempt ones, whose user has another active key that was"
        " used later (GetAccessKeyLastUsed)." + _LOWER_BOUND,
        value=lambda counts: counts.superseded,
    ),
    CountFamily(
        name="aws_iam_account_access_keys_unknown",
        help="Number of active keys, except exempt ones, whose last use is unknown: by so many the"
        " numbers of idle and never used keys may be too low. Absent: the keys of some users are"
        " unknown.",
        value=lambda counts: counts.unknown,
    ),
)
