"""What a row in the table of metric families declares."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Generic, Literal, TypeVar

from exporter.metrics.counts import KeyCounts
from exporter.metrics.facts import AccountFacts, KeyFacts
from exporter.metrics.options import RenderOptions
from exporter.metrics.subjects import Subject, Subjects
from exporter.model import Event, User

ACCOUNT = ("account_id", "account")
USER = (*ACCOUNT, "user")
KEY = (*USER, "access_key_id")

Kind = Literal["gauge", "counter", "histogram"]
Samples = Iterable[tuple[tuple[str, ...], float]]
"""(values of the extra labels, sample value) pairs."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """
    A metric family.

    Attributes:
        subject: The names of the labels that identify what the samples are about.
        help: The meaning, unit and source call, and what the absence of a sample means.
        extra_labels: The names of the labels besides those of the subject.
    """

    subject: ClassVar[tuple[str, ...]] = ()

    name: str
    kind: Kind = "gauge"
    help: str
    extra_labels: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of all labels except those of user tags, which the configuration names."""
        return (*self.subject, *self.extra_labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotFamily(Family, Generic[T]):
    """
    A family rendered when the snapshot of an account is published.

    Attributes:
        value: Returns the sample value about one subject; None where the fact is unknown. For
            families without extra labels.
        samples: Returns the samples about one subject. For families with extra labels.
        enabled: Whether samples are exposed with these options.
        tag_labels: The tags of the subject are labels, too.
    """

    value: Callable[[T], float | None] | None = None
    samples: Callable[[T], Samples] | None = None
    enabled: Callable[[RenderOptions], bool] = lambda options: True
    tag_labels: bool = False

    def samples_of(self, facts: T) -> Samples:
        """Return the samples about one subject; none where the fact is unknown."""
        if self.samples is not None:
            return self.samples(facts)
        number = self.value(facts) if self.value is not None else None
        return () if number is None else (((), number),)

    def subjects(self, of: Subjects) -> Sequence[Subject[T]]:
        """Choose what the samples are about."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFamily(SnapshotFamily[KeyFacts]):
    """
    Facts about an access key.

    Attributes:
        age: The sample values are Unix times, exposed as the seconds since then.
    """

    subject: ClassVar[tuple[str, ...]] = KEY

    age: bool = False

    def subjects(self, of: Subjects) -> Sequence[Subject[KeyFacts]]:
        return of.keys


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFamily(SnapshotFamily[Sequence[Event]]):
    """Recent events of one access key, which may no longer exist."""

    subject: ClassVar[tuple[str, ...]] = KEY

    tag_labels: bool = True

    def subjects(self, of: Subjects) -> Sequence[Subject[Sequence[Event]]]:
        return of.events


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFamily(SnapshotFamily[User]):
    """Facts about a user."""

    subject: ClassVar[tuple[str, ...]] = USER

    def subjects(self, of: Subjects) -> Sequence[Subject[User]]:
        return of.users


@dataclass(frozen=True, slots=True, kw_only=True)
class CountFamily(SnapshotFamily[KeyCounts]):
    """Counts of an account's active access keys, by the tags that `counts.by_tags` names."""

    subject: ClassVar[tuple[str, ...]] = ACCOUNT

    tag_labels: bool = True

    def subjects(self, of: Subjects) -> Sequence[Subject[KeyCounts]]:
        return of.counts


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFamily(SnapshotFamily[AccountFacts]):
    """
    Facts about an account and its refreshes.

    Attributes:
        unidentified: Samples are also exposed while the id of the account is unknown. Others are
            not: their labels would change as soon as it is known.
    """

    subject: ClassVar[tuple[str, ...]] = ACCOUNT

    unidentified: bool = False

    def subjects(self, of: Subjects) -> Sequence[Subject[AccountFacts]]:
        return of.account if self.unidentified or of.identified else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterFamily(Family):
    """
    Facts about the exporter itself, kept by the client library.

    Attributes:
        optional: There is no sample until the value is set.
        serving: It is about requests to the exporter.
    """

    optional: bool = False
    serving: bool = False


def unix(at: datetime | None) -> int | None:
    """Convert to a Unix time: AWS reports whole seconds."""
    return None if at is None else int(at.timestamp())
