"""The flags that share the accounts among several processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from exporter.cli.flags import Flags, parse_flags
from exporter.sharding import Shard
from tests.builders import PROD
from tests.builders import ROLE as ROLE_NAME
from tests.fake_aws import FakeAws
from tests.servers import exporter
from tests.test_cli import setup


def shard(*argv: str, **environment: str) -> Shard:
    parsed: Flags = parse_flags(argv, environment)
    return parsed.shard


def test_one_process_is_the_default() -> None:
    """Without flags, a process reads every account, whatever the name of its pod."""
    assert shard() == shard(POD_NAME="exporter-5") == Shard(0, 1)


def test_the_ordinal_is_given() -> None:
    """Ordinal and number of processes are set by flags or their environment variables."""
    variables = {"AWS_IAM_KEY_EXPORTER_SHARD": "2", "AWS_IAM_KEY_EXPORTER_TOTAL_SHARDS": "3"}

    assert shard("--shard=2", "--total-shards=3") == shard(**variables) == Shard(2, 3)
    assert shard("serve", "--shard=2", "--total-shards=3", POD_NAME="exporter-0") == Shard(2, 3)


def test_the_ordinal_is_that_of_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --shard, the ordinal is at the end of the pod's name, which is also its host name."""
    monkeypatch.setattr(socket, "gethostname", lambda: "exporter-2")

    assert shard("--total-shards=3", POD_NAME="exporter-1") == Shard(1, 3)
    assert shard("--total-shards=3", KUBERNETES_SERVICE_HOST="10.0.0.1") == Shard(2, 3)


@pytest.mark.parametrize(
    ("argv", "environment", "error"),
    [
        (["--shard=0"], {}, "--shard requires --total-shards: how many processes share"),
        (["--shard=3", "--total-shards=3"], {}, "--shard must be from 0 to 2: --total-shards is 3"),
        (["--shard=-1", "--total-shards=3"], {}, "--shard must be from 0 to 2"),
        (["--total-shards=0"], {}, "--total-shards must be at least 1"),
        (
            ["--total-shards=2"],
            {},  # the name of a host such as ip-10-0-0-1 ends with a number, too
            "--total-shards requires --shard, except in a StatefulSet of Kubernetes",
        ),
        (
            ["--total-shards=2"],
            {"POD_NAME": "x-2"},
            "the ordinal of pod x-2 must be from 0 to 1: --total-shards is 2",
        ),
        (
            ["--total-shards=2"],
            {"POD_NAME": "exporter-5d8f7b9c6-x2x4z"},
            (
                "--total-shards requires --shard: the name of the pod (the environment variable"
                " POD_NAME, or the host name) does not end with its ordinal, but is"
                " 'exporter-5d8f7b9c6-x2x4z'"
            ),
        ),
        (
            ["--total-shards=2"],
            {"AWS_IAM_KEY_EXPORTER_SHARD": "2"},
            "environment variable AWS_IAM_KEY_EXPORTER_SHARD must be from 0 to 1",
        ),
    ],
)
def test_what_names_no_shard(
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    environment: dict[str, str],
    error: str,
) -> None:
    """A shard that does not exist, or is not known, is an error."""
    with pytest.raises(SystemExit) as caught:
        shard(*argv, **environment)

    assert caught.value.code == 2
    assert error in capsys.readouterr().err


ROLE = "arn:aws:iam::111111111111:role/x"


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        (f"accounts: [{{role_arn: '{ROLE}'}}, {{account_id: '222222222222', profile: a}}]", 0, ""),
        ("organization: {role_name: x}", 0, ""),
        ("{}", 2, "--total-shards=2 requires accounts or an organization in the configuration"),
        (
            f"accounts: [{{role_arn: '{ROLE}'}}, {{profile: a, name: b}}]",
            2,
            (
                "--total-shards=2 requires the ID of each account, which decides which process"
                " reads it: set account_id or role_arn of accounts[1] (b)"
            ),
        ),
    ],
    ids=["ids", "organization", "none", "no-id"],
)
def test_shards_need_the_ids_of_accounts(tmp_path: Path, text: str, code: int, error: str) -> None:
    """A process that reads a part of the accounts has to know the ID of each before it starts."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    flags = [f"--config.file={file}", "--config.check", "--shard=0", "--total-shards=2"]

    result = subprocess.run(
        [sys.executable, "-m", "exporter", *flags],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == code, result.stderr
    assert error in result.stderr


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        fake.account(PROD).role(ROLE_NAME)
        yield fake


@pytest.mark.process
def test_a_reload_needs_the_ids_of_accounts(aws: FakeAws, tmp_path: Path) -> None:
    """While accounts are shared, a file with an account whose ID is unknown changes nothing."""
    flag, variables = setup(aws, tmp_path, PROD)
    flags = (flag, "--shard=0", "--total-shards=2", "--web.enable-lifecycle")

    with exporter(*flags, environment=variables) as running:
        request = Request(f"http://{running.address}/-/reload", method="POST")
        Path(flag.partition("=")[2]).write_text("{}")
        with pytest.raises(HTTPError) as caught:
            urlopen(request)

    assert caught.value.code == 500
    assert "--total-shards=2 requires accounts or an organization" in caught.value.read().decode()
