"""
The metric families: the one place where metrics are defined.

A row declares everything about its family. To add a metric, add a row and run `make generate`,
which updates the documentation and the expected output of the tests.
"""

from typing import Any

from exporter.metrics.families.accounts import ACCOUNT_FAMILIES
from exporter.metrics.families.counts import COUNT_FAMILIES
from exporter.metrics.families.events import EVENT_FAMILIES
from exporter.metrics.families.exporter import EXPORTER_FAMILIES
from exporter.metrics.families.family import (
    ACCOUNT,
    KEY,
    USER,
    AccountFamily,
    CountFamily,
    EventFamily,
    ExporterFamily,
    Family,
    KeyFamily,
    Samples,
    SnapshotFamily,
    UserFamily,
)
from exporter.metrics.families.keys import KEY_FAMILIES, USER_FAMILIES

SNAPSHOT_FAMILIES: tuple[SnapshotFamily[Any], ...] = (
    *KEY_FAMILIES,
    *EVENT_FAMILIES,
    *USER_FAMILIES,
    *COUNT_FAMILIES,
    *ACCOUNT_FAMILIES,
)
"""Those rendered when the snapshot of an account is published."""

FAMILIES: tuple[Family, ...] = (*SNAPSHOT_FAMILIES, *EXPORTER_FAMILIES)
"""All families, in the order in which they are exposed."""

__all__ = [
    "ACCOUNT",
    "ACCOUNT_FAMILIES",
    "COUNT_FAMILIES",
    "EVENT_FAMILIES",
    "EXPORTER_FAMILIES",
    "FAMILIES",
    "KEY",
    "KEY_FAMILIES",
    "SNAPSHOT_FAMILIES",
    "USER",
    "USER_FAMILIES",
    "AccountFamily",
    "CountFamily",
    "EventFamily",
    "ExporterFamily",
    "Family",
    "KeyFamily",
    "Samples",
    "SnapshotFamily",
    "UserFamily",
]
