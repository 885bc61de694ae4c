"""The program as a user meets it: flags, messages, exit codes, signals."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from exporter.cli.flags import Flags, make_parser, parse_flags, unknown_variables, variable
from exporter.cli.logs import LEVELS
from exporter.cli.main import main
from tests.fake_aws import FakeAws, Fault
from tests.servers import Exporter, exporter, free_port, get, wait_until

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

PROD, TEST = "111111111111", "222222222222"
ROLE = "aws-iam-key-exporter"


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "exporter", *flags],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin"},
    )


@dataclass(frozen=True)
class Result:
    """What `main` returned, or exited with, and printed."""

    code: int | str | None
    stdout: str
    stderr: str


@pytest.fixture
def call(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Call `main` in this process, and undo what it does to signals and logging."""
    for module, hook in ((sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    signals = {number: signal.getsignal(number) for number in SIGNALS}
    handlers, level = logging.root.handlers[:], logging.root.level

    def call(*flags: str) -> Result:
        code: int | str | None
        try:
            code = main(flags)
        except SystemExit as error:
            code = error.code
        for handler in logging.root.handlers:
            handler.flush()
        return Result(code, *capfd.readouterr())

    yield call
    for number, handler in signals.items():
        signal.signal(number, handler)
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


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
    """Write a configuration that reads accounts *ids* of *aws* and return the flag for it."""
    accounts = "\n".join(f"- {{role_arn: 'arn:aws:iam::{i}:role/{ROLE}'}}" for i in ids)
    file = folder / "config.yaml"
    file.write_text(
        "collection: {interval: 0.2s, requests_per_second: 500, burst: 500}\n"
        f"aws: {{endpoint_urls: {{iam: '{aws.url}', sts: '{aws.url}'}}}}\n"
        f"accounts:\n{accounts}\n{extra}"
    )
    return f"--config.file={file}"


def setup(aws: FakeAws, folder: Path, *ids: str, extra: str = "") -> tuple[str, dict[str, str]]:
    return configured(aws, folder, list(ids), extra), aws.environment("999999999999")


# Messages and exit codes.


Call = Callable[..., Result]


def test_help_describes_every_flag(call: Call) -> None:
    """--help describes every flag and exits with code 0."""
    result = call("--help")

    flags = [a.option_strings[-1] for a in make_parser()._actions if a.option_strings]
    assert result.code == 0
    assert [flag for flag in flags if flag not in result.stdout] == []
    assert all(action.help for action in make_parser()._actions)
    assert "  aws-iam-key-exporter serve --config.file=config.yaml\n" in result.stdout
    assert "  aws-iam-key-exporter events --config.file=config.yaml --since=30d\n" in result.stdout


def test_version_is_in_the_common_form(call: Call) -> None:
    """--version starts like that of every exporter: version, branch and revision."""
    result = call("--version")

    assert re.match(
        r"aws-iam-key-exporter, version \d+\.\d+\.\d+ \(branch: \S+, revision: \S+\)\n",
        result.stdout,
    )
    assert result.code == 0


@pytest.mark.process
def test_an_invalid_configuration_is_exit_code_2(tmp_path: Path) -> None:
    """An invalid file is reported on standard error, and nothing is started."""
    file = tmp_path / "config.yaml"
    file.write_text("colection: {}")

    result = run(f"--config.file={file}")

    assert result.returncode == 2
    assert result.stderr == (
        f"{file}: 1 problem\n  {file}:1: colection: unknown option; did you mean 'collection'?\n"
    )


def test_check_prints_the_configuration(call: Call, tmp_path: Path) -> None:
    """--config.check prints the effective configuration and exits with code 0."""
    file = tmp_path / "config.yaml"
    file.write_text("accounts: [{name: prod, role_arn: 'arn:aws:iam::111111111111:role/x'}]")

    result = call("--config.check", f"--config.file={file}")

    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"# {file} is valid. Options in effect:\n")
    assert "  role_arn: arn:aws:iam::111111111111:role/x\n" in result.stdout


def test_check_of_an_invalid_file_is_exit_code_2(call: Call, tmp_path: Path) -> None:
    """--config.check reports the problems of a file."""
    result = call("--config.check", f"--config.file={tmp_path / 'none.yaml'}")

    assert (result.code, result.stdout) == (2, "")
    assert "cannot read file: No such file or directory" in result.stderr


def test_check_includes_the_web_configuration(call: Call, tmp_path: Path) -> None:
    """--config.check reports the problems of the file that --web.config.file names."""
    file = tmp_path / "web.yml"
    file.write_text("basic_auth_user: {}", encoding="utf-8")

    result = call("--config.check", f"--web.config.file={file}")

    assert (result.code, result.stdout) == (2, "")
    problem = "basic_auth_user: unknown field; did you mean basic_auth_users?"
    assert result.stderr == f"{file}: 1 problem\n  {file}:1: {problem}\n"


def test_check_shows_warnings_of_the_web_configuration(call: Call, tmp_path: Path) -> None:
    """--config.check shows what is valid in a web configuration, but hardly meant."""
    file = tmp_path / "web.yml"
    file.write_text("rate_limit: {interval: 1s}", encoding="utf-8")

    result = call("--config.check", f"--web.config.file={file}")

    assert result.code == 0
    assert f"{file}: rate_limit.burst: without one, every request is answered" in result.stdout


def test_check_without_a_file_shows_the_defaults(call: Call) -> None:
    """--config.check without a file prints the defaults."""
    result = call("--config.check")

    assert result.code == 0
    assert "# No accounts: read the account that the AWS credentials belong to.\n" in result.stdout


@pytest.mark.parametrize(
    ("argv", "directory", "state"),
    [
        ((), "", "{path: null, url: null}"),
        ((), "/var/lib/x", "{path: /var/lib/x/state.db, url: null}"),
        (("--config.file={path}",), "/var/lib/x", "{path: /file.db, url: null}"),
        (("--config.file={path}", "--state.path=/flag.db"), "", "{path: /flag.db, url: null}"),
        (("--config.file={url}",), "/var/lib/x", "{path: null, url: postgresql://db/x}"),
        (("--config.file={url}", "--state.path=/flag.db"), "", "{path: /flag.db, url: null}"),
    ],
)
def test_where_the_state_is(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    argv: tuple[str, ...],
    directory: str,
    state: str,
) -> None:
    """--state.path overrides the configuration, which overrides $STATE_DIRECTORY."""
    monkeypatch.setenv("STATE_DIRECTORY", directory)
    files = {"path": tmp_path / "path.yaml", "url": tmp_path / "url.yaml"}
    files["path"].write_text("state: {path: /file.db}")
    files["url"].write_text("state: {url: 'postgresql://db/x'}")

    result = call("--config.check", *(flag.format(**files) for flag in argv))

    assert result.code == 0
    found = yaml.safe_load(result.stdout)["state"]
    assert found == {**yaml.safe_load(state), "keep_events": "400d"}


@pytest.mark.process
def test_a_port_in_use_is_exit_code_1() -> None:
    """A port in use is reported in one line, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        result = run(f"--web.listen-address={address}")

    assert result.returncode == 1
    assert result.stderr == (
        f"aws-iam-key-exporter: cannot listen on {address}: Address already in use; set another"
        " --web.listen-address\n"
    )


def test_an_invalid_address_is_exit_code_1(call: Call) -> None:
    """An address that cannot be listened on is reported in one line."""
    result = call("--web.listen-address=localhost")

    assert (result.code, result.stderr.count("\n")) == (1, 1)
    assert "cannot listen on localhost: not an address such as :10064" in result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ["--nonsense"],
        ["--log.level=loud"],
        ["--web.telemetry-path=metrics"],
        ["--web.telemetry-path=/"],
        ["--web.telemetry-path=/-/healthy"],
        ["--web.telemetry-path=/a b"],
        ["--web.telemetry-path=/\udcff"],
        ["--web.telemetry-path=/metrics?x"],
        ["--web.telemetry-path=/keys"],
        ["--web.telemetry-path=/keys.csv"],
        ["--web.telemetry-path=/keys/a/b"],
        ["--web.telemetry-path=/config"],
        ["--web.max-requests=-1"],
        ["--web.max-requests=many"],
        ["--demo", "--config.file=x"],
        ["--state.path=sqlite:///x"],
        ["dance"],
    ],
)
def test_invalid_flags_are_exit_code_2(call: Call, flags: list[str]) -> None:
    """Invalid flags are reported with the usage."""
    result = call(*flags)

    assert (result.code, result.stderr.startswith("usage:")) == (2, True)


def test_without_pages_their_paths_are_free() -> None:
    """The path of a page may be that of the metrics if there are no pages."""
    parsed = parse_flags(["--web.telemetry-path=/keys", "--web.disable-pages"], {})

    assert parsed.web_telemetry_path == "/keys"


def test_the_demo_without_its_extra_is_exit_code_1(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without moto, --demo names the extra to install."""
    monkeypatch.setitem(sys.modules, "moto.iam.responses", None)

    result = call("--demo", "--web.listen-address=127.0.0.1:0")

    assert result.code == 1
    assert "--demo requires: pip install 'aws-iam-key-exporter[demo]'" in result.stderr


def test_main_returns_after_a_signal(
    call: Call, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """main serves until a signal, and returns 0: it does not exit the process."""
    for name, value in aws.environment(PROD).items():
        monkeypatch.setenv(name, value)
    address = f"127.0.0.1:{free_port()}"
    pages: list[str] = []
    over = threading.Event()

    def visit() -> None:
        try:
            wait_until(lambda: get(f"http://{address}/-/ready"), "the first refresh")
            pages.extend(get(f"http://{address}{path}") for path in ("/", "/metrics"))
        finally:
            if not over.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    visitor = threading.Thread(target=visit)
    visitor.start()
    file = tmp_path / "config.yaml"
    file.write_text("collection: {interval: 1s}")
    result = call(f"--config.file={file}", f"--web.listen-address={address}", "--log.format=json")
    over.set()
    visitor.join()

    assert result.code == 0
    assert '"warning": "collection.interval below 15m has no benefit' in result.stderr
    assert '"msg": "stopped"' in result.stderr.splitlines()[-1]
    assert [PROD in page for page in pages] == [True, True]


# Flags and environment variables.


def flags(*argv: str, **environment: str) -> Flags:
    return parse_flags(
        argv, {variable("--x")[:-1] + name: value for name, value in environment.items()}
    )


def test_every_flag_has_an_environment_variable() -> None:
    """Each flag can be set by its environment variable."""
    parsed = flags(
        CONFIG_FILE="c.yaml",
        CONFIG_CHECK="true",
        WEB_LISTEN_ADDRESS=":1, :2",
        WEB_TELEMETRY_PATH="/m",
        WEB_MAX_REQUESTS="7",
        LOG_LEVEL="warn",
        LOG_FORMAT="json",
        STATE_PATH="s.db",
    )

    assert parsed == Flags("c.yaml", True, [":1", ":2"], "/m", 7, "warn", "json", False, "s.db")


def test_a_flag_overrides_its_environment_variable() -> None:
    """A flag overrides its environment variable, also if it can be repeated."""
    parsed = flags(
        "--log.level", "error", "--web.listen-address=:3", LOG_LEVEL="warn", WEB_LISTEN_ADDRESS=":1"
    )

    assert (parsed.log_level, parsed.web_listen_address) == ("error", [":3"])


def test_a_switch_can_be_false_in_the_environment() -> None:
    """The variable of a switch is true or false; anything else is an error."""
    assert flags(DEMO="false").demo is False
    with pytest.raises(SystemExit):
        flags(DEMO="maybe")


def test_serve_is_the_default_subcommand() -> None:
    """Flags are the same with serve, after or before them, and without it."""
    argv = ["--log.level=debug", "--web.listen-address=:1", "--demo"]

    assert flags("serve", *argv) == flags(*argv, "serve") == flags(*argv)
    assert flags(*argv[:1], "serve", *argv[1:], LOG_FORMAT="json") == flags(
        *argv, "--log.format=json"
    )


def test_the_environment_applies_to_events() -> None:
    """The configuration and the state of events can be set by environment variables, too."""
    parsed = flags("events", "--user=a", CONFIG_FILE="c.yaml", STATE_PATH="s.db")

    assert (parsed.config_file, parsed.state_path) == ("c.yaml", "s.db")
    assert flags("events", "--state.path=t.db", STATE_PATH="s.db").state_path == "t.db"


def test_the_state_directory_of_systemd() -> None:
    """The default state is a file in the first directory of $STATE_DIRECTORY."""
    parsed = parse_flags([], {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"})

    assert (parsed.state_path, parsed.default_state_path) == ("", "/var/lib/a/state.db")


def error_of(capsys: pytest.CaptureFixture[str], *argv: str, **environment: str) -> str:
    with pytest.raises(SystemExit) as caught:
        flags(*argv, **environment)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("flag", "suggestion"),
    [
        ("--configfile=x", "--config.file"),
        ("-config.file=x", "--config.file"),
        ("--web.listen_address", "--web.listen-address"),
        ("--log-level", "--log.level"),
        ("--DEMO", "--demo"),
    ],
)
def test_an_unknown_flag_has_a_suggestion(
    capsys: pytest.CaptureFixture[str], flag: str, suggestion: str
) -> None:
    """An unknown flag is reported with the flag that it is most similar to."""
    assert error_of(capsys, flag).endswith(f"unknown flag: {flag}; did you mean {suggestion}?")


def test_a_flag_that_is_like_no_other_has_no_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where no flag is similar, none is suggested."""
    assert error_of(capsys, "--xyzzy").endswith("unknown flag: --xyzzy")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["reports"], "unknown subcommand: reports; did you mean report?"),
        (["xyzzy"], "unknown subcommand: xyzzy"),
        (["--log.level=loud"], "must be one of debug, info, warn, warning, error, not 'loud'"),
        (["--config.file"], "--config.file requires a value"),
        (["--config.check=3"], "--config.check has no value, but is given '3'"),
        (["--shard=x"], "--shard must be an integer, not 'x'"),
        (["policy", "--trust", "--exporter"], "--exporter cannot be combined with --trust"),
        (["--config.auto-reload-interval=5"], "must be a duration such as 30s, not '5'"),
    ],
)
def test_wrong_arguments_are_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """What is wrong is said in the same words for every flag, without those of argparse."""
    message = error_of(capsys, *arguments)

    assert message.endswith(f" {text}")
    assert "argument" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOG_LEVEL", "loud"),
        ("DEMO", "maybe"),
        ("WEB_TELEMETRY_PATH", "x"),
        ("LOG_FORMAT", "xml"),
        ("STATE_PATH", "~/x"),
    ],
)
def test_an_error_about_a_variable_names_it(
    capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """An invalid value of an environment variable is reported with the variable's name."""
    assert f"AWS_IAM_KEY_EXPORTER_{name} " in error_of(capsys, **{name: value})


def test_an_empty_variable_is_the_default() -> None:
    """An empty environment variable is like one that is not set."""
    names = ("LOG_LEVEL", "WEB_LISTEN_ADDRESS", "WEB_TELEMETRY_PATH", "DEMO", "CONFIG_FILE")

    assert flags(**dict.fromkeys(names, "")) == flags()


@pytest.mark.parametrize("level", ["warn", "warning"])
def test_warn_and_warning_are_one_word(call: Call, level: str) -> None:
    """--log.level accepts both spellings."""
    assert LEVELS[flags("--log.level", level).log_level] == "WARNING"
    assert flags(LOG_LEVEL=level).log_level == level


def test_unknown_variables_are_warnings() -> None:
    """A variable with our prefix that is no flag's is reported, with the flag it is similar to."""
    values = {
        **dict.fromkeys(("CONFIG_FILE", "LOGLEVEL", "XYZZY"), "x"),
        "PORT": "10064",
        # What Kubernetes sets for services whose names begin like that of the exporter.
        "B_PORT": "tcp://10.0.0.1:10064",
        "B_PORT_10064_TCP_ADDR": "10.0.0.1",
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT_METRICS": "10064",
    }
    variables = {f"AWS_IAM_KEY_EXPORTER_{name}": value for name, value in values.items()}

    assert unknown_variables(variables) == [
        (
            "unknown environment variable AWS_IAM_KEY_EXPORTER_LOGLEVEL;"
            " did you mean AWS_IAM_KEY_EXPORTER_LOG_LEVEL?"
        ),
        "unknown environment variable AWS_IAM_KEY_EXPORTER_PORT",
        "unknown environment variable AWS_IAM_KEY_EXPORTER_XYZZY",
    ]


def test_check_has_every_warning(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """--config.check warns of what has no effect, also of unknown variables; the code is 0."""
    monkeypatch.setenv("AWS_IAM_KEY_EXPORTER_LOGLEVEL", "debug")
    file = tmp_path / "config.yaml"
    file.write_text("aws: {region: eu-west-9}\nlabels: {hash_secret: 0123456789abcdef}\n")

    result = call("--config.check", f"--config.file={file}")

    warnings = [line for line in result.stdout.splitlines() if line.startswith("# Warning: ")]
    assert (result.code, len(warnings)) == (0, 3)


def test_check_formats_key_ids_and_hides_passwords(call: Call, tmp_path: Path) -> None:
    """The output of --config.check has key IDs as configured, and no passwords, errors neither."""
    file = tmp_path / "config.yaml"
    text = (
        "labels: {access_key_id: masked}\n"
        "accounts: [{profile: ci-akiaiosfodnn7example}]\n"
        "aws: {endpoint_urls: {iam: 'http://me:hush@localhost'}}\n"
        "exemptions: {entries: [{access_key_id: AKIAIOSFODNN7EXAMPLE, until: 2099-01-01}]}\n"
    )
    file.write_text(text)
    valid = call("--config.check", f"--config.file={file}")
    file.write_text(text + "users: {include: ['(AKIAIOSFODNN7EXAMPLE']}\n")
    invalid = call("--config.check", f"--config.file={file}")

    assert (valid.code, invalid.code) == (0, 2)
    shown = valid.stdout + invalid.stderr
    assert "AKIA****MPLE" in valid.stdout
    assert "AKIA****MPLE" in invalid.stderr
    assert [word for word in ("iosfodnn7example", "hush") if word in shown.lower()] == []


# The running program.


@pytest.mark.process
def test_metrics_are_served_before_aws_answers(aws: FakeAws, tmp_path: Path) -> None:
    """Before the first refresh the exporter is not ready, and exports account_up 0."""
    aws.fault(Fault(operation="AssumeRole", latency=30))
    flag, environment = setup(aws, tmp_path, PROD)

    with exporter(flag, environment=environment) as running:
        page = running.get("/metrics")
        with pytest.raises(OSError, match="503"):
            running.get("/-/ready")

    assert "aws_iam_exporter_build_info{" in page
    assert f'account_up{{account_id="{PROD}",account="{PROD}"}} 0\n' in page


@pytest.mark.process
def test_without_a_configuration_the_account_of_the_credentials_is_read(aws: FakeAws) -> None:
    """Without a configuration the account of the credentials is read, and named by its ID."""
    environment = {**aws.environment(PROD), "AWS_ENDPOINT_URL": aws.url}

    with exporter(environment=environment) as running:
        running.wait_until_ready()
        page = running.get("/metrics")

    assert f'account_up{{account_id="{PROD}",account="{PROD}"}} 1\n' in page
    assert 'account="default"' not in page


@pytest.mark.process
def test_an_account_without_an_id_has_one_series(aws: FakeAws) -> None:
    """Missing credentials are a failed refresh. An account of unknown ID only has account_up."""
    with exporter(environment={"AWS_ENDPOINT_URL": aws.url}) as running:
        running.wait_until_ready()
        page, landing = running.get("/metrics"), running.get("/")

    about = [line for line in page.splitlines() if "account_id=" in line]
    assert about == ['aws_iam_exporter_account_up{account_id="",account="default"} 0']
    assert "credentials: " in landing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.process
def test_a_signal_stops_the_exporter_within_a_second(
    aws: FakeAws, tmp_path: Path, number: int
) -> None:
    """With hundreds of refreshes in flight or queued, a signal exits at once, with code 0."""
    ids = [f"{number:012}" for number in range(1, 501)]
    aws.fault(Fault(operation="AssumeRole", latency=30))
    flag, environment = setup(aws, tmp_path, *ids)

    with exporter(flag, environment=environment) as running:
        wait_until(lambda: aws.count("AssumeRole") >= 16, "refreshes are in flight")
        code, seconds = running.end(number)

    assert code == 0
    assert seconds < 5  # 1 s on an idle machine
    assert "Traceback" not in running.log


@pytest.mark.process
def test_a_signal_interrupts_the_rate_limiter(aws: FakeAws, tmp_path: Path) -> None:
    """A signal stops the exporter while a refresh waits for its rate limiter."""
    for number in range(50):
        aws.account(PROD).add_user(f"user{number}").add_key()
    flag, environment = setup(aws, tmp_path, PROD)
    file = Path(flag.partition("=")[2])
    file.write_text(file.read_text().replace("second: 500, burst: 500", "second: 2, burst: 1"))

    with exporter(flag, environment=environment) as running:
        # 50 more calls at 2 per second: nearly all of the time is spent waiting.
        wait_until(lambda: aws.count("ListUsers") >= 1, "the burst is spent")
        code, seconds = running.end()

    assert (code, seconds < 5) == (0, True)


@pytest.mark.process
def test_a_failing_account_keeps_its_keys(aws: FakeAws, tmp_path: Path) -> None:
    """When a role is deleted, its account is down with a reason, and its keys stay exported."""
    flag, environment = setup(aws, tmp_path, PROD, TEST)

    with exporter(flag, environment=environment) as running:
        running.wait_until_ready()
        aws.account(TEST).remove_role(ROLE)
        aws.revoke(TEST)
        wait_until(
            lambda: 'reason="assume_role"} 0' not in _of(TEST, running.get("/metrics")),
            "the failure is counted",
        )
        page = running.get("/metrics")

    assert f'account_up{{account_id="{TEST}",account="{TEST}"}} 0\n' in page
    assert f'account_up{{account_id="{PROD}",account="{PROD}"}} 1\n' in page
    assert 'access_key_active{account_id="222222222222"' in page


def _of(account: str, page: str) -> str:
    return "".join(line + "\n" for line in page.splitlines() if account in line)


@pytest.mark.process
def test_key_ids_are_masked_everywhere(aws: FakeAws, tmp_path: Path) -> None:
    """No full key ID is in the metrics, on the landing page or in the log."""
    keys = list(aws.account(PROD).keys)
    aws.fault(
        Fault(
            operation="GetAccessKeyLastUsed",
            code="AccessDenied",
            message=f"no: access key {keys[0].id}",
        )
    )
    flag, environment = setup(aws, tmp_path, PROD, extra="labels: {access_key_id: masked}\n")

    with exporter(flag, "--log.level=debug", environment=environment) as running:
        running.wait_until_ready()
        shown = running.get("/metrics") + running.get("/") + running.log

    assert "access key AKIA****" in running.log
    assert [key.id for key in keys if key.id in shown] == []


@pytest.mark.process
def test_key_ids_in_names_are_masked_everywhere(aws: FakeAws, tmp_path: Path) -> None:
    """Key IDs within user names, paths and account names are formatted too, whatever their case."""
    hidden = ["AKIAQQQQQQQQQQQQSAME", "akiazzzzzzzzzzzzsame", "AkIaPpPpPpPpPpPpPpPp"]
    for name in hidden[:2]:
        aws.account(PROD).add_user(f"ci-{name}", path=f"/{hidden[2]}/").add_key().use()
    aws.fault(Fault(operation="AssumeRole", code="AccessDenied", message=hidden[2], account=TEST))
    flag, environment = setup(aws, tmp_path, PROD, TEST, extra="labels: {access_key_id: masked}\n")

    with exporter(flag, "--log.level=debug", environment=environment) as running:
        running.wait_until_ready()
        page = running.get("/metrics")
        shown = (page + running.get("/") + running.log).upper()

    assert [name for name in hidden if name.upper() in shown] == []
    users = set(re.findall(r'access_key_active\{.*?user="(ci-[^"]+)"', page))
    assert len(users) == 2
    assert 'path="/AKIA****PPPP/"' in page


@pytest.mark.process
def test_passwords_in_urls_are_not_logged(aws: FakeAws, tmp_path: Path) -> None:
    """The password of an endpoint that cannot be reached is neither logged nor on any page."""
    file = tmp_path / "config.yaml"
    url = f"http://me:hu-sh@127.0.0.1:{free_port()}"
    file.write_text(f"aws: {{endpoint_urls: {{iam: '{url}', sts: '{url}'}}}}")

    with exporter(
        f"--config.file={file}", "--log.level=debug", environment=aws.environment(PROD)
    ) as running:
        running.wait_until_ready()
        shown = running.get("/metrics") + running.get("/") + running.log

    assert "hu-sh" not in shown
    assert "refresh failed" in shown


@pytest.mark.process
def test_the_demo_has_no_warnings_about_its_configuration() -> None:
    """--demo warns of nothing in the configuration that it comes with."""
    with exporter("--demo") as running:
        running.wait_until_ready()

    assert "configuration warning" not in running.log


def test_the_demo_without_a_place_for_its_state_is_exit_code_1(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where there is no temporary directory, --demo says what to set."""
    with monkeypatch.context() as context:
        context.setattr(tempfile, "tempdir", str(tmp_path / "none"))
        result = call("--demo", "--web.listen-address=127.0.0.1:0")

    assert result.code == 1
    assert result.stderr.endswith(
        "cannot create a directory for the state: No such file or directory; set --state.path\n"
    )


@pytest.mark.process
def test_the_demo_deletes_its_state(tmp_path: Path) -> None:
    """The state of a demo is in a temporary directory, or at --state.path, where it stays."""
    kept = tmp_path / "kept.db"
    environment = {"TMPDIR": str(tmp_path), "STATE_DIRECTORY": str(tmp_path / "systemd")}

    with exporter("--demo", environment=environment) as running:
        running.wait_until_ready()
        during = list(tmp_path.glob("aws-iam-key-exporter-*/state.db"))
        running.end()
    after = list(tmp_path.iterdir())
    with exporter("--demo", f"--state.path={kept}", environment=environment) as running:
        running.wait_until_ready()

    assert (len(during), after, kept.exists()) == (1, [], True)


@pytest.mark.parametrize(("format_", "begins"), [("json", '{"'), ("logfmt", "time=")])
@pytest.mark.process
def test_log_formats(aws: FakeAws, format_: str, begins: str) -> None:
    """Every line of the log has the configured format."""
    environment = {**aws.environment(PROD), "AWS_ENDPOINT_URL": aws.url}

    running = Exporter(f"--log.format={format_}", environment=environment)
    wait_until(lambda: len(running.lines) > 2, "several lines are logged")
    running.end()
    assert running.process.stderr is not None
    running.process.stderr.close()

    assert [line for line in running.lines if not line.startswith(begins)] == []
