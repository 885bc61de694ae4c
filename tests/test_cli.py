"""The program as a user meets it: flags, sentences, exit codes, signals."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cli.flags import Flags, make_parser, parse, variable
from tests.fake_aws import FakeAws, Fault
from tests.servers import Exporter, exporter, wait_until

PROD, TEST = "111111111111", "222222222222"
ROLE = "aws-iam-key-exporter"


def run(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exporter", *flags],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        for id_ in (PROD, TEST):
            account = fake.account(id_)
            account.role(ROLE)
            account.report.instant = True
            account.add_user("alice").add_key().use()
        yield fake


def configured(aws: FakeAws, folder: Path, ids: list[str], extra: str = "") -> str:
    """Write a configuration that reads accounts *ids* of *aws*, and give the flag for it."""
    accounts = "\n".join(f"- {{role_arn: 'arn:aws:iam::{i}:role/{ROLE}'}}" for i in ids)
    file = folder / "config.yaml"
    file.write_text(
        "collection: {interval: 0.2s, requests_per_second: 500, burst: 500}\n"
        f"aws: {{endpoint_urls: {{iam: '{aws.url}', sts: '{aws.url}'}}}}\n"
        f"accounts:\n{accounts}\n{extra}"
    )
    return f"--config.file={file}"


def starting(aws: FakeAws, folder: Path, *ids: str, extra: str = "") -> tuple[str, dict[str, str]]:
    return configured(aws, folder, list(ids), extra), aws.environment("999999999999")


# What it says.


def test_help_names_every_flag() -> None:
    """--help ends with 0 and says something of every flag."""
    result = run("--help")

    flags = [a.option_strings[-1] for a in make_parser()._actions if a.option_strings]
    assert result.returncode == 0
    assert [flag for flag in flags if flag not in result.stdout] == []


def test_version_is_in_the_common_form() -> None:
    """--version begins as every exporter's does."""
    assert re.match(r"aws-iam-key-exporter, version \d+\.\d+\.\d+\n", run("--version").stdout)


def test_a_bad_configuration_is_exit_code_2(tmp_path: Path) -> None:
    """A bad file is told on standard error, and nothing starts."""
    file = tmp_path / "config.yaml"
    file.write_text("colection: {}")

    result = run(f"--config.file={file}")

    assert result.returncode == 2
    assert result.stderr == (
        f"{file}: 1 problem\n  {file}:1: colection: unknown option; did you mean 'collection'?\n"
    )


def test_checking_says_what_is_understood(tmp_path: Path) -> None:
    """--config.check describes a good file and ends with 0."""
    file = tmp_path / "config.yaml"
    file.write_text("accounts: [{name: prod, role_arn: 'arn:aws:iam::111111111111:role/x'}]")

    result = run("--config.check", f"--config.file={file}")

    assert (result.returncode, result.stderr) == (0, "")
    assert "reads prod (111111111111) with arn:aws:iam::111111111111:role/x" in result.stdout


def test_a_busy_port_is_a_sentence_and_exit_code_1() -> None:
    """A port that is taken is told in one sentence, before anything else happens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        result = run(f"--web.listen-address={address}")

    assert result.returncode == 1
    assert result.stderr == (
        f"aws-iam-key-exporter: cannot listen on {address}: Address already in use; choose"
        " another with --web.listen-address\n"
    )


@pytest.mark.parametrize(
    "flags",
    [
        ["--nonsense"],
        ["--log.level=loud"],
        ["--web.telemetry-path=metrics"],
        ["--web.telemetry-path=/"],
        ["--web.telemetry-path=/-/healthy"],
        ["--demo", "--config.file=x"],
        ["dance"],
    ],
)
def test_wrong_usage_is_exit_code_2(flags: list[str]) -> None:
    """Flags that cannot be meant are refused with the usage."""
    result = run(*flags)

    assert (result.returncode, result.stderr.startswith("usage:")) == (2, True)


def test_the_demo_says_what_it_lacks() -> None:
    """Without moto --demo names the extra to install."""
    code = (
        "import sys; sys.modules['moto'] = None; from exporter.cli.main import main;"
        " sys.exit(main(['--demo', '--web.listen-address=127.0.0.1:0']))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.returncode == 1
    assert "--demo needs pip install 'aws-iam-key-exporter[demo]'" in result.stderr


# Flags and their variables.


def flags(*argv: str, **environment: str) -> Flags:
    return parse(argv, {variable("--x")[:-1] + name: v for name, v in environment.items()})


def test_every_flag_has_a_variable() -> None:
    """A variable stands for its flag."""
    told = flags(
        CONFIG_FILE="c.yaml",
        CONFIG_CHECK="true",
        WEB_LISTEN_ADDRESS=":1, :2",
        WEB_TELEMETRY_PATH="/m",
        LOG_LEVEL="warn",
        LOG_FORMAT="json",
    )

    assert told == Flags("c.yaml", True, [":1", ":2"], "/m", "warn", "json", False)


def test_a_flag_beats_its_variable() -> None:
    """A flag that is given makes its variable count for nothing, lists included."""
    told = flags(
        "--log.level", "error", "--web.listen-address=:3", LOG_LEVEL="warn", WEB_LISTEN_ADDRESS=":1"
    )

    assert (told.log_level, told.web_listen_address) == ("error", [":3"])


def test_a_switch_can_be_off_in_the_environment() -> None:
    """false in the environment leaves a switch off, and anything else is refused."""
    assert flags(DEMO="false").demo is False
    with pytest.raises(SystemExit):
        flags(DEMO="maybe")


# What it does.


def test_the_page_is_there_before_aws_has_answered(aws: FakeAws, tmp_path: Path) -> None:
    """From the first moment on the page has build_info and account_up 0, and is not ready."""
    aws.fault(Fault(operation="AssumeRole", latency=30))
    flag, environment = starting(aws, tmp_path, PROD)

    with exporter(flag, environment=environment) as running:
        page = running.get("/metrics")
        with pytest.raises(OSError, match="503"):
            running.get("/-/ready")

    assert "aws_iam_exporter_build_info{" in page
    assert f'account_up{{account_id="{PROD}",account="{PROD}"}} 0\n' in page


def test_no_configuration_reads_the_account_of_the_credentials(aws: FakeAws) -> None:
    """With credentials alone their account is read, and named by its id."""
    environment = {**aws.environment(PROD), "AWS_ENDPOINT_URL": aws.url}

    with exporter(environment=environment) as running:
        running.wait_until_ready()
        page = running.get("/metrics")

    assert f'account_up{{account_id="{PROD}",account="{PROD}"}} 1\n' in page
    assert 'account="default"' not in page


def test_without_any_credentials_the_account_is_down(aws: FakeAws) -> None:
    """No credentials are a reason of failure like any other, not an end."""
    with exporter(environment={"AWS_ENDPOINT_URL": aws.url}) as running:
        running.wait_until_ready()
        page = running.get("/metrics")

    assert 'failures_total{account_id="",account="default",reason="credentials"} 1\n' in page


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_a_second(aws: FakeAws, tmp_path: Path, number: int) -> None:
    """With hundreds of readings under way or waiting, a signal ends it at once, with 0."""
    ids = [f"{number:012}" for number in range(1, 501)]
    aws.fault(Fault(operation="AssumeRole", latency=30))
    flag, environment = starting(aws, tmp_path, *ids)

    with exporter(flag, environment=environment) as running:
        wait_until(lambda: aws.count("AssumeRole") >= 16, "readings are under way")
        code, seconds = running.end(number)

    assert code == 0
    assert seconds < 5  # the bar of 1 s is for a machine that does nothing else
    assert "Traceback" not in running.log


def test_a_signal_ends_a_reading_that_waits_for_its_pace(aws: FakeAws, tmp_path: Path) -> None:
    """A reading that waits for tokens gives way to a signal."""
    for number in range(50):
        aws.account(PROD).add_user(f"user{number}").add_key()
    flag, environment = starting(aws, tmp_path, PROD)
    file = Path(flag.partition("=")[2])
    file.write_text(file.read_text().replace("second: 500, burst: 500", "second: 0.1, burst: 5"))

    with exporter(flag, environment=environment) as running:
        wait_until(lambda: aws.count("GetAccessKeyLastUsed") >= 1, "the burst is spent")
        time.sleep(0.2)
        code, seconds = running.end()

    assert (code, seconds < 5) == (0, True)


def test_a_role_that_breaks_keeps_the_keys_and_tells(aws: FakeAws, tmp_path: Path) -> None:
    """When a role goes, the account is down with its reason, and its keys stay on the page."""
    flag, environment = starting(aws, tmp_path, PROD, TEST)

    with exporter(flag, environment=environment) as running:
        running.wait_until_ready()
        aws.account(TEST).remove_role(ROLE)
        aws.revoke(TEST)
        wait_until(
            lambda: 'reason="assume_role"} 0' not in _of(TEST, running.get("/metrics")),
            "the role is missed",
        )
        page = running.get("/metrics")

    assert f'account_up{{account_id="{TEST}",account="{TEST}"}} 0\n' in page
    assert f'account_up{{account_id="{PROD}",account="{PROD}"}} 1\n' in page
    assert 'access_key_active{account_id="222222222222"' in page


def _of(account: str, page: str) -> str:
    return "".join(line + "\n" for line in page.splitlines() if account in line)


def test_masked_ids_are_masked_everywhere(aws: FakeAws, tmp_path: Path) -> None:
    """No whole key id is in the page, on the landing page or in the logs."""
    keys = list(aws.account(PROD).keys)
    aws.fault(
        Fault(
            operation="GetAccessKeyLastUsed",
            code="AccessDenied",
            message=f"no: access key {keys[0].id}",
        )
    )
    flag, environment = starting(aws, tmp_path, PROD, extra="labels: {access_key_id: masked}\n")

    with exporter(flag, "--log.level=debug", environment=environment) as running:
        running.wait_until_ready()
        shown = running.get("/metrics") + running.get("/") + running.log

    assert "access key AKIA****" in running.log
    assert [key.id for key in keys if key.id in shown] == []


@pytest.mark.parametrize(("format_", "begins"), [("json", '{"'), ("logfmt", "time=")])
def test_log_formats(aws: FakeAws, format_: str, begins: str) -> None:
    """Every line of the log is in the format that was asked for."""
    environment = {**aws.environment(PROD), "AWS_ENDPOINT_URL": aws.url}

    running = Exporter(f"--log.format={format_}", environment=environment)
    wait_until(lambda: len(running.lines) > 2, "it logs")
    running.end()
    assert running.process.stderr is not None
    running.process.stderr.close()

    assert [line for line in running.lines if not line.startswith(begins)] == []
