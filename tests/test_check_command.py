"""The subcommand check, as a user meets it: what it says, formats, flags, exit codes."""

import json
import logging
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from exporter.cli.check_page import Checked, render
from exporter.cli.flags import parse_flags
from exporter.cli.main import main
from exporter.cli.redaction import redactor
from exporter.key_ids import KeyIdFormatter
from exporter.policy import Policy
from exporter.report import Output
from tests.builders import MONITORING, PROD, TEST, add_key, add_users, environment
from tests.check_scene import (
    EXTERNAL_ID,
    NAMES,
    account_id,
    checked,
    configuration,
    endpoints,
    scene,
)
from tests.fake_aws import FakeAws, Fault
from tests.servers import wait_until

DATA = Path(__file__).parent / "data" / "check"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
FAST = "collection: {requests_per_second: 500, burst: 500}\n"


@pytest.fixture
def found(aws: FakeAws, tmp_path: Path) -> Checked:
    """What is found in the scene."""
    with scene(aws, tmp_path):
        return checked(aws, configuration(aws))


@pytest.fixture
def organization(aws: FakeAws) -> Iterator[FakeAws]:
    """An organization of two accounts, and credentials of the management account."""
    tree = aws.organization(MONITORING)
    for id_, name in ((PROD, "prod"), (TEST, "test")):
        tree.add_account(id_, name)
        account = aws.account(id_)
        account.report.instant = True
        account.role("reader")
        add_key(account)
    aws.account(MONITORING).report.instant = True
    with environment(aws.environment(MONITORING)):
        yield aws


def discovering(aws: FakeAws, more: str = "") -> str:
    return f"{FAST}organization: {{role_name: reader{more}}}\n{endpoints(aws)}"


def unwrapped(found: Checked) -> str:
    """The page, with single spaces for its line breaks and indentation."""
    return " ".join(render(found, Output.TABLE, str).split())


# -- what is printed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "output", "width"),
    [
        ("piped.txt", Output.TABLE, None),
        ("wide.txt", Output.TABLE, 100),
        ("narrow.txt", Output.TABLE, 60),
        ("check.json", Output.JSON, None),
    ],
)
def test_output(found: Checked, name: str, output: Output, width: int | None) -> None:
    """What is found in the scene is printed as in tests/data/check."""
    assert render(found, output, str, width=width) == (DATA / name).read_text()


def test_each_wrong_account_has_its_own_sentences(found: Checked) -> None:
    """No two accounts of the scene have the same cures in the same order."""
    problems = [each.problems for each in found.accounts]
    cures = [problem[0].cures for problem in problems if problem]

    assert [len(each) for each in problems] == [0, *[1] * (len(NAMES) - 1)]
    assert len({tuple(cure.text for cure in each) for each in cures}) == len(NAMES) - 1


def test_commands_are_valid(found: Checked) -> None:
    """Each command that a cure has prints the policy that is meant."""
    commands = {
        cure.command
        for account in found.accounts
        for problem in account.problems
        for cure in problem.cures
        if cure.command
    }

    flags = [parse_flags(command.split()[1:], {}) for command in commands]
    policies = {each.policy.policy for each in flags if each.policy}
    assert policies == {Policy.EXPORTER, Policy.TRUST, Policy.READER}
    assert all(each.config_file == "config.yaml" for each in flags)


def test_secrets_and_key_ids_are_not_shown(aws: FakeAws, tmp_path: Path) -> None:
    """External IDs are hidden in every format, and so are key IDs where they are to be."""
    with scene(aws, tmp_path):
        key = next(aws.account(account_id("permission")).keys)
        text = f"AKIA of {key.id} and {EXTERNAL_ID}"
        aws.fault(Fault(operation="ListUsers", account=account_id("fine"), code="X", message=text))
        found = checked(aws, configuration(aws))

    for output in (Output.TABLE, Output.JSON):
        shown = render(found, output, redactor(KeyIdFormatter(), [EXTERNAL_ID]))
        assert EXTERNAL_ID not in shown
        assert "<hidden>" in shown


def test_what_a_terminal_acts_on_is_escaped(aws: FakeAws) -> None:
    """Control characters, such as those in the name of an account, are never printed."""
    aws.account(MONITORING).report.instant = True
    aws.organization(MONITORING).add_account(PROD, "evil\x1b[31m")
    with environment(aws.environment(MONITORING)):
        found = checked(aws, discovering(aws))

    for output in (Output.TABLE, Output.JSON):
        text = render(found, output, str)
        assert [c for c in text if not c.isprintable() and c != "\n"] == []


def test_a_problem_of_many_accounts_is_explained_once(aws: FakeAws) -> None:
    """Accounts with the same problem share its sentences, and ten of them are named."""
    aws.account(MONITORING).report.instant = True
    tree = aws.organization(MONITORING)
    for number in range(30):
        tree.add_account(f"{number:012}", f"account-{number}")
    with environment(aws.environment(MONITORING)):
        text = unwrapped(checked(aws, discovering(aws)))

    assert text.count("Missing role:") == 1
    assert "The same with: account-1 (000000000001), " in text
    assert "and 19 more" in text
    assert text.endswith("31 accounts checked: 30 with problems.")


def test_what_was_not_checked_is_said_once(aws: FakeAws) -> None:
    """Accounts in which the same was not checked share a sentence."""
    tree = aws.organization(MONITORING)
    for id_ in (MONITORING, PROD, TEST):
        aws.account(id_).report.instant = True
        aws.account(id_).role("reader")
    tree.add_account(PROD, "prod")
    tree.add_account(TEST, "test")
    with environment(aws.environment(MONITORING)):
        text = unwrapped(checked(aws, discovering(aws)))

    names = f"management ({MONITORING}), prod ({PROD}), test ({TEST})"
    assert f"{names}: ListAccessKeys was not checked: the account has no users." in text


@pytest.mark.parametrize(
    ("deadline", "problems", "notes"),
    [
        ("1h", [], ["A refresh takes 3 seconds, which is longer than collection.interval."]),
        ("3s", ["too slow"], []),
    ],
)
def test_a_refresh_that_takes_too_long(
    aws: FakeAws, deadline: str, problems: list[str], notes: list[str]
) -> None:
    """A refresh that takes longer than the deadline is a problem; than the interval, a note."""
    aws.account(PROD).report.instant = True
    add_users(aws.account(PROD), 40, keys=40)  # 1 + 40 calls
    limits = "requests_per_second: 10, burst: 10, interval: 2s"
    collection = f"collection: {{{limits}, deadline: {deadline}, credential_report: guide}}\n"

    with environment(aws.environment(PROD)):
        [account] = checked(aws, f"{collection}{endpoints(aws)}").accounts

    assert [problem.summary for problem in account.problems] == problems
    assert list(account.notes) == notes


# -- discovery ---------------------------------------------------------------------------------


def test_the_accounts_of_an_organization(organization: FakeAws) -> None:
    """Every discovered account is checked, and it is said as whom they were discovered."""
    found = checked(organization, discovering(organization))

    assert found.ok
    assert [each.check.account.label for each in found.accounts] == ["management", "prod", "test"]
    identity = f"arn:aws:iam::{MONITORING}:user/monitoring"
    assert f"Organization: 3 accounts, as {identity} " in unwrapped(found)


def test_a_discovery_role(organization: FakeAws) -> None:
    """The identity of discovery is that of its role, not the one that assumed it."""
    organization.organization().delegates.add(TEST)
    organization.account(MONITORING).role("reader")
    role = f", discovery_role_arn: 'arn:aws:iam::{TEST}:role/reader'"

    found = checked(organization, discovering(organization, role))

    assert found.discovery is not None
    assert found.discovery.identity.arn.startswith(f"arn:aws:sts::{TEST}:assumed-role/reader/")
    assert found.credentials["default chain"].arn.startswith(f"arn:aws:iam::{MONITORING}:")


def test_an_account_that_is_discovered_and_configured(organization: FakeAws) -> None:
    """An account that is configured without its ID is not checked again as a discovered one."""
    found = checked(organization, f"accounts: [{{name: own}}]\n{discovering(organization)}")

    assert [each.name for each in found.accounts] == [
        f"own ({MONITORING})",
        f"prod ({PROD})",
        f"test ({TEST})",
    ]


def problem_of(found: Checked) -> tuple[str, str]:
    assert found.discovery is not None
    assert found.discovery.problem is not None
    assert not found.ok
    problem = found.discovery.problem
    return problem.summary, problem.cures[0].text


def test_an_account_that_may_not_ask_for_others(organization: FakeAws) -> None:
    """Only the management account and delegated administrators may list accounts."""
    with environment(organization.environment(PROD)):
        found = checked(organization, discovering(organization))

    summary, cure = problem_of(found)
    assert summary == "not an administrator"
    assert "Set organization.discovery_role_arn to a role in the management account" in cure
    assert "neither the organization's management account nor" in unwrapped(found)


def test_an_account_in_no_organization(aws: FakeAws) -> None:
    """An account that is in no organization has no other accounts to list."""
    with environment(aws.environment(PROD)):
        summary, _ = problem_of(checked(aws, discovering(aws)))

    assert summary == "no organization"


@pytest.mark.parametrize("role", ["", "reader"])
def test_discovery_without_permission(organization: FakeAws, role: str) -> None:
    """The action that is missing is to be added to the identity, or role, that lists accounts."""
    organization.organization().delegates.add(TEST)
    organization.account(TEST if role else MONITORING).deny("organizations:ListAccounts")
    more = f", discovery_role_arn: 'arn:aws:iam::{TEST}:role/reader'" if role else ""

    found = checked(organization, discovering(organization, more))

    summary, cure = problem_of(found)
    where = (
        f"role arn:aws:iam::{TEST}:role/reader" if role else f"identity arn:aws:iam::{MONITORING}"
    )
    assert summary == "no ListAccounts"
    assert cure.startswith(f"Add organizations:ListAccounts to the permissions of the {where}")
    assert "statement Organization of the discovery policy" in cure


def test_a_discovery_role_that_cannot_be_assumed(organization: FakeAws) -> None:
    """A role for discovery has the same problems as that of an account."""
    role = f", discovery_role_arn: 'arn:aws:iam::{TEST}:role/none'"

    found = checked(organization, discovering(organization, role))

    assert problem_of(found)[0] == "cannot assume role"
    assert "or correct organization.discovery_role_arn." in unwrapped(found)


def test_no_account_is_chosen(organization: FakeAws) -> None:
    """An organization of which nothing is read is a problem of the configuration."""
    found = checked(organization, discovering(organization, ", include: {names: [none]}"))

    summary, cure = problem_of(found)
    assert (found.ok, summary) == (False, "no account")
    assert cure == "Correct organization.include and organization.exclude."


@pytest.mark.parametrize(
    ("more", "sent"),
    [("", ""), (", discovery_external_id: another", "DISCOVERY_EXTERNAL_ID")],
)
def test_the_trust_policy_of_a_discovery_role(organization: FakeAws, more: str, sent: str) -> None:
    """The command for it has the external ID of discovery, never that of the accounts' roles."""
    role = f", external_id: of-accounts, discovery_role_arn: 'arn:aws:iam::{TEST}:role/none'{more}"

    found = checked(organization, discovering(organization, role))

    assert found.discovery is not None
    assert found.discovery.problem is not None
    commands = [cure.command for cure in found.discovery.problem.cures if "--trust" in cure.command]
    assert [command.partition(" --external-id=")[2] for command in commands] == [sent]
    flags = parse_flags(commands[0].split()[1:], {})
    assert flags.policy is not None
    assert flags.policy.external_id == sent


def test_configured_accounts_are_checked_without_discovery(organization: FakeAws) -> None:
    """Where discovery fails, the configured accounts are checked nevertheless."""
    organization.account(MONITORING).deny("organizations:*")
    accounts = f"accounts: [{{name: prod, role_arn: 'arn:aws:iam::{PROD}:role/reader'}}]\n"

    found = checked(organization, accounts + discovering(organization))

    assert not found.ok
    assert [(each.name, each.problems) for each in found.accounts] == [(f"prod ({PROD})", ())]


def test_an_account_that_may_be_among_the_unknown(organization: FakeAws) -> None:
    """Where discovery fails, an account that was asked for is not called missing."""
    organization.account(MONITORING).deny("organizations:*")

    found = checked(organization, discovering(organization), "--account=prod")

    assert (found.ok, found.accounts) == (False, [])
    assert "The accounts of the organization are unknown." in unwrapped(found)


# -- the command -------------------------------------------------------------------------------


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
            code = main(["check", *flags])
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
def config(organization: FakeAws, tmp_path: Path) -> str:
    """The flag of a configuration that discovers the accounts of the organization."""
    file = tmp_path / "config.yaml"
    file.write_text(discovering(organization))
    return f"--config.file={file}"


def test_exit_code_0(config: str, call: Call) -> None:
    """Nothing is wrong: exit code 0, and nothing on standard error."""
    result = call(config)

    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.endswith("3 accounts checked: nothing is wrong with them.\n")


def test_exit_code_1(organization: FakeAws, config: str, call: Call) -> None:
    """Something is wrong with one account: exit code 1."""
    organization.account(TEST).remove_role("reader")

    result = call(config)

    assert (result.code, result.stderr) == (1, "")
    assert result.stdout.endswith("3 accounts checked: 1 with problems.\n")


def test_only_accounts_that_are_asked_for(organization: FakeAws, config: str, call: Call) -> None:
    """Accounts are chosen by ID or name; the others are not touched."""
    result = call(config, "--account=test", f"--account={MONITORING}", "--output=json")

    accounts = json.loads(result.stdout)["accounts"]
    assert [each["account_id"] for each in accounts] == [MONITORING, TEST]
    assert organization.count(account=PROD) == 0


def test_an_account_whose_id_cannot_be_found_out(call: Call) -> None:
    """Without credentials nobody can say that they do not belong to the account."""
    with environment({"AWS_EC2_METADATA_DISABLED": "true"}):
        result = call(f"--account={PROD}")

    assert result.code == 1
    assert "There are no credentials in the default chain." in result.stdout


def test_an_account_that_does_not_exist(config: str, call: Call) -> None:
    """An account that is not there is a usage error, and no account is checked."""
    result = call(config, "--account=nobody")

    assert (result.code, result.stdout) == (2, "")
    assert "there is no account with the ID or name 'nobody'" in result.stderr


def test_an_account_that_is_configured_without_its_id(aws: FakeAws, call: Call) -> None:
    """Without a configuration, the account of the credentials can be asked for by its ID."""
    aws.account(PROD).report.instant = True
    with environment(aws.environment(PROD)):
        found, missing = call(f"--account={PROD}"), call(f"--account={TEST}")

    assert (found.code, missing.code) == (0, 2)
    assert f"{PROD}  ok" in found.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output=csv"], "--output must be one of table, json, not 'csv'"),
        (["--acount=x"], "unknown flag: --acount=x; did you mean --account?"),
        (["prod"], "unknown argument: prod"),
    ],
)
def test_invalid_flags(call: Call, flags: list[str], message: str) -> None:
    """Invalid flags are reported with the usage of the subcommand."""
    result = call(*flags)

    assert result.code == 2
    assert result.stderr.startswith("usage: aws-iam-key-exporter check [flags]\n")
    assert message in result.stderr


def test_help(call: Call) -> None:
    """The examples of the help are valid."""
    result = call("--help")

    lines = [line.split() for line in result.stdout.splitlines()]
    examples = [words[1:] for words in lines if words[:1] == ["aws-iam-key-exporter"]]
    assert (result.code, len(examples)) == (0, 2)
    assert all(parse_flags(words, {}).check for words in examples)


# -- terminals and signals ---------------------------------------------------------------------


class Terminal:
    """The program, with a terminal as its standard error."""

    def __init__(self, *flags: str) -> None:
        self._controller, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "exporter", "check", *flags],
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        )
        os.close(terminal)
        self._text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)
        os.close(self._controller)

    def text(self) -> str:
        """What the terminal has received so far."""
        with suppress(OSError):  # the program has ended
            while select.select([self._controller], [], [], 0.05)[0]:
                self._text += os.read(self._controller, 100_000)
        return self._text.decode(errors="replace")


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once(
    organization: FakeAws, config: str, number: signal.Signals, code: int
) -> None:
    """Ctrl-C ends the progress bar and the program within a second, without a traceback."""
    organization.fault(Fault(operation="ListUsers", latency=60))
    with Terminal(config) as running:
        wait_until(lambda: organization.count("ListUsers") == 3, "three accounts are checked")
        wait_until(lambda: "checking" in running.text(), "a progress bar")
        began = time.monotonic()

        running.process.send_signal(number)

        assert running.process.wait(10) == code
        assert time.monotonic() - began < 1
        text = running.text()
        assert "Traceback" not in text
        assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")
