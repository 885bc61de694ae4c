"""docs/state.md: its tables are those of the store, and its queries have these answers."""

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exporter.model import NEVER, UNKNOWN, EventKind, Reason, SeenUse
from exporter.store import Store
from exporter.store.schema import metadata
from tests.builders import NOON, PROD, TEST, a_key, a_use, days_ago
from tests.store.conftest import OpenStore
from tests.store.values import a_key_memory, a_memory, an_event, save

README = (Path(__file__).parent.parent.parent / "docs/state.md").read_text()
QUERIES = re.findall(r"(\S[^\n]*)\n\n```sql\n(.*?)```", README, re.DOTALL)

EXAMPLE = "AKIAIOSFODNN7EXAMPLE"

LAST_MONTH = (datetime.now(UTC).replace(day=1) - timedelta(days=5)).replace(microsecond=0)


def _columns(table: str) -> set[str]:
    """Return the columns that the README describes."""
    section = README.partition(f"**{table}**:")[2].partition("\n\n**")[0].partition("\n\n`")[0]
    first_cells = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", " ".join(first_cells)))


@pytest.mark.parametrize("table", sorted(set(metadata.tables) - {"schema_version"}))
def test_every_column_is_described(table: str) -> None:
    """The README describes exactly the columns that each table has."""
    assert _columns(table) == set(metadata.tables[table].columns.keys())


@pytest.fixture
def path(tmp_path: Path, open_store: OpenStore) -> Path:
    path = tmp_path / "state.db"
    _fill(open_store(path))
    return path


def _fill(store: Store) -> None:
    uses = (
        SeenUse("s3", "eu-west-1", days_ago(30), days_ago(3)),
        SeenUse("iam", "N/A", days_ago(40), days_ago(40)),
    )
    prod = a_memory(
        a_key_memory(EXAMPLE, uses=uses),
        a_key_memory(key=a_key("IDLE", last_use=a_use(91))),
        a_key_memory(key=a_key("UNUSED", last_use=NEVER)),
        a_key_memory(key=a_key("YOUNG", last_use=NEVER, created=days_ago(1))),
        a_key_memory(key=a_key("GONE", last_use=NEVER), deleted_at=NOON),
    )
    use = {"kind": EventKind.AWAKENED, "service": "s3", "region": "eu-west-1"}
    events = [
        an_event("OLD", at=days_ago(200)),
        an_event("NEW", at=LAST_MONTH),
        an_event(EXAMPLE, at=days_ago(1), seconds=86400 * 50.0, **use),
    ]
    save(store, prod, events, account_id=PROD)
    unknown = a_memory(a_key_memory(key=a_key("UNKNOWN", last_use=UNKNOWN, as_of=None)))
    save(store, unknown, account_id=TEST, failure=Reason.ACCESS_DENIED)


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


ANSWERS = [
    [
        f"iam|N/A|{_text(days_ago(40))}|{_text(days_ago(40))}",
        f"s3|eu-west-1|{_text(days_ago(30))}|{_text(days_ago(3))}",
    ],
    [f"prod|alice|NEW|{_text(LAST_MONTH)}"],
    [
        f"prod|alice|UNUSED|never||{_text(NOON)}",
        f"prod|alice|IDLE|used|{_text(days_ago(91))}|{_text(NOON)}",
    ],
    sorted(
        [
            f"{_text(days_ago(200))}|prod|alice|OLD|created|||",
            f"{_text(LAST_MONTH)}|prod|alice|NEW|created|||",
            f"{_text(days_ago(1))}|prod|alice|{EXAMPLE}|awakened|50.0|s3|eu-west-1",
        ]
    ),
    [f"prod|access_denied|{_text(NOON)}|1"],
]
"""The answers to the README's questions, in their order."""


RUNBOOKS = Path(__file__).parent.parent.parent / "deploy/prometheus/runbooks"


@pytest.mark.process
@pytest.mark.parametrize("name", ["AwsIamAccessKeyNewRegion", "AwsIamAccessKeyNewService"])
def test_query_of_a_runbook(path: Path, name: str) -> None:
    """A runbook's command prints where the key was used, from the directory of the store."""
    (command,) = re.findall(r"^sqlite3 .+$", (RUNBOOKS / f"{name}.md").read_text(), re.MULTILINE)

    printed = _sqlite(["bash", "-c", command.replace("'KEY'", f"'{EXAMPLE}'")], path.parent)

    assert sorted(printed.splitlines()) == ANSWERS[0]


@pytest.mark.process
@pytest.mark.parametrize(
    ("query", "answer"),
    [
        pytest.param(query, answer, id=question)
        for (question, query), answer in zip(QUERIES, ANSWERS, strict=True)
    ],
)
def test_query(path: Path, query: str, answer: list[str]) -> None:
    """A query of the README, in the sqlite3 shell, while the store is open."""
    printed = _sqlite(["sqlite3", "-readonly", "-batch", str(path), query], path.parent)

    assert printed.splitlines() == answer


def _sqlite(command: list[str], folder: Path) -> str:
    """Run a *command* that needs sqlite3 in *folder*; its output."""
    if shutil.which("sqlite3") is None:
        text = "sqlite3 is not installed: apt-get install sqlite3"
        if os.environ.get("REQUIRE_REAL_SERVERS") == "1":
            pytest.fail(text)
        pytest.skip(text)
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return run.stdout
