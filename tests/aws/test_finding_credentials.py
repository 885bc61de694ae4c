"""Whatever keeps credentials from being found has the reason credentials, and says what it is."""

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.utils import generate_login_cache_key

from exporter.aws.base_credentials import BaseCredentials
from exporter.cli.problems import of_credentials
from exporter.cli.wiring import SystemClock
from exporter.model import ReadError, Reason
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.programs import Program
from tests.builders import PROD, FakeClock, add_key, an_account, environment, some_sessions
from tests.fake_aws import FakeAws, Fault

pytestmark = pytest.mark.process

SECRET = "wJalrXUtnFEMISENTINEL"  # noqa: S105 (no password)

KEYS = {"AccessKeyId": "AKIAEXAMPLEEXAMPLE12", "SecretAccessKey": SECRET}

TIMEOUT = 0.3
"""Seconds that a program may take."""


def answer(**fields: object) -> str:
    return f"printf %s '{json.dumps({'Version': 1, **KEYS, **fields})}'"


PROGRAMS = {
    "fails": (f"echo {SECRET} >&2; echo {SECRET}; exit 7", "exit code 7"),
    "is killed": ("kill -9 $$", "exit code -9"),
    "writes nothing": ("true", "no credentials in JSON"),
    "writes text": (f"echo {SECRET}", "no credentials in JSON"),
    "writes a list": (f"echo '[\"{SECRET}\"]'", "no credentials in JSON"),
    "writes null": ("echo null", "no credentials in JSON"),
    "writes bytes": ("printf '\\377\\376'", "no credentials in JSON"),
    "writes another version": (answer(Version=SECRET), "custom-process"),
    "writes half of it": (
        f'echo \'{{"Version": 1, "AccessKeyId": "{SECRET}\'',
        "no credentials in JSON",
    ),
    "lacks the secret": ('echo \'{"Version": 1, "AccessKeyId": "AKIA"}\'', "custom-process"),
    "writes null keys": (answer(AccessKeyId=None), "no credentials"),
    "writes numbers": (answer(SecretAccessKey=7), "no credentials"),
    "writes control characters": (answer(SessionToken=f"{SECRET}\n\r\u0000"), "no credentials"),
    "writes umlauts": (answer(SessionToken=f"{SECRET}ä"), "no credentials"),
    "writes a bad expiration": (answer(Expiration=SECRET), "Error"),
    "writes a number as expiration": (answer(Expiration=5), "Error"),
    "writes expired keys": (answer(Expiration="2001-01-01T00:00:00Z"), "ExpiredCredentials"),
    "writes year 10000": (answer(Expiration="10000-01-01T00:00:00Z"), "Error"),
    "hangs": ("sleep 60", "did not end within 0.3 s"),
    "hangs and ignores signals": ("trap '' TERM INT HUP; sleep 60; sleep 60", "did not end"),
    "leaves a child": ("sleep 60 & exit 0", "did not end within"),
    "closes its output": ("exec >&-; sleep 60", "did not end within"),
    "never stops writing": (f"while echo {SECRET * 40}; do :; done", "wrote more than"),
    "writes errors": (f"yes {SECRET} >&2 & sleep 60", "did not end within"),
    "asks": ("read answer; exit 3", "exit code 3"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program(
    aws: FakeAws,
    clock: FakeClock,
    monitor: Monitor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    program: str,
) -> None:
    """A credential_process that misbehaves: what it wrote is not repeated, and others go on."""
    script, text = PROGRAMS[program]
    sessions = some_sessions(aws.url, clock, process_timeout=TIMEOUT)
    with (
        environment(Program(tmp_path, aws, script).environment),
        caplog.at_level(logging.DEBUG, logger="exporter"),
    ):
        snapshot = monitor(sessions=sessions).refresh()

    assert snapshot.failure is Reason.CREDENTIALS
    assert text in snapshot.error
    assert SECRET not in repr(snapshot) + caplog.text


def test_a_program_that_does_not_exist(monitor: Monitor, tmp_path: Path) -> None:
    """A credential_process that cannot be started says why."""
    snapshot = refresh_with(monitor, tmp_path, "[default]\ncredential_process = /nonexistent\n")

    assert "cannot be started: No such file or directory" in snapshot


def test_a_program_of_a_source_profile(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, tmp_path: Path
) -> None:
    """The limits hold as well for the credential_process of a profile whose role is assumed."""
    config = tmp_path / "config"
    config.write_text(
        f"[default]\nsource_profile = a\n{ROLE}[profile a]\ncredential_process = sleep 60\n"
    )
    sessions = some_sessions(aws.url, clock, process_timeout=TIMEOUT)
    with environment({"AWS_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true"}):
        snapshot = monitor(sessions=sessions).refresh()

    assert snapshot.failure is Reason.CREDENTIALS
    assert "did not end within" in snapshot.error


def test_a_program_is_run_once(
    aws: FakeAws, prod: fake_aws.Account, clock: FakeClock, monitor: Monitor, tmp_path: Path
) -> None:
    """A credential_process is run once for many requests, refreshes and accounts."""
    for number in range(10):
        add_key(prod, f"user-{number}")
    program = Program(tmp_path, aws)
    program.belong_to(PROD)
    with environment(program.environment):
        account = monitor()
        for _ in range(4):
            assert account.refresh().up
            clock.advance(minutes=1)

    # Twice at first: botocore renews at once what expires within minutes.
    assert program.runs <= 2


def test_a_program_without_an_expiration(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, tmp_path: Path
) -> None:
    """Credentials that do not expire are looked up again after an hour."""
    program = Program(tmp_path, aws)
    program.belong_to(PROD, seconds=None)
    with environment(program.environment):
        account = monitor()
        for _ in range(9):  # two hours
            assert account.refresh().up
            clock.advance(minutes=15)

    assert program.runs == 3


def refresh_with(monitor: Monitor, folder: Path, config: str | bytes, profile: str = "") -> str:
    """The error of a refresh with this ~/.aws/config; its reason is credentials."""
    file = folder / "config"
    file.write_bytes(config.encode() if isinstance(config, str) else config)
    with environment({"AWS_CONFIG_FILE": str(file), "AWS_EC2_METADATA_DISABLED": "true"}):
        snapshot = monitor(an_account(profile=profile or None)).refresh()
    assert snapshot.failure is Reason.CREDENTIALS
    return snapshot.error


ROLE = "role_arn = arn:aws:iam::111111111111:role/x\n"

STATIC = f"aws_access_key_id = AKIAEXAMPLEEXAMPLE12\naws_secret_access_key = {SECRET}\n"

LOOP = "".join(
    f"[{name}]\nsource_profile = {source}\n{ROLE}"
    for name, source in {"default": "a", "profile a": "b", "profile b": "a"}.items()
)

MFA = (
    f"[default]\nsource_profile = a\nmfa_serial = arn:aws:iam::1:mfa/x\n{ROLE}[profile a]\n{STATIC}"
)

SSO = "sso_region = us-east-1\nsso_account_id = 1\nsso_role_name = x\n"

CONFIGS: dict[str, tuple[str | bytes, str]] = {
    "syntax": ("[default\nx", "config"),
    "not text": (b"[default]\nx = \xff\xfe\n", "config"),
    "no section": ("region = us-east-1\n", "config"),
    "partial": ("[default]\naws_access_key_id = AKIAEXAMPLEEXAMPLE12\n", "Partial credentials"),
    "loop": (LOOP, "Infinite loop"),
    "no source": (f"[default]\nsource_profile = a\n{ROLE}", "a"),
    "two sources": (f"[default]\nsource_profile = a\ncredential_source = x\n{ROLE}", "source"),
    "MFA": (MFA, "MFA"),
    "no token file": (f"[default]\nweb_identity_token_file = /no/token\n{ROLE}", "/no/token"),
    "no SSO session": (f"[default]\nsso_session = nowhere\n{SSO}", "nowhere"),
    "SSO without login": (f"[default]\nsso_start_url = https://x\n{SSO}", "SSO"),
    "nothing": ("[default]\nregion = us-east-1\n", "there are none in the environment"),
    "control characters": (f"[default]\n{STATIC}aws_session_token = a\x01\n", "no credentials"),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_a_configuration(
    monitor: Monitor, tmp_path: Path, caplog: pytest.LogCaptureFixture, config: str
) -> None:
    """A broken AWS configuration is explained, without its secrets."""
    content, text = CONFIGS[config]
    with caplog.at_level(logging.DEBUG, logger="exporter"):
        error = refresh_with(monitor, tmp_path, content)

    assert text in error
    assert SECRET not in error + caplog.text


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ("producton", "there is no profile 'producton'; did you mean 'production'?"),
        ("xyz", "there is no profile 'xyz'; there are: production, staging"),
    ],
)
def test_a_profile_that_does_not_exist(
    monitor: Monitor, tmp_path: Path, profile: str, text: str
) -> None:
    """For a profile that does not exist a similar one is proposed, or all are listed."""
    config = f"[profile production]\n{STATIC}[profile staging]\n{STATIC}"

    assert text in refresh_with(monitor, tmp_path, config, profile)


@pytest.fixture
def _not_root() -> Iterator[None]:
    """Make files unreadable for their mode, which they are not for root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("_not_root")
@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_an_unreadable_file(monitor: Monitor, variable: str) -> None:
    """A file of AWS's that cannot be read is named, though botocore takes it for empty."""
    path = "/proc/1/environ"  # belongs to root, whoever runs this
    with environment({variable: path, "AWS_EC2_METADATA_DISABLED": "true"}):
        snapshot = monitor().refresh()

    assert snapshot.failure is Reason.CREDENTIALS
    assert f"cannot read {path}: Permission denied" in snapshot.error


WEB_ERRORS: dict[str, tuple[dict[str, Any], Reason]] = {
    "denied": ({"code": "AccessDenied"}, Reason.CREDENTIALS),
    "expired": ({"code": "ExpiredTokenException"}, Reason.CREDENTIALS),
    "invalid": ({"code": "InvalidIdentityToken"}, Reason.CREDENTIALS),
    "truncated": ({"body": f"<A><SecretAccessKey>{SECRET}</Secret"}, Reason.MALFORMED),
    "HTML": ({"body": f"<html>{SECRET}</html>"}, Reason.MALFORMED),
    "reset": ({"reset": True}, Reason.NETWORK),
}


@pytest.mark.parametrize("error", WEB_ERRORS)
def test_a_web_identity(
    aws: FakeAws,
    monitor: Monitor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    error: str,
) -> None:
    """A web identity that is refused, or refused by nobody knows whom, is not unexpected."""
    fault, reason = WEB_ERRORS[error]
    aws.fault(Fault(operation="AssumeRoleWithWebIdentity", **fault))
    token = tmp_path / "token"
    token.write_text("token")
    variables = {
        "AWS_ROLE_ARN": f"arn:aws:iam::{PROD}:role/x",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with environment(variables), caplog.at_level(logging.DEBUG, logger="exporter"):
        snapshot = monitor().refresh()

    assert snapshot.failure is reason
    assert SECRET not in repr(snapshot) + caplog.text


@pytest.fixture
def login(tmp_path: Path) -> Iterator[None]:
    """A profile with a session of aws login, whose credentials are cached."""
    session = f"arn:aws:iam::{PROD}:user/alice"
    (tmp_path / "config").write_text(f"[default]\nlogin_session = {session}\n")
    token = {
        "accessToken": {
            "accessKeyId": "ASIAOFALOGINSESSION1",
            "secretAccessKey": SECRET,
            "sessionToken": "token",
            "accountId": PROD,
            "expiresAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        },
        "refreshToken": "-",
        "dpopKey": "-",
        "clientId": "-",
    }
    (tmp_path / f"{generate_login_cache_key(session)}.json").write_text(json.dumps(token))
    variables = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_LOGIN_CACHE_DIRECTORY": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with environment(variables):
        yield


def test_aws_login(login: None) -> None:
    """The credentials that aws login has cached are used."""
    pytest.importorskip("awscrt")

    found, _ = BaseCredentials(None, None, SystemClock()).get(an_account())

    assert found.credentials.access_key == "ASIAOFALOGINSESSION1"


def test_aws_login_without_what_it_requires(login: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra "login" the credentials are missing, for a reason that has a cure."""
    monkeypatch.setattr("botocore.credentials.EC", None)

    with pytest.raises(ReadError) as raised:
        BaseCredentials(None, None, SystemClock()).get(an_account())

    assert raised.value.reason is Reason.CREDENTIALS
    [cure] = of_credentials(an_account(), raised.value).cures
    assert "pip install 'aws-iam-key-exporter[login]'" in cure.text
