"""Where the commands of the documents run: a copy of the repository's files, and what they need."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from exporter.cli.wiring import SystemClock
from exporter.model import Account, AccountMemory, Event, EventKind, Root
from exporter.store import Store
from tests.builders import a_snapshot
from tests.documents.markdown import ROOT
from tests.fake_aws import FakeAws
from tests.store.values import remembering

PROD, TEST, MONITORING = "111111111111", "222222222222", "999999999999"
ROLE, EXTERNAL_ID, SECRET = "aws-iam-key-exporter", "an-external-id", "0123456789abcdef"

CONFIGURATION = """
collection: {{requests_per_second: 500, burst: 500}}
accounts:
  - name: prod
    role_arn: arn:aws:iam::111111111111:role/aws-iam-key-exporter
    external_id: ${{EXTERNAL_ID}}
  - name: test
    role_arn: arn:aws:iam::222222222222:role/aws-iam-key-exporter
    external_id: ${{EXTERNAL_ID}}
state: {{path: state.db}}
aws:
  region: us-east-1
  endpoint_urls: {{iam: "{url}", sts: "{url}", organizations: "{url}"}}
"""

DIRECTORIES = {"deploy/prometheus/README.md": "deploy/prometheus"}
"""Where the commands of a document run, from the root of the repository, which is the default."""

PLACEHOLDERS = {
    "EXTERNAL_ID=...": f"EXTERNAL_ID={EXTERNAL_ID}",
    "--principal=ARN": "--principal=arn:aws:iam::999999999999:role/exporter",
    "AKIA...": "AKIAIOSFODNN7EXAMPLE",
    "/var/lib/aws-iam-key-exporter/state.db": "state.db",
}
"""What a reader of the documents replaces."""


@dataclass(frozen=True, slots=True)
class Scene:
    """
    What commands need to run.

    Attributes:
        directory: The copy of the repository.
        environment: The environment variables of the commands.
        placeholders: What is replaced in their text.
    """

    directory: Path
    environment: Mapping[str, str]
    placeholders: Mapping[str, str]

    def directory_of(self, document: str) -> Path:
        """Return where the commands of *document* run."""
        return self.directory / DIRECTORIES.get(document, ".")

    def asking(self, exporter: str) -> "Scene":
        """Return the scene in which the exporter is at the address *exporter*."""
        addresses = dict.fromkeys(("EXPORTER:10064", "127.0.0.1:10064"), exporter)
        return replace(self, placeholders={**self.placeholders, **addresses})

    def text(self, command: str) -> str:
        """Return *command* without placeholders."""
        for name, value in self.placeholders.items():
            command = command.replace(name, value)
        return command


@contextmanager
def a_scene(directory: Path, *, alertmanager: str = "") -> Iterator[Scene]:
    """
    Copy what the documents refer to into *directory*, with a configuration and a state.

    Args:
        alertmanager: The address of a running Alertmanager, for commands that ask it.
    """
    for name in ("deploy", "grafana"):
        shutil.copytree(ROOT / name, directory / name)
    shutil.copy(ROOT / "config.example.yaml", directory)
    with FakeAws() as aws:
        for account in (aws.account(PROD), aws.account(TEST)):
            account.role(ROLE)
            account.report.instant = True
        add_keys(aws)
        aws.account(MONITORING)
        configuration = CONFIGURATION.format(url=aws.url)
        for folder in ("", *DIRECTORIES.values()):
            for name in ("config.yaml", "original.yaml"):
                (directory / folder / name).write_text(configuration)
            save_events(directory / folder / "state.db")
        programs = Path(sys.executable).parent
        environment = {
            **os.environ,
            **aws.environment(MONITORING),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(directory),
            "EXTERNAL_ID": EXTERNAL_ID,
            "KEY_ID_SECRET": SECRET,
            "EXPORTER_ARN": "arn:aws:iam::999999999999:role/exporter",
        }
        amtool = {"amtool silence": f"amtool --alertmanager.url=http://{alertmanager} silence"}
        yield Scene(directory, environment, {**PLACEHOLDERS, **amtool})


def save_events(path: Path) -> None:
    """Store both accounts, and the events that docs/events-and-reports.md shows, at *path*."""
    now = datetime.now(UTC)

    def event(kind: EventKind, days: int, key: str, user: str, **fields: Any) -> Event:
        at = now - timedelta(days=days)
        return Event(kind=kind, at=at, noticed_at=at, user=user, access_key_id=key, **fields)

    use = {"seconds": 300 * 86400.0, "service": "s3", "region": "us-east-1"}
    events = (
        event(EventKind.CREATED, 4, "AKIAIOSFODNN7EXAMPLE", "alice"),
        event(EventKind.AWAKENED, 1, "AKIAI44QH8DHBEXAMPLE", "backup-2019", **use),
    )
    day = timedelta(days=1)
    store = Store(path, keep_events=400 * day, shown_for=day, clock=SystemClock())
    try:
        for account, happened in ((Account(PROD, "prod"), events), (Account(TEST, "test"), ())):
            snapshot = a_snapshot(account=account, root=Root(now, 0))
            store.save(snapshot, 0, remembering(AccountMemory(), happened))
    finally:
        store.close()


def add_keys(aws: FakeAws) -> None:
    """Create the keys that docs/events-and-reports.md shows."""
    now = datetime.now(UTC)

    def add(account: str, user: str, key: str, *, age: int, idle: int | None) -> None:
        created = now - timedelta(days=age)
        added = aws.account(account).add_user(user, created=created).add_key(key, created=created)
        if idle is not None:
            added.use("s3", "us-east-1", at=now - timedelta(days=idle))

    add(PROD, "alice", "AKIAIOSFODNN7EXAMPLE", age=4, idle=0)
    add(PROD, "backup-2019", "AKIAI44QH8DHBEXAMPLE", age=2500, idle=300)
    add(TEST, "old-jenkins", "AKIAIHHBQEXAMPLEXMPL", age=60, idle=None)
