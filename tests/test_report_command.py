"""The subcommand report, as a user meets it: formats, conditions, messages, exit codes."""

import csv
import io
import json
import logging
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from exporter.cli.flags import parse_flags
from exporter.cli.main import main
from exporter.cli.redaction import redactor
from exporter.cli.report import Page, Read, render
from exporter.cli.report_flags import ReportFlags
from exporter.exemptions import Exemptions
from exporter.key_ids import KeyIdFormatter
from exporter.model import AccountMemory, AccountSnapshot, KeyIdFormat, KeyMemory
from exporter.report import FindingKind, Output, ShowOptions
from exporter.store import Store
from tests.builders import NOON, PROD, TEST, FakeClock, a_key, a_snapshot, a_user, an_account
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.fleet import MONITORING, ROLE
from tests.report_scene import SCENE, key_id
from tests.servers import wait_until

DATA = Path(__file__).parent / "data" / "report"
NOW = NOON + timedelta(minutes=5)
FULL = KeyIdFormatter()
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def query(*flags: str) -> ReportFlags:
    report = parse_flags(["report", *flags], {}).report
    assert report is not None
    return report


def page(
    *flags: str,
    accounts: Sequence[Read] = SCENE,
    width: int | None = None,
    key_ids: KeyIdFormatter = FULL,
    secrets: Sequence[str] = (),
    failure: str = "",
) -> Page:
    """Return what the subcommand prints of *accounts*."""
    options = ShowOptions(
        {"owner": "tag_owner", "team": "tag_team"},
        exempt_until=Exemptions("exempt").until,
        key_labels=key_ids.labels,
        user_names=key_ids.names,
        redact=redactor(key_ids, secrets),
    )
    return render(query(*flags), accounts, options, at=NOW, width=width, failure=failure)


# -- what is printed ---------------------------------------------------------------------------

GOLDEN = [
    ("piped.txt", [], None),
    ("wide.txt", [], 200),
    ("narrow.txt", [], 80),
    ("report.csv", ["--output=csv"], None),
    ("report.json", ["--output=json"], None),
    ("report.md", ["--output=markdown"], None),
    ("stored.txt", ["--from-store", "--sort=idle", "--idle-for=90d"], 120),
]


@pytest.mark.parametrize(("name", "flags", "width"), GOLDEN)
def test_output(name: str, flags: list[str], width: int | None) -> None:
    """Keys are printed as in tests/data/report."""
    assert page(*flags, width=width).output == (DATA / name).read_text()


def test_what_was_not_seen_is_not_in_csv_and_json() -> None:
    """With CSV and JSON, which programs read, standard error ends with what was not seen."""
    expected = (DATA / "not-seen.txt").read_text()

    assert {page(f"--output={output}").error for output in ("csv", "json")} == {expected}
    assert {page(f"--output={output}").error for output in ("table", "markdown")} == {""}
    assert page().output.endswith(f"\n{expected}")


def test_an_organization_that_cannot_be_listed_is_not_seen() -> None:
    """If further accounts are unknown, that is the first of what was not seen."""
    text = "the accounts of the organization are unknown (access_denied): no"
    for output in Output:
        shown = page(f"--output={output}", failure=text)

        where = shown.error or shown.output
        first = where.partition("Not seen:")[2].strip().splitlines()[0]
        assert text in first.replace("\\", "")
    assert json.loads(page("--output=json", failure=text).output)["discovery_error"] == text


def test_what_a_terminal_acts_on_is_escaped() -> None:
    """Control characters, and those that change the direction of text, are never printed."""
    hostile = "\x1b[31m\u202e\n\r|"
    account = an_account(name=hostile)
    snapshot = a_snapshot(
        a_key(user=hostile), account=account, users=(a_user(hostile, keys_at=None),)
    )
    for output in Output:
        shown = page(f"--output={output}", accounts=[(snapshot, AccountMemory())])

        text = shown.output + shown.error
        assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_json_and_csv_agree() -> None:
    """CSV has the names, the order and the values of the keys in JSON."""
    rows = list(csv.DictReader(io.StringIO(page("--output=csv").output)))
    keys = json.loads(page("--output=json").output)["keys"]

    assert [list(row) for row in rows] == [list(key) for key in keys]
    assert [row["idle_days"] for row in rows] == [
        "" if key["idle_days"] is None else str(key["idle_days"]) for key in keys
    ]


def test_a_spreadsheet_computes_nothing() -> None:
    """A user name that a spreadsheet would take for a formula is preceded by an apostrophe."""
    users = [row["user"] for row in csv.DictReader(io.StringIO(page("--output=csv").output))]

    assert [user for user in users if user.startswith("=")] == []
    assert "'=cmd|' /C calc'!A0" in users


def test_tables_of_markdown_have_all_their_columns() -> None:
    """A | in a name does not begin a column in Markdown."""
    lines = [line for line in page("--output=markdown").output.splitlines() if line[:1] == "|"]

    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {16}


@pytest.mark.parametrize("format_", [KeyIdFormat.MASKED, KeyIdFormat.HASHED])
@pytest.mark.parametrize("output", list(Output))
def test_key_ids_are_shown_as_configured(format_: KeyIdFormat, output: Output) -> None:
    """Key IDs are masked or hashed in every format, also within names and errors."""
    id_ = "AKIAIOSFODNN7EXAMPLE"
    key_ids = KeyIdFormatter(format_, "0123456789abcdef")
    snapshot = a_snapshot(
        a_key(id_, f"of-{id_}"),
        account=an_account(name=f"in-{id_}"),
        users=(a_user(f"of-{id_}", keys_at=None, tags=(("owner", id_),)),),
        error=f"cannot read {id_}",
    )

    shown = page(f"--output={output}", accounts=[(snapshot, AccountMemory())], key_ids=key_ids)

    text = (shown.output + shown.error).replace("\\*", "*")
    assert id_ not in text
    assert key_ids.label(id_) in text


def test_secrets_are_not_shown() -> None:
    """What the configuration keeps secret is hidden, should a name contain it."""
    snapshot = a_snapshot(a_key(user="hush-hush"), account=an_account(name="hush-hush"))
    for output in Output:
        shown = page(
            f"--output={output}", accounts=[(snapshot, AccountMemory())], secrets=["hush-hush"]
        )

        assert "hush" not in shown.output + shown.error


@pytest.mark.parametrize("width", [1, 60, 80, 100, 150, 300])
def test_no_key_id_is_cut(width: int) -> None:
    """However narrow the terminal is, key IDs and idle times are in one piece."""
    text = page(width=width).output

    assert [n for n in range(1, 11) if key_id(n) not in text] == []
    assert "  200d" in text


def test_a_table_without_keys_is_what_was_not_seen() -> None:
    """Without keys there is no table; the conditions and what was not seen are still said."""
    text = page("--user=nobody").output

    assert text.startswith("0 keys of 13; 1 of 3 accounts read completely.\n\nNot seen:\n")


# -- the program -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    code: int | str | None
    stdout: str
    stderr: str


Call = Callable[..., Result]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Call `main` with the subcommand, and undo what it does to signals and logging."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    for module, hook in ((sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    signals = {number: signal.getsignal(number) for number in SIGNALS}
    handlers, level = logging.root.handlers[:], logging.root.level

    def call(*flags: str) -> Result:
        code: int | str | None
        try:
            code = main(["report", *flags])
        except SystemExit as error:
            code = error.code
        return Result(code, *capfd.readouterr())

    yield call
    for number, handler in signals.items():
        signal.signal(number, handler)
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """The simulated AWS with two accounts of one key each, called from a third."""
    with FakeAws() as fake:
        for id_ in (PROD, TEST):
            account = fake.account(id_)
            account.role(ROLE)
            account.add_user(f"user-of-{id_}").add_key().use()
        for name, text in fake.environment(MONITORING).items():
            monkeypatch.setenv(name, text)
        yield fake


def configured(folder: Path, more: str = "", *, limits: str = "") -> str:
    """Write a configuration that reads both accounts and return the flag for it."""
    entries = "".join(
        f"- {{name: {name}, role_arn: 'arn:aws:iam::{id_}:role/{ROLE}'}}\n"
        for name, id_ in (("prod", PROD), ("test", TEST))
    )
    file = folder / "config.yaml"
    collection = f"collection: {{{limits}requests_per_second: 500, burst: 500}}\n"
    file.write_text(f"{collection}accounts:\n{entries}{more}")
    return f"--config.file={file}"


def keys_of(result: Result) -> list[tuple[str, str]]:
    keys = json.loads(result.stdout)["keys"]
    return sorted((key["account"], key["user"]) for key in keys)


def test_every_account_is_refreshed_once(aws: FakeAws, call: Call, tmp_path: Path) -> None:
    """All accounts are refreshed once; nothing is stored, and the exit code is 0."""
    result = call(configured(tmp_path, f"state: {{path: {tmp_path}/s.db}}"), "--output=json")

    assert (result.code, keys_of(result)) == (
        0,
        [("prod", f"user-of-{PROD}"), ("test", f"user-of-{TEST}")],
    )
    assert result.stderr == "2 keys; 2 of 2 accounts read completely.\n"
    assert aws.count("ListUsers") == 2
    assert not (tmp_path / "s.db").exists()


def test_an_account_that_fails_is_exit_code_1(aws: FakeAws, call: Call, tmp_path: Path) -> None:
    """What was read is printed, then what was not seen and why; nothing is logged besides."""
    aws.fault(Fault(operation="AssumeRole", code="AccessDenied", account=TEST))

    result = call(configured(tmp_path))

    assert (result.code, result.stderr) == (1, "")
    assert f"user-of-{PROD}" in result.stdout
    assert "1 key; 1 of 2 accounts read completely.\n\nNot seen:\n" in result.stdout
    assert f"  test ({TEST}): the refresh failed (assume_role): " in result.stdout


def test_a_use_that_cannot_be_read_is_unknown(aws: FakeAws, call: Call, tmp_path: Path) -> None:
    """A key whose last use cannot be read is shown as unknown, never as unused."""
    aws.fault(Fault(operation="GetAccessKeyLastUsed", code="AccessDenied", account=TEST))

    result = call(configured(tmp_path), "--account=test", "--output=json")

    (key,) = json.loads(result.stdout)["keys"]
    assert result.code == 1
    assert (key["last_use"], key["idle_days"], key["finding"]) == (
        "unknown",
        None,
        "last_use_unknown",
    )


def test_a_refresh_ends_at_its_deadline(aws: FakeAws, call: Call, tmp_path: Path) -> None:
    """An account that does not answer delays the report until collection.deadline at most."""
    aws.fault(Fault(operation="ListUsers", account=TEST, latency=60))
    file = configured(tmp_path, limits="deadline: 1s, ")
    began = time.monotonic()

    result = call(file, "--output=json")

    assert time.monotonic() - began < 10
    assert (result.code, keys_of(result)) == (1, [("prod", f"user-of-{PROD}")])
    assert f"  test ({TEST}): the refresh failed (deadline): " in result.stderr


@pytest.mark.parametrize(("workers", "together"), [(2, True), (1, False)])
def test_accounts_are_refreshed_at_the_same_time(
    aws: FakeAws, call: Call, tmp_path: Path, workers: int, together: bool
) -> None:
    """As many accounts are refreshed at the same time as collection.workers says."""
    latency = 2.0
    aws.fault(Fault(operation="ListUsers", latency=latency))
    times: list[float] = []
    aws.on_call(
        lambda operation, *_: times.append(time.monotonic()) if operation == "ListUsers" else None
    )

    result = call(configured(tmp_path, limits=f"workers: {workers}, "))

    first, second = times
    assert (result.code, second - first < latency) == (0, together)


def test_only_accounts_that_are_asked_for_are_refreshed(
    aws: FakeAws, call: Call, tmp_path: Path
) -> None:
    """--account is an ID or a name, can be repeated, and no call is made to other accounts."""
    file = configured(tmp_path)

    for flags in (
        ["--account=prod"],
        [f"--account={PROD}"],
        ["--account=prod", f"--account={PROD}"],
    ):
        result = call(file, "--output=json", *flags)

        assert (result.code, keys_of(result)) == (0, [("prod", f"user-of-{PROD}")])
    assert aws.count(account=TEST) == 0


def test_an_account_that_does_not_exist_is_exit_code_2(
    aws: FakeAws, call: Call, tmp_path: Path
) -> None:
    """An account that is not configured is a usage error, and no call is made."""
    result = call(configured(tmp_path), "--account=prdo")

    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == (
        "aws-iam-key-exporter: --account: there is no account with the ID or name 'prdo'\n"
    )
    assert aws.count() == 0


def test_without_a_configuration_the_account_of_the_credentials(
    aws: FakeAws, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a configuration, the account of the credentials is read, whatever its ID is."""
    for name, text in aws.environment(PROD).items():
        monkeypatch.setenv(name, text)

    assert keys_of(call("--output=json", f"--account={PROD}")) == [(PROD, f"user-of-{PROD}")]
    assert call("--account=222222222222").code == 2


def test_the_accounts_of_an_organization(aws: FakeAws, call: Call, tmp_path: Path) -> None:
    """The accounts of an organization are found as the exporter finds them."""
    aws.organization(MONITORING).add_account(PROD, name="found")
    aws.account(MONITORING).role(ROLE)
    file = tmp_path / "config.yaml"
    file.write_text(f"organization: {{role_name: {ROLE}, include: {{names: [found]}}}}\n")

    result = call(f"--config.file={file}", "--output=json")
    aws.fault(Fault(operation="ListAccounts", code="AccessDeniedException"))
    failed = call(f"--config.file={file}")

    assert (result.code, keys_of(result)) == (0, [("found", f"user-of-{PROD}")])
    assert failed.code == 1
    assert "  the accounts of the organization are unknown (access_denied): " in failed.stdout


def test_an_account_that_may_be_among_the_unknown(aws: FakeAws, call: Call, tmp_path: Path) -> None:
    """While the accounts are unknown, nobody can say that one does not exist."""
    aws.organization(MONITORING).add_account(PROD, name="found")
    aws.fault(Fault(operation="ListAccounts", code="AccessDeniedException"))
    file = tmp_path / "config.yaml"
    file.write_text(f"organization: {{role_name: {ROLE}}}\n")

    result = call(f"--config.file={file}", "--account=found")

    assert (result.code, result.stderr) == (1, "")
    assert "  the accounts of the organization are unknown (access_denied): " in result.stdout


def test_an_account_that_is_configured_without_its_id(
    aws: FakeAws, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account of the organization that is also configured, without its ID, is read once."""
    organization = aws.organization(PROD)
    organization.add_account(TEST, name="found")
    for name, text in aws.environment(PROD).items():
        monkeypatch.setenv(name, text)
    file = tmp_path / "config.yaml"
    file.write_text(f"accounts: [{{name: own}}]\norganization: {{role_name: {ROLE}}}\n")

    result = call(f"--config.file={file}", "--output=json")

    assert (result.code, keys_of(result)) == (
        0,
        [("found", f"user-of-{TEST}"), ("own", f"user-of-{PROD}")],
    )


# -- from the store ----------------------------------------------------------------------------


def a_store(path: Path, snapshot: AccountSnapshot) -> Store:
    """Create a store in the file *path* that has *snapshot*."""
    options = {"keep_events": timedelta(days=400), "shown_for": timedelta(days=1)}
    store = Store(path, clock=FakeClock(), **options)
    memory = AccountMemory(
        users={user.name: user for user in snapshot.users},
        users_as_of=NOON,
        keys={
            key.id: KeyMemory(key=key, user_id=key.user, status_as_of=NOON) for key in snapshot.keys
        },
    )
    store.save(snapshot, 0, lambda stored: (memory, ()))
    return store


def test_from_the_store_of_a_running_exporter(call: Call, tmp_path: Path) -> None:
    """--from-store makes no call, reads while the store is open, and says how old the facts are."""
    path = tmp_path / "state.db"
    store = a_store(path, a_snapshot(a_key()))

    result = call(f"--state.path={path}", "--from-store")
    store.close()

    assert result.code == 0
    assert "prod     111111111111  alice  AKIAALICEALICEALICE1  Active" in result.stdout
    assert "\n1 key; 1 of 1 account read completely, at 2026-11-23T12:00:00Z.\n" in result.stdout


def test_accounts_that_are_not_stored_are_not_seen(call: Call, tmp_path: Path) -> None:
    """An account that is configured and not stored is an account that was not seen."""
    path = tmp_path / "state.db"
    a_store(path, a_snapshot(a_key())).close()

    result = call(configured(tmp_path), f"--state.path={path}", "--from-store")

    assert result.code == 1
    assert (
        f"  test ({TEST}): it has not been refreshed yet; its users and keys are unknown\n"
        in result.stdout
    )


def test_a_store_that_cannot_be_read_is_exit_code_1(call: Call, tmp_path: Path) -> None:
    """A store that does not exist is a sentence and exit code 1, and is not created."""
    result = call(f"--state.path={tmp_path}/none.db", "--from-store")

    assert (result.code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "cannot read the accounts: " in result.stderr
    assert not (tmp_path / "none.db").exists()


def test_without_a_store_is_exit_code_2(call: Call) -> None:
    """Without a store, the message says how to name one."""
    result = call("--from-store")

    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "set --state.path to its SQLite file, or --config.file" in result.stderr


# -- flags -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--idle-for=long"], "--idle-for must be a duration such as 90d or 12h"),
        (["--unrotated-for=-1d"], "--unrotated-for must be a duration such as 90d"),
        (["--output=xml"], "--output must be one of table, csv, json, markdown, not 'xml'"),
        (["--sort=name"], "--sort must be one of urgency, idle, age, account, user, not 'name'"),
        (["--idlefor=x"], "unknown flag: --idlefor=x; did you mean --idle-for?"),
        (["alice"], "unknown argument: alice"),
    ],
)
def test_invalid_flags_are_exit_code_2(call: Call, flags: list[str], message: str) -> None:
    """Invalid flags are reported with the usage of the subcommand."""
    result = call(*flags)

    assert result.code == 2
    assert result.stderr.startswith("usage: aws-iam-key-exporter report [flags]\n")
    assert message in result.stderr


def test_help(call: Call) -> None:
    """The help names every finding in the order of urgency, and its examples are valid."""
    result = call("--help")

    lines = [line.partition(" > ")[0] for line in result.stdout.splitlines()]
    examples = [line.split()[1:] for line in lines if line.startswith("  aws-iam-key-exporter")]
    places = [result.stdout.index(f"  {kind}") for kind in FindingKind if kind != "never_used"]
    assert (result.code, len(examples)) == (0, 3)
    assert all(parse_flags(words, {}).report for words in examples)
    assert places == sorted(places)


# -- terminals and signals ---------------------------------------------------------------------


class Terminal:
    """The program, with a terminal as its standard error, and as its standard output if asked."""

    def __init__(self, *flags: str, stdout: bool = False) -> None:
        self._controller, terminal = pty.openpty()
        subprocess.run(["stty", "columns", "80"], stdin=terminal, check=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "exporter", "report", *flags],
            stdout=terminal if stdout else subprocess.PIPE,
            stderr=terminal,
            text=True,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(terminal)
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)
        os.close(self._controller)

    def text(self) -> str:
        """What the terminal has received so far, without colours."""
        with suppress(OSError):  # the program has ended
            while select.select([self._controller], [], [], 0.05)[0]:
                self._text += os.read(self._controller, 100_000)
        return re.sub(r"\x1b\[[\d;]*m", "", self._text.decode(errors="replace"))


@pytest.mark.process
def test_a_terminal_has_a_progress_bar(aws: FakeAws, tmp_path: Path) -> None:
    """A terminal shows how many accounts are done; a pipe has the keys alone."""
    aws.fault(Fault(operation="ListUsers", latency=0.5))
    with Terminal(configured(tmp_path), "--output=json") as running:
        wait_until(lambda: "/2 accounts" in running.text(), "a progress bar")

        output, _ = running.process.communicate(timeout=20)

        assert running.process.returncode == 0
        assert len(json.loads(output)["keys"]) == 2
        assert running.text().endswith("2 keys; 2 of 2 accounts read completely.\r\n")


@pytest.mark.process
def test_the_table_of_a_terminal_has_its_width(aws: FakeAws, tmp_path: Path) -> None:
    """No line of the table is longer than the terminal is wide."""
    with Terminal(configured(tmp_path), stdout=True) as running:
        wait_until(lambda: "read completely" in running.text(), "a report")

        table = running.text().partition("ACCOUNT ")[2].partition("This terminal")[0]
        assert max(map(len, table.splitlines())) <= 80
        assert running.process.wait(10) == 0


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once(
    aws: FakeAws, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C ends the program within a second, without a traceback, and shows the cursor again."""
    aws.fault(Fault(operation="ListUsers", latency=60))
    with Terminal(configured(tmp_path)) as running:
        wait_until(lambda: aws.count("ListUsers") == 2 and "/2 acc" in running.text(), "calls")
        began = time.monotonic()

        running.process.send_signal(number)

        assert running.process.wait(10) == code
        assert time.monotonic() - began < 1
        text = running.text()
        assert "Traceback" not in text
        assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")


@pytest.mark.process
def test_a_pipe_has_no_progress_bar(aws: FakeAws, tmp_path: Path) -> None:
    """Without a terminal, standard error is empty if nothing is to be said."""
    result: Any = subprocess.run(
        [sys.executable, "-m", "exporter", "report", configured(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert (result.returncode, result.stderr) == (0, "")
