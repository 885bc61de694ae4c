"""Families about what happened to access keys recently."""

from collections.abc import Callable, Sequence

from exporter.metrics.families.family import EventFamily, Samples
from exporter.model import Event, EventKind


def _seconds(kind: EventKind) -> Callable[[Sequence[Event]], int | None]:
    """The largest number of seconds that events of this *kind* carry."""

    def value(events: Sequence[Event]) -> int | None:
        return max(
            [int(e.seconds) for e in events if e.kind is kind and e.seconds is not None],
            default=None,
        )

    return value


def _created(events: Sequence[Event]) -> int | None:
    noticed = [e.noticed_at.timestamp() for e in events if e.kind is EventKind.CREATED]
    return int(max(noticed)) if noticed else None


def _latest(kind: EventKind, label: Callable[[Event], str]) -> Callable[[Sequence[Event]], Samples]:
    """The time of the latest event of this *kind*, by *label*."""

    def samples(events: Sequence[Event]) -> Samples:
        times: dict[str, int] = {}
        for event in events:
            if event.kind is kind:
                at = int(event.at.timestamp())
                times[label(event)] = max(at, times.get(label(event), at))
        return [((value,), at) for value, at in times.items()]

    return samples


EVENT_FAMILIES: tuple[EventFamily, ...] = (
    EventFamily(
        name="aws_iam_access_key_creation_noticed_timestamp_seconds",
        help="Time at which a key that is new since the previous refresh was noticed, in Unix"
        " seconds (ListAccessKeys). For changes.shown_for after that. Absent: no such event.",
        value=_created,
    ),
    EventFamily(
        name="aws_iam_access_key_first_used_age_seconds",
        help="Age of the key at its first use, in seconds (GetAccessKeyLastUsed). For"
        " changes.shown_for after the use was noticed. Absent: no such event.",
        value=_seconds(EventKind.FIRST_USED),
    ),
    EventFamily(
        name="aws_iam_access_key_used_after_idle_seconds",
        help="Seconds for which the key is known to have been idle before it was used again, the"
        " longest if this happened several times (GetAccessKeyLastUsed). For changes.shown_for"
        " after the use was noticed. Absent: no such event.",
        value=_seconds(EventKind.AWAKENED),
    ),
    EventFamily(
        name="aws_iam_access_key_new_service_timestamp_seconds",
        help="Time of the use of the key for a service that it had not been used for before, in"
        " Unix seconds (GetAccessKeyLastUsed). For changes.shown_for after the use was noticed."
        " Absent: no such event.",
        extra_labels=("service",),
        samples=_latest(EventKind.NEW_SERVICE, lambda event: event.service),
    ),
    EventFamily(
        name="aws_iam_access_key_new_region_timestamp_seconds",
        help="Time of the use of the key in a region that it had not been used in before, in Unix"
        " seconds (GetAccessKeyLastUsed). For changes.shown_for after the use was noticed. Absent:"
        " no such event.",
        extra_labels=("region",),
        samples=_latest(EventKind.NEW_REGION, lambda event: event.region),
    ),
)
