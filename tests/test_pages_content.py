"""What the pages show of accounts and keys."""

import csv
import io
import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter import server
from exporter.cli.pages import Content, EventsUnavailable, settings_of
from exporter.cli.pages.accounts import REASONS, calls_of, report_mode
from exporter.cli.pages.content import KEYS_PER_PAGE
from exporter.cli.pages.selection import SORTS, Selected, pattern
from exporter.cli.pages.steps import ALERTS, Target, runbook_of, steps_of
from exporter.cli.pages.unseen import Unseen
from exporter.config import Config, parse
from exporter.model import (
    AccountMemory,
    AccountSnapshot,
    Event,
    EventKind,
    Reason,
    ReportMode,
)
from exporter.report import FindingKind, Order, ShowOptions, key_names, key_rows, sort_keys
from exporter.server import InvalidParameter
from exporter.sharding import Shard
from tests.builders import (
    NOON,
    PROD,
    TEST,
    FakeClock,
    a_key,
    a_snapshot,
    a_user,
    an_account,
    days_ago,
)
from tests.report_scene import key_id
from tests.server.pages_scene import ACCOUNTS, HOSTILE, LONG, MARKUP, NAMED, a_content, config_of

RUNBOOKS = Path(__file__).parent.parent / "deploy" / "prometheus" / "runbooks"
SECRETS = ("hunter2", "external-secret", "0123456789abcdef0123456789abcdef")


def column(table: server.KeyTable, heading: str) -> list[str]:
    place = [each.heading for each in table.columns].index(heading)
    return [row.cells[place] for row in table.rows]


def keys(**parameters: str) -> list[str]:
    """Return the numbers of the keys that *parameters* select, root's as nothing."""
    return [each.lstrip("AKI0") for each in column(a_content().keys(parameters), "Access key ID")]


def details(account: str = HOSTILE, key: str = key_id(50), **options: Any) -> server.KeyDetails:
    found = a_content(**options).key(account, key, "")
    assert isinstance(found, server.KeyDetails)
    return found


# -- accounts ----------------------------------------------------------------------------------


def test_accounts_say_why_they_fail_and_what_to_do() -> None:
    """A failing account has the reason in plain words, what to do, and what AWS said."""
    audit = next(row for row in a_content().accounts() if row.name == "audit")

    assert audit.reason == "The role cannot be assumed."
    assert audit.advice.startswith("Create the role")
    assert audit.error == "assume_role: the role cannot be assumed"


def test_every_reason_has_words() -> None:
    """No refresh fails for a reason that is not explained."""
    assert set(REASONS) == set(Reason)


def test_accounts_show_what_is_known() -> None:
    """Keys and findings are counted; of what was not seen, nothing is."""
    rows = {row.name: row for row in a_content().accounts()}

    assert (rows["prod"].keys, rows["prod"].findings, rows["prod"].up) == (10, 8, True)
    assert (rows["test"].keys, rows["test"].findings, rows["test"].up) == (2, 2, False)
    assert (rows["test"].complete, rows["prod"].complete) == (False, True)
    assert (rows["audit"].keys, rows["audit"].findings, rows["audit"].calls) == (None, None, None)
    assert (rows["new"].keys, rows["new"].up, rows["new"].mode) == (None, None, "")


def test_findings_are_counted_again_after_a_refresh() -> None:
    """The count is that of the latest snapshot."""
    unused = a_snapshot(a_key(created=days_ago(400), last_use=a_key().last_use))
    accounts = [(unused, AccountMemory())]
    content = a_content(accounts)
    before = content.accounts()[0].findings

    accounts[0] = (replace(a_snapshot(), finished_at=NOON.replace(hour=13)), AccountMemory())

    assert (before, content.accounts()[0].findings) == (1, 0)


def test_findings_are_counted_once_for_each_refresh() -> None:
    """They are not counted again for each request, also if two accounts have the same name."""
    counted: list[str] = []
    accounts = [
        (a_snapshot(a_key(), account=an_account(id_, "same")), seconds)
        for id_, seconds in ((PROD, None), (TEST, 600.0))
    ]

    def memory(snapshot: AccountSnapshot) -> AccountMemory:
        counted.append(snapshot.account.id)
        return AccountMemory()

    settings = settings_of(config_of(), "config.yaml")
    content = Content(
        lambda: settings, snapshots=lambda: accounts, memory=memory, clock=FakeClock()
    )
    content.accounts()
    content.accounts()

    assert counted == [PROD, TEST]


def config(mode: str) -> Config:
    return parse(f"collection: {{credential_report: {mode}}}", "test")


@pytest.mark.parametrize(
    ("mode", "calls"), [("off", 1 + 2 + 2), ("guide", 1 + 3), ("values", 1), ("auto", 1 + 2 + 2)]
)
def test_calls_of_a_refresh(mode: str, calls: int) -> None:
    """Calls are those of the mode: pages of users, users and active keys, or keys."""
    snapshot = a_snapshot(
        a_key(key_id(1), "a"), a_key(key_id(2), "b"), a_key(key_id(3), "b", status="Inactive")
    )

    assert calls_of(snapshot, report_mode(snapshot, config(mode))) == calls


def test_auto_is_shown_as_what_it_chose() -> None:
    """An account that takes more than a tenth of what the rate limit allows has mode guide."""
    few, many = (
        a_snapshot(*[a_key(key_id(each), f"u{each}") for each in range(count)])
        for count in (224, 226)
    )

    modes = [report_mode(each, config("auto")) for each in (few, many)]

    assert modes == [ReportMode.OFF, ReportMode.GUIDE]


# -- the table of keys -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"user": "CI"}, {"3", "4"}),
        ({"user": "b*"}, {"2", "53"}),
        ({"account": TEST}, {"21", "22"}),
        ({"account": "t*t"}, {"21", "22"}),
        ({"tag_team": "infra"}, {"2"}),
        ({"finding": "never_used"}, {"6"}),
        ({"finding": "none", "account": "prod"}, {"1", "5", "10"}),
        ({"finding": "any", "account": "test"}, {"21", "22"}),
        ({"status": "Inactive"}, {"8"}),
        ({"status": "inactive"}, {"8"}),
        ({"last_use": "never"}, {"5", "6"}),
        ({"last_use": "unknown", "account": "test"}, {"21"}),
        ({"service": "IAM"}, {"10"}),
        ({"region": "n/a"}, {"10"}),
        ({"q": "DORM"}, {"9"}),
        ({"q": "infra"}, {"2"}),
        ({"q": key_id(7)}, {"7"}),
        ({"user": ".*"}, set()),
        ({"user": "ci", "status": "Inactive"}, set()),
        ({"user": "ci", "nonsense": "x"}, {"3", "4"}),
    ],
)
def test_keys_are_filtered(parameters: Mapping[str, str], found: set[str]) -> None:
    """A key is shown if it meets all filters; ``*`` is the only wildcard; case does not matter."""
    assert set(keys(**parameters)) == found


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("finding", "unusd", "finding must be one of any, none, root_access_key, "),
        ("status", "off", "status must be one of Active, Inactive, Expired, not 'off'."),
        ("last_use", "\x1b", "last_use must be one of used, never, unknown, not '\\x1b'."),
    ],
)
def test_a_filter_that_no_key_could_meet_is_refused(name: str, value: str, message: str) -> None:
    """A filter with a typing error does not look as if no key had the finding."""
    content = a_content()
    for ask in (content.keys, lambda parameters: content.export(parameters, "json")):
        with pytest.raises(InvalidParameter) as caught:
            ask({name: value})
        assert str(caught.value).startswith(message)


def test_wildcards_take_linear_time() -> None:
    """Many asterisks are one: a filter cannot occupy a thread for long."""
    assert not pattern("*" * 200 + "b")("a" * 512)


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ("age", ["2", "9", "8", "7", "3", "4", "1", "6", "10", "5", ""]),
        ("-age", ["5", "10", "6", "1", "4", "3", "7", "8", "9", "2", ""]),
        ("nonsense", ["", "9", "7", "2", "6", "4", "3", "8", "5", "10", "1"]),
        ("", ["", "9", "7", "2", "6", "4", "3", "8", "5", "10", "1"]),
    ],
)
def test_keys_are_sorted(sort: str, found: list[str]) -> None:
    """Keys are sorted; unknown ones come last in both directions; the default is by urgency."""
    assert keys(account=PROD, sort=sort) == found


@pytest.mark.parametrize("sort", dict(SORTS))
def test_every_order_has_all_keys(sort: str) -> None:
    """An order hides no key."""
    assert sorted(keys(sort=sort)) == sorted(keys())


def test_all_keys_are_on_some_page() -> None:
    """The pages together have every key once; a page that does not exist is the last one."""
    count = KEYS_PER_PAGE * 2 + 1
    snapshot = a_snapshot(*[a_key(key_id(each), f"u{each}") for each in range(count)])
    content = a_content([(snapshot, AccountMemory())])

    tables = [content.keys({"page": str(page)}) for page in (1, 2, 3)]

    shown = [id_ for table in tables for id_ in column(table, "Access key ID")]
    assert sorted(shown) == sorted(key.id for key in snapshot.keys)
    assert {(table.total, table.known, table.pages) for table in tables} == {(count, count, 3)}
    assert content.keys({"page": "9"}).page == 3


def test_what_was_not_seen_is_said() -> None:
    """A table without some accounts says so, but only of those that the filter includes."""
    lines = " ".join(a_content().keys({}).not_seen)

    assert "audit (333333333333)" in lines
    assert "frank" in lines
    assert not any("audit" in line for line in a_content().keys({"account": PROD}).not_seen)


def test_accounts_that_are_not_shown_are_said() -> None:
    """Unknown accounts, and those of other shards, are said on each page and in JSON."""
    error = f"the accounts of the organization are unknown: {key_id(1)}"
    content = a_content(
        (), config=config_of("masked"), unseen=Unseen(error, Shard(ordinal=1, total=3))
    )
    document = json.loads(b"".join(content.export({}, "json")))
    organization, shard = content.unseen()

    assert organization == "the accounts of the organization are unknown: AKIA****0001"
    assert shard.startswith("this process is shard 1 of 3")
    assert content.keys({}).not_seen == [organization, shard]
    assert document["discovery_error"] == organization
    assert (document["shard"], document["total_shards"]) == (1, 3)
    assert a_content().unseen() == []


def test_the_same_rows_are_exported() -> None:
    """CSV and JSON have the rows of the table, in its order, on all pages."""
    parameters = {"account": PROD, "sort": "-age"}
    content = a_content()
    table = column(content.keys(parameters), "Access key ID")
    text, document = (
        b"".join(content.export(parameters, format_)).decode() for format_ in ("csv", "json")
    )

    rows = [*csv.DictReader(io.StringIO(text))]
    read = json.loads(document)
    assert list(rows[0]) == key_names({"team": "tag_team", "owner": "tag_owner"})
    assert [row["access_key_id"] for row in rows] == table
    assert [row["access_key_id"] or "" for row in read["keys"]] == table
    assert [account["account"] for account in read["accounts"]] == ["prod"]


def test_an_export_of_nothing_is_valid() -> None:
    """Without rows CSV has its heading, and JSON an empty list."""
    content = a_content()
    text, document = (
        b"".join(content.export({"q": "nothing"}, format_)).decode() for format_ in ("csv", "json")
    )

    assert text.count("\n") == 1
    assert json.loads(document)["keys"] == []


def test_spreadsheets_compute_nothing() -> None:
    """Names that a spreadsheet would compute, and control characters, are escaped in CSV."""
    text = b"".join(a_content().export({}, "csv")).decode()

    assert "'=cmd|" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


# -- one key -----------------------------------------------------------------------------------


def test_a_key_shows_what_is_known() -> None:
    """Facts, findings with their runbooks, where it was used and its events."""
    key = details()

    assert dict(key.facts)["Last used"] == "2026-01-27 12:00"
    assert dict(key.facts)["Watched since"] == "2025-09-29 12:00"
    assert [each.text for each in key.problems][:1] == ["unused for 300 days"]
    assert key.problems[0].runbook.endswith("/AwsIamAccessKeyUnused.md")
    assert [use[0] for use in key.uses] == ["s3", MARKUP]
    assert key.events[0][1].startswith("new service: ")


def test_stored_and_recent_events_are_merged() -> None:
    """An event that is stored and remembered is shown once; the latest comes first."""
    memory = a_content()._memory(a_content()._snapshots()[3][0])
    created = Event(
        kind=EventKind.CREATED,
        at=days_ago(500),
        noticed_at=days_ago(500),
        access_key_id=key_id(50),
    )

    key = details(events=lambda account_id, key: (created, *memory.events))

    assert [text.partition(":")[0] for _, text in key.events] == ["new service", "created"]


def test_events_that_cannot_be_read_are_said() -> None:
    """The recent events are shown, and why the others are not."""

    def unavailable(account_id: str, key: str) -> Sequence[Event]:
        raise EventsUnavailable("the store hangs at https://joe:hunter2@db")

    key = details(events=unavailable)

    assert key.events_error == "the store hangs at https://<hidden>@db"
    assert len(key.events) == 1


def test_keys_of_the_root_user_have_a_page() -> None:
    """They have no ids: the page is about all of them."""
    key = details(PROD, "root")

    assert [each.runbook.rpartition("/")[2] for each in key.problems] == [
        "AwsIamRootAccessKeyPresent.md"
    ]
    assert (key.user, key.steps) == ("<root>", ())


@pytest.mark.parametrize(
    ("account", "key"),
    [(PROD, "AKIA"), ("999999999999", key_id(1)), ("", key_id(1)), (TEST, "root"), (PROD, "")],
)
def test_other_keys_do_not_exist(account: str, key: str) -> None:
    """A key that is not known has no page."""
    assert a_content().key(account, key, "") is None


def test_keys_that_look_the_same_are_distinguished_by_user() -> None:
    """Masked ids of different users can be the same: the user says which is meant."""
    ids = ("AKIAAAAAAAAAAAAASAME", "AKIABBBBBBBBBBBBSAME")
    snapshot = a_snapshot(*[a_key(id_, f"u{id_[4]}") for id_ in ids])
    content = a_content([(snapshot, AccountMemory())], config=config_of("masked"))

    both = content.key(PROD, "AKIA****SAME", "")
    one = content.key(PROD, "AKIA****SAME", "uB")

    assert isinstance(both, server.Namesakes)
    assert both.users == ("uA", "uB")
    assert isinstance(one, server.KeyDetails)
    assert one.user == "uB"


# -- what must not be shown --------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["masked", "hashed"])
def test_key_ids_are_shown_as_configured(format_: str) -> None:
    """No value, link or search has a full id, wherever it comes from."""
    content = a_content(config=config_of(format_))
    rows = content.keys({"q": key_id(1), "user": NAMED, "page": "1"})
    links = [row.path for row in content.keys({}).rows]
    shown = [
        content.accounts(),
        rows,
        content.keys({}),
        *(content.key(*path, "") for path in links),
        *(b"".join(content.export({}, each)) for each in ("csv", "json")),
        content.configuration(),
    ]

    assert not any("AKIA0000" in repr(each) for each in shown)
    assert None not in shown


@pytest.mark.parametrize("format_", ["masked", "hashed"])
def test_keys_are_found_by_their_full_id(format_: str) -> None:
    """Who knows the id of a key finds it, however ids are shown."""
    content = a_content(config=config_of(format_))

    users = column(content.keys({"q": key_id(22)}), "User")
    key = content.key(TEST, key_id(22), "")

    assert users == ["erin"]
    assert isinstance(key, server.KeyDetails)


@pytest.mark.parametrize("format_", ["full", "masked", "hashed"])
def test_no_page_has_a_secret(format_: str) -> None:
    """Passwords in errors and secrets of the configuration are hidden everywhere."""
    content = a_content(config=config_of(format_))
    shown = repr(
        (
            content.accounts(),
            content.keys({}),
            content.configuration(),
            content.key(HOSTILE, content.keys({"account": HOSTILE}).rows[0].path[1], ""),
        )
    )

    assert [secret for secret in SECRETS if secret in shown] == []


def test_commands_do_not_show_what_is_hidden() -> None:
    """Where ids are masked, variables take their place in commands, and a note says so."""
    content = a_content(config=config_of("masked"))
    path = next(row.path for row in content.keys({"q": "bot-"}).rows)
    key = content.key(*path, "")

    assert isinstance(key, server.KeyDetails)
    assert '--user-name "$USER_NAME"' in key.steps[0].commands[0]
    assert key.note.startswith("Set USER_NAME to the name of the user and ACCESS_KEY_ID to")


# -- commands ----------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("name", [MARKUP, LONG, "'; rm -rf /", "$(id)", "--help", "a b", "`id`"])
def test_commands_are_safe_to_paste(name: str) -> None:
    """A shell passes any user name on as it is, and no name is taken for an option."""
    target = Target(PROD, key_id(1), name, active=True, exemption_tag="x; id")
    commands = [command for step in steps_of(target, [*FindingKind]) for command in step.commands]

    for command in commands:
        script = f"aws() {{ printf '%s\\0' \"$@\"; }}; {command}"
        output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert output.stdout.split("\0")[:-1] == shlex.split(command)[1:]
        if "--user-name" in command:
            words = output.stdout.split("\0")
            assert f"--user-name={name}" in words or words[words.index("--user-name") + 1] == name


@pytest.mark.parametrize("kind", FindingKind)
def test_commands_are_those_of_the_runbooks(kind: FindingKind) -> None:
    """Every finding has a runbook; the commands of a page are in some runbook."""
    runbooks = "".join(path.read_text() for path in RUNBOOKS.glob("*.md"))
    target = Target(PROD, "KEY", "USER", active=True)

    for step in steps_of(target, [kind]):
        for command in step.commands:
            assert command.replace("--status Active", "--status Inactive") in runbooks
    assert runbook_of(kind).rpartition("/")[2] in {path.name for path in RUNBOOKS.glob("*.md")}


def test_every_finding_has_a_runbook() -> None:
    """No finding is without."""
    assert set(ALERTS) == set(FindingKind)


@pytest.mark.parametrize(
    ("active", "kind", "commands"),
    [
        (True, None, []),
        (False, FindingKind.INACTIVE_NOT_DELETED, ["delete-access-key"]),
        (
            True,
            FindingKind.NOT_ROTATED,
            ["create-access-key", "update-access-key", "update-access-key", "delete-access-key"],
        ),
        (
            True,
            FindingKind.UNUSED,
            ["update-access-key", "update-access-key", "delete-access-key"],
        ),
    ],
)
def test_commands_fit_the_finding(
    active: bool,
    kind: FindingKind | None,
    commands: list[str],
) -> None:
    """A key without findings is only looked at; an inactive one is deleted."""
    target = Target(PROD, key_id(1), "alice", active=active)
    _, *steps = steps_of(target, [kind] if kind else [])

    assert [each.split()[2] for step in steps for each in step.commands] == commands


def test_users_with_the_same_masked_name_are_different() -> None:
    """Users whose names look the same when masked have rows of their own."""
    names = ("bot-AKIAAAAAAAAAAAAASAME", "bot-AKIABBBBBBBBBBBBSAME")
    snapshot = a_snapshot(
        *[a_key(key_id(number), name) for number, name in enumerate(names)],
        users=tuple(map(a_user, names)),
        account=an_account(),
    )
    content = a_content([(snapshot, AccountMemory())], config=config_of("masked"))

    assert len(set(column(content.keys({}), "User"))) == 2


@pytest.mark.parametrize("sort", dict(SORTS))
@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_the_first_rows_are_those_of_all(sort: str, count: int) -> None:
    """The rows of a page are those that come first when all rows are sorted."""
    rows = [
        row
        for snapshot, memory in ACCOUNTS
        for row in key_rows(snapshot, memory, ShowOptions(), NOON)
    ]
    selected = Selected.of({"sort": sort}, (), str)

    assert selected.first(count, rows) == selected.sorted(rows)[:count]


@pytest.mark.parametrize("order", Order)
def test_orders_are_those_of_reports(order: Order) -> None:
    """The page sorts as the subcommand report does."""
    rows = [
        row
        for snapshot, memory in ACCOUNTS
        for row in key_rows(snapshot, memory, ShowOptions(), NOON)
    ]

    assert Selected.of({"sort": order}, (), str).sorted(rows) == sort_keys(rows, order)
