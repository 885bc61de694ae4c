"""The subcommand events, and the rows that it prints: tables, CSV and JSON."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.events import EventRow, render
from exporter.cli.flags import EventsFlags, parse_flags
from exporter.cli.main import main
from exporter.cli.redaction import redactor
from exporter.key_ids import KeyIdFormatter
from exporter.model import Account, AccountMemory, AccountSnapshot, Event, EventKind, KeyIdFormat
from exporter.report import Output, as_csv, as_json, as_table
from exporter.store import Store
from tests.builders import FakeClock

DATA = Path(__file__).parent / "data" / "events"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = 86400.0
FULL = KeyIdFormatter()
FIRST, SECOND = "AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPL2"


@dataclass(frozen=True)
class Row:
    account_id: str
    account: str
    event: Event


def an_event(kind: EventKind, **values: Any) -> Event:
    defaults: dict[str, Any] = {
        "at": NOW - timedelta(hours=1),
        "noticed_at": NOW,
        "user": "alice",
        "access_key_id": FIRST,
    }
    return Event(kind=kind, **{**defaults, **values})


LOG = [
    Row(
        "111111111111",
        "prod",
        an_event(EventKind.CREATED, at=NOW - timedelta(days=40), noticed_at=NOW),
    ),
    Row(
        "111111111111",
        "prod",
        an_event(
            EventKind.AWAKENED, seconds=25_997_760, service="s3", region="us-east-1", user="backup"
        ),
    ),
    Row(
        "222222222222",
        "222222222222",
        an_event(
            EventKind.FIRST_USED,
            seconds=7000.9,  # whole seconds, as in the log and the metrics
            service="iam",
            region="N/A",
            access_key_id=SECOND,
            user="=very.long.user.name+with@characters.example.com",
        ),
    ),
    Row("111111111111", "prod", an_event(EventKind.NEW_REGION, service="ec2", region="eu-west-1")),
    Row(
        "111111111111",
        "prod",
        an_event(EventKind.ROOT_USED, user="", access_key_id="", credential="access_key"),
    ),
    Row("333333333333", "h\x1b[31m\u202eostile\n\u00fc", an_event(EventKind.DELETED)),
]


@dataclass
class FakeLog:
    """An event log that remembers what it was asked for."""

    rows: Sequence[EventRow] = tuple(LOG)
    asked: dict[str, Any] | None = None

    def __call__(self, **conditions: Any) -> Sequence[EventRow]:
        self.asked = conditions
        return self.rows


def query(*flags: str) -> EventsFlags:
    events = parse_flags(["events", *flags], {}).events
    assert events is not None
    return events


def shown(
    *flags: str,
    log: FakeLog | None = None,
    width: int | None = None,
    key_ids: KeyIdFormatter = FULL,
    secrets: Sequence[str] = (),
) -> str:
    """Return what the subcommand prints of *log*."""
    redact = redactor(key_ids, secrets)
    text, _ = render(
        query(*flags), log or FakeLog(), now=NOW, key_ids=key_ids, redact=redact, width=width
    )
    return text


# What is printed.


@pytest.mark.parametrize(
    ("name", "flags", "width"),
    [
        ("piped.txt", [], None),
        ("wide.txt", [], 200),
        ("narrow.txt", [], 100),
        ("events.csv", ["--output=csv"], None),
        ("events.json", ["--output=json"], None),
        ("events.md", ["--output=markdown"], None),
    ],
)
def test_output(name: str, flags: list[str], width: int | None) -> None:
    """Events are printed as in tests/data/events."""
    assert shown(*flags, width=width) == (DATA / name).read_text()


@pytest.mark.parametrize("width", [1, 40, 80, 100, 120, 170])
def test_nothing_is_cut(width: int) -> None:
    """However narrow the terminal is, times and key IDs are in one piece, and no text is cut."""
    text = shown(width=width)

    assert (text.count(FIRST), text.count("2026-11-24 11:00:00")) == (4, 5)
    assert sorted("".join(text.split())) == sorted("".join(shown().split()))


def test_what_a_terminal_acts_on_is_escaped() -> None:
    """Control characters, and those that change the direction of text, are never printed."""
    for output in Output:
        text = shown(f"--output={output}")

        assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_json_is_exact() -> None:
    """JSON has the names of accounts as they are, times in ISO 8601, and null for no value."""
    *_, root, hostile = json.loads(shown("--output=json"))

    assert hostile["account"] == LOG[-1].account
    assert (root["user"], root["access_key_id"], root["service"]) == (None, None, None)
    assert root["at"] == "2026-11-24T11:00:00Z"


def test_csv_has_the_names_of_json() -> None:
    """The columns of CSV are those of JSON."""
    rows = list(csv.DictReader(io.StringIO(shown("--output=csv"))))
    objects = json.loads(shown("--output=json"))

    assert list(rows[0]) == list(objects[0])
    assert [row["access_key_id"] for row in rows] == [
        item["access_key_id"] or "" for item in objects
    ]


def test_a_spreadsheet_computes_nothing() -> None:
    """A text in CSV that a spreadsheet would take for a formula is preceded by an apostrophe."""
    text = as_csv(["a"], [{"a": text} for text in ("=1", "+1", "-1", "@1", "1=", -1.5)])

    assert text.splitlines()[1:] == ["'=1", "'+1", "'-1", "'@1", "1=", "-1.5"]


def test_wide_characters_are_aligned() -> None:
    """A character that takes two cells of a terminal is counted as two."""
    assert as_table(["A", "B"], [["日本", "x"], ["ab", "y"]]) == "A     B\n日本  x\nab    y\n"


def test_a_very_long_table_is_not_wrapped() -> None:
    """Each row of a table of many thousands is a line, also if the terminal is narrower."""
    text = as_table(["A"], [["x" * 50]] * 6000, width=20)

    assert text == "A\n" + ("x" * 50 + "\n") * 6000


def test_a_table_without_rows_is_its_heading() -> None:
    """Without rows there is a heading, in CSV too; JSON is an empty list."""
    assert as_table(["A"], [], width=80) == "A\n"
    assert as_csv(["a"], []) == "a\n"
    assert as_json([]) == "[]\n"


@pytest.mark.parametrize("format_", [KeyIdFormat.MASKED, KeyIdFormat.HASHED])
@pytest.mark.parametrize("output", list(Output))
def test_key_ids_are_shown_as_configured(format_: KeyIdFormat, output: Output) -> None:
    """Key IDs are masked or hashed in every format, also within names."""
    key_ids = KeyIdFormatter(format_, "0123456789abcdef")
    named = Row("111111111111", f"of-{SECOND}", an_event(EventKind.CREATED, user=f"ci-{SECOND}"))

    text = shown(f"--output={output}", log=FakeLog([named]), key_ids=key_ids)
    text = text.replace("\\*", "*")  # Markdown

    assert text.count(key_ids.label(SECOND)) == 2
    assert key_ids.label(FIRST) in text
    assert [id_ for id_ in (FIRST, SECOND) if id_ in text] == []


def test_secrets_are_not_shown() -> None:
    """What the configuration keeps secret is hidden, should a name contain it."""
    row = Row("111111111111", "hush-hush", an_event(EventKind.CREATED))

    assert "hush" not in shown("--output=json", log=FakeLog([row]), secrets=["hush-hush"])


# What is asked for.


def test_conditions() -> None:
    """Account, user and key are passed on; --since is a time before now, or a date in UTC."""
    log = FakeLog()

    shown("--account=prod", "--user=alice", f"--key={FIRST}", "--since=1d12h", log=log)
    assert log.asked == {
        "account": "prod",
        "user": "alice",
        "key": FIRST,
        "since": NOW - timedelta(hours=36),
    }
    shown("--since=2026-11-01", log=log)
    assert log.asked == {
        **dict.fromkeys(("account", "user", "key")),
        "since": datetime(2026, 11, 1, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("30d", timedelta(days=30)),
        ("2026-11-01T12:00", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("2026-11-01T12:00:00Z", datetime(2026, 11, 1, 12, tzinfo=UTC)),
        ("2026-11-01T12:00+02:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
    ],
)
def test_since(text: str, since: timedelta | datetime) -> None:
    """--since is a duration, or a date or time in ISO 8601; without an offset it is UTC."""
    assert query(f"--since={text}").since == since


def test_a_key_can_be_named_as_it_is_shown() -> None:
    """--key can be the masked or hashed ID, with the digits that distinguish two of them."""
    key_ids = KeyIdFormatter(KeyIdFormat.HASHED, "0123456789abcdef")
    log = FakeLog()

    text = shown("--output=json", f"--key={key_ids.label(SECOND)}~12ab", log=log, key_ids=key_ids)

    assert [row["event"] for row in json.loads(text)] == ["first_used"]
    assert log.asked is not None
    assert log.asked["key"] is None


# The program.


@dataclass(frozen=True)
class Result:
    code: int | str | None
    stdout: str
    stderr: str


Call = Callable[..., Result]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call `main` with the subcommand events and the given flags."""
    for name in ("STATE_DIRECTORY", "AWS_IAM_KEY_EXPORTER_STATE_PATH"):
        monkeypatch.delenv(name, raising=False)

    def call(*flags: str) -> Result:
        code: int | str | None
        try:
            code = main(["events", *flags])
        except SystemExit as error:
            code = error.code
        return Result(code, *capfd.readouterr())

    return call


def a_store(path: Path, *events: Event) -> Store:
    """Create a store in the file *path*, with the *events* of an account."""
    clock = FakeClock()
    options = {"keep_events": timedelta(days=400), "shown_for": timedelta(days=1)}
    store = Store(path, clock=clock, **options)
    account = Account(id="111111111111", name="prod")
    store.save(AccountSnapshot(account), 0, lambda stored: (AccountMemory(), events))
    return store


def test_the_log_of_a_running_exporter(call: Call, tmp_path: Path) -> None:
    """Events are read from the file of --state.path while the store is open."""
    path = tmp_path / "state.db"
    store = a_store(path, an_event(EventKind.CREATED), an_event(EventKind.DELETED, user="bob"))

    result = call(f"--state.path={path}", "--user=bob", "--output=json")
    store.close()

    assert (result.code, result.stderr) == (0, "")
    assert [row["event"] for row in json.loads(result.stdout)] == ["deleted"]


def test_the_configuration_says_where_and_how(call: Call, tmp_path: Path) -> None:
    """Without --state.path, the state is that of the configuration, and so is the form of IDs."""
    file, path = tmp_path / "config.yaml", tmp_path / "state.db"
    file.write_text(f"state: {{path: {path}}}\nlabels: {{access_key_id: masked}}\n")
    a_store(path, an_event(EventKind.CREATED)).close()

    result = call(f"--config.file={file}")

    assert result.code == 0
    assert "2026-11-24 11:00:00  prod     alice  AKIA****MPLE   created\n" in result.stdout


def test_an_empty_log_is_a_sentence(call: Call, tmp_path: Path) -> None:
    """Without events, the table is a sentence on standard error; CSV and JSON are empty."""
    path = tmp_path / "state.db"
    a_store(path).close()

    table, json_ = (call(f"--state.path={path}", *more) for more in ([], ["--output=json"]))

    assert (table.code, table.stdout, table.stderr) == (0, "", "no events\n")
    assert (json_.code, json_.stdout, json_.stderr) == (0, "[]\n", "")


def test_a_log_that_cannot_be_read_is_exit_code_1(call: Call, tmp_path: Path) -> None:
    """A state that does not exist, or is no state, is a sentence and exit code 1."""
    other = tmp_path / "other"
    other.write_text("x" * 5000)

    for path in (tmp_path / "none.db", other):
        result = call(f"--state.path={path}")

        assert (result.code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert result.stderr.startswith("aws-iam-key-exporter: cannot read the events: ")
    assert other.read_text() == "x" * 5000
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_cannot_be_read_is_exit_code_1(call: Call, tmp_path: Path) -> None:
    """The error about a database names no user and no password."""
    file = tmp_path / "config.yaml"
    file.write_text("state: {url: 'postgresql://hush:hush@127.0.0.1:1/x'}\n")

    result = call(f"--config.file={file}")

    assert (result.code, result.stdout) == (1, "")
    assert "hush" not in result.stderr


def test_without_a_state_is_exit_code_2(call: Call) -> None:
    """Without a state, the message says how to name one."""
    result = call()

    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "set --state.path to its SQLite file, or --config.file" in result.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--since=soon"], "--since must be a duration such as 30d, or a date such as"),
        (["--since=-1d"], "--since must be a duration such as 30d"),
        (["--output=xml"], "--output must be one of table, csv, json, markdown, not 'xml'"),
        (["--uesr=x"], "unknown flag: --uesr=x; did you mean --user?"),
        (["alice"], "unknown argument: alice"),
        (["--web.max-requests=1"], "unknown flag: --web.max-requests=1"),
        (["--state.path=/"], "--state.path must be the path of a file"),
    ],
)
def test_invalid_flags_are_exit_code_2(call: Call, flags: list[str], message: str) -> None:
    """Invalid flags are reported with the usage of the subcommand."""
    result = call(*flags)

    assert result.code == 2
    assert result.stderr.startswith("usage: aws-iam-key-exporter events [flags]\n")
    assert message in result.stderr


def test_help(call: Call) -> None:
    """The help of the subcommand describes its flags and gives examples, which are valid."""
    result = call("--help")

    lines = [line.partition(" > ")[0] for line in result.stdout.splitlines()]
    examples = [line.split()[1:] for line in lines if line.startswith("  aws-iam-key-exporter")]
    assert (result.code, len(examples)) == (0, 3)
    assert all(parse_flags(words, {}).events for words in examples)


@pytest.mark.process
def test_a_terminal_has_a_table_of_its_width(tmp_path: Path) -> None:
    """On a terminal, texts are wrapped to its width."""
    path = tmp_path / "state.db"
    a_store(path, an_event(EventKind.CREATED, user="alice.in.wonderland." * 3)).close()
    controller, terminal = pty.openpty()
    os.set_blocking(controller, True)
    subprocess.run(["stty", "columns", "90"], stdin=terminal, check=True)

    subprocess.run(
        [sys.executable, "-m", "exporter", "events", f"--state.path={path}"],
        stdout=terminal,
        check=True,
        timeout=60,
    )

    os.close(terminal)
    lines = os.read(controller, 10_000).decode().splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 90
