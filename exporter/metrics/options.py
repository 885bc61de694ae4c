"""What the configuration decides about the exposed samples."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from exporter.model import AccessKey, Account, User


@dataclass(frozen=True, slots=True)
class Counts:
    """
    How keys are counted.

    Attributes:
        days: The limits that idle times and ages are compared with.
        by_tags: The names of the user tags that keys are counted by; each is one of those that are
            exposed as labels.
    """

    days: tuple[int, ...] = (0, 1, 7, 30, 45, 60, 90, 180, 365)
    by_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """
    Which facts are exposed, and how.

    Attributes:
        tags: The user tags exposed as labels: label name by tag name.
        account_tags: The tags of accounts exposed as labels: label name by tag name.
        counts: How keys are counted.
        exclude: The names of families that are left out.
        passwords: Expose when console passwords were last used.
        requests_per_second: The rate limit of accounts that do not set one.
        key_labels: Returns the label value of each key of one user, by key id.
        exempt_until: Returns when the exemption of a key expires. None: the key is not exempt.
        description: Returns the description of a key. Empty: it has none, or tags are not read.
        user_names: Returns the label value of each user of one account whose name has a key id in
            it, by name.
        redact: Formats key ids within free text as *key_labels* does.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    account_tags: Mapping[str, str] = field(default_factory=dict)
    counts: Counts = Counts()
    exclude: frozenset[str] = frozenset()
    passwords: bool = False
    requests_per_second: float = 5.0
    key_labels: Callable[[Iterable[AccessKey]], Mapping[str, str]] = lambda keys: {
        key.id: key.id for key in keys
    }
    exempt_until: Callable[[Account, User, AccessKey], datetime | None] = lambda *_: None
    description: Callable[[User, AccessKey], str] = lambda *_: ""
    user_names: Callable[[Iterable[str]], Mapping[str, str]] = lambda names: {}
    redact: Callable[[str], str] = str

    def __post_init__(self) -> None:
        # A copy: a later change to the caller's mapping must not change the label names.
        object.__setattr__(self, "tags", MappingProxyType(dict(self.tags)))
        object.__setattr__(self, "account_tags", MappingProxyType(dict(self.account_tags)))
        if not set(self.counts.by_tags) <= set(self.tags):
            raise ValueError("keys can only be counted by tags that are labels")
