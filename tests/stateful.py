"""The exporter as a process that keeps state: its configuration, its pages and what it stored."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.builders import MONITORING, ROLE
from tests.fake_aws import FakeAws
from tests.servers import Exporter, exporter

QUICK: Mapping[str, Any] = {
    "interval": "0.2s",
    "requests_per_second": 1000,
    "burst": 1000,
    "credential_report": "off",
}
"""The section `collection` of an exporter that refreshes its accounts again and again."""

STORE_FAILS = "cannot use the store"


def configuration(
    accounts: Sequence[str],
    state: Path | str,
    *,
    collection: Mapping[str, Any] = QUICK,
    others: Sequence[Mapping[str, Any]] = (),
) -> str:
    """
    Return the configuration, which is YAML, of an exporter that assumes a role in *accounts*.

    Args:
        state: A path, or the URL of a database.
        others: More accounts.
    """
    roles = [
        {"account_id": id, "role_arn": f"arn:aws:iam::{id}:role/{ROLE}", "name": f"account-{id}"}
        for id in accounts
    ]
    return json.dumps(
        {
            "collection": collection,
            "accounts": [*roles, *others],
            "state": {"path": str(state)} if isinstance(state, Path) else {"url": state},
        }
    )


@contextmanager
def running(
    aws: FakeAws, folder: Path, text: str, *, credentials: str = MONITORING
) -> Iterator[Exporter]:
    """Run the exporter with the configuration *text* and the credentials of an account."""
    file = folder / "config.yaml"
    file.write_text(text)
    with exporter(f"--config.file={file}", environment=aws.environment(credentials)) as started:
        yield started


class Page:
    """A page of metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def value(self, family: str, **labels: str) -> float | None:
        """Return the value of the sample with *labels*, and perhaps more; None: there is none."""
        found = [
            value for having, value in self.samples(family) if labels.items() <= having.items()
        ]
        assert len(found) < 2, (family, labels, found)
        return found[0] if found else None

    def samples(self, family: str) -> list[tuple[dict[str, str], float]]:
        return self._samples.get(family, [])

    def by_key(self, family: str) -> dict[str, float]:
        """Return the values of a family of access keys, by key id."""
        return {labels["access_key_id"]: value for labels, value in self.samples(family)}

    def by_account(self, family: str) -> dict[str, float]:
        return {labels["account_id"]: value for labels, value in self.samples(family)}

    @property
    def facts(self) -> list[str]:
        """The lines about AWS, without those that depend on the time of the scrape."""
        return [
            line
            for line in self.text.splitlines()
            if line.startswith("aws_iam_a") and "_age_seconds{" not in line
        ]


def page_of(running: Exporter) -> Page:
    return Page(running.get("/metrics"))


def rows_of(state: Path, table: str = "events") -> list[dict[str, Any]]:
    """Read a table of the state."""
    with closing(sqlite3.connect(f"{state.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608


def events_in(log: str) -> Counter[str]:
    """Count the lines about events in a log, by what they say, without their own time."""
    lines = [line.split(maxsplit=2)[2] for line in log.splitlines() if " at=20" in line]
    return Counter(line.strip() for line in lines)
