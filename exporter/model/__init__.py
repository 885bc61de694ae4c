"""
What we know: accounts, users, access keys, their last use, and how the latest refresh went.

Facts and the vocabulary that modules share: no I/O, no clock, no lock. Times are aware datetimes in
UTC, durations float seconds. Everything is immutable and compared by value, so that a value can
cross threads and modules.
"""

from exporter.model.facts import (
    NEVER,
    UNKNOWN,
    AccessKey,
    Account,
    LastUse,
    NoUse,
    RoleArn,
    RoleSession,
    Root,
    Tags,
    Use,
    User,
    latest,
    superseded_seconds,
)
from exporter.model.memory import (
    AccountMemory,
    Event,
    EventKind,
    KeyMemory,
    SeenUse,
)
from exporter.model.snapshots import (
    AccountSnapshot,
    Bookmarks,
    ReportState,
)
from exporter.model.vocabulary import (
    ACTIVE,
    Clock,
    KeyIdFormat,
    Partition,
    ReadError,
    Reason,
    ReportMode,
    Stopped,
    TagSource,
    parse_expiry,
)

__all__ = [
    "ACTIVE",
    "NEVER",
    "UNKNOWN",
    "AccessKey",
    "Account",
    "AccountMemory",
    "AccountSnapshot",
    "Bookmarks",
    "Clock",
    "Event",
    "EventKind",
    "KeyIdFormat",
    "KeyMemory",
    "LastUse",
    "NoUse",
    "Partition",
    "ReadError",
    "Reason",
    "ReportMode",
    "ReportState",
    "RoleArn",
    "RoleSession",
    "Root",
    "SeenUse",
    "Stopped",
    "TagSource",
    "Tags",
    "Use",
    "User",
    "latest",
    "parse_expiry",
    "superseded_seconds",
]
