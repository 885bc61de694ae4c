"""serve --once: the metrics as a file, for node_exporter's textfile collector and cron."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.cli.main import main
from exporter.cli.redaction import Redactor
from exporter.cli.textfile import CannotWrite, write_once
from exporter.config import Config, parse
from exporter.key_ids import KeyIdFormatter
from exporter.sharding import Shard
from tests.builders import environment
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.fleet import MONITORING, ROLE, fill
from tests.servers import find

ONE, TWO = "100000000001", "100000000002"
KEYS = 3


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        fill(fake, accounts=2, keys=KEYS)
        with environment(fake.environment(MONITORING)):
            yield fake


ORGANIZATION = f"""
collection: {{requests_per_second: 500, burst: 500}}
organization: {{role_name: {ROLE}, exclude: {{accounts: ["{MONITORING}"]}}}}
"""


def config(more: str = "") -> Config:
    return parse(ORGANIZATION + more, "config.yaml")


def write(path: Path, configuration: Config | None = None) -> bool:
    return write_once(configuration or config(), path, Redactor(KeyIdFormatter(), []), Shard())


def test_every_account_is_written(aws: FakeAws, tmp_path: Path) -> None:
    """Each account, here of an organization, is refreshed once and is in the file."""
    file = tmp_path / "iam.prom"

    assert write(file)
    text = file.read_text()
    assert text.count("\naws_iam_access_key_active{") == 2 * KEYS
    assert len(re.findall(r"^aws_iam_exporter_account_up\{.*\} 1$", text, re.MULTILINE)) == 2
    assert (aws.count("ListUsers", ONE), aws.count("ListUsers", TWO)) == (1, 1)


def test_the_file_is_for_node_exporter(aws: FakeAws, tmp_path: Path) -> None:
    """It can be parsed, has no timestamps, and no metrics that node_exporter has itself."""
    file = tmp_path / "iam.prom"
    write(file)
    families = list(text_string_to_metric_families(file.read_text()))
    names = {family.name for family in families}

    assert [s for family in families for s in family.samples if s.timestamp is not None] == []
    assert {name for name in names if name.startswith(("process_", "python_", "go_"))} == set()
    assert {name for name in names if not name.startswith("aws_iam_")} == set()


def test_everybody_may_read_the_file(aws: FakeAws, tmp_path: Path) -> None:
    """Its mode is 0644, whatever the umask and the mode of the file that it replaces."""
    file = tmp_path / "iam.prom"
    file.write_text("old")
    file.chmod(0o600)
    before = os.umask(0o077)
    try:
        write(file)
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_the_file_is_replaced_at_once(aws: FakeAws, tmp_path: Path) -> None:
    """Whoever has opened the old file still reads it, and nothing else is left behind."""
    file = tmp_path / "iam.prom"
    file.write_text("old")
    with file.open() as old:
        write(file)
        assert old.read() == "old"

    assert file.read_text() != "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link(aws: FakeAws, tmp_path: Path) -> None:
    """A symbolic link is not replaced, but the file that it leads to."""
    (tmp_path / "files").mkdir()
    link, file = tmp_path / "aws.prom", tmp_path / "files" / "aws.prom"
    link.symlink_to(file)

    write(link)

    assert link.is_symlink()
    assert list(file.parent.iterdir()) == [file]
    assert "aws_iam_exporter_account_up{" in file.read_text()


def test_a_failed_account_is_written_too(aws: FakeAws, tmp_path: Path) -> None:
    """If an account cannot be read, the file says so, and the exit code is 1."""
    aws.fault(Fault(operation="ListUsers", account=TWO, code="AccessDenied"))
    file = tmp_path / "iam.prom"

    assert not write(file)
    up = dict(re.findall(r'account_up\{account_id="(\d+)".*\} (\d)\n', file.read_text()))
    assert up == {ONE: "1", TWO: "0"}


def test_a_failed_discovery_is_a_failure(aws: FakeAws, tmp_path: Path) -> None:
    """If the accounts cannot be listed, the file says so, and the exit code is 1."""
    aws.fault(Fault(operation="ListAccounts", code="AccessDenied"))
    file = tmp_path / "iam.prom"

    assert not write(file)
    assert "\naws_iam_exporter_discovery_up 0.0\n" in file.read_text()


def test_what_is_stored_is_used_and_stored(aws: FakeAws, tmp_path: Path) -> None:
    """From one run to the next, what changed is noticed, and a failed account keeps its keys."""
    state = config(f"state: {{path: {tmp_path}/state.db}}\n")
    file = tmp_path / "iam.prom"
    write(file, state)
    user = next(iter(aws.account(ONE).users.values()))
    user.add_key()
    write(file, state)
    aws.fault(Fault(operation="ListUsers", account=ONE, code="AccessDenied"))
    write(file, state)

    assert file.read_text().count("\naws_iam_access_key_active{") == 2 * KEYS + 1
    assert aws.count("ListUsers", TWO) == 3


@pytest.mark.parametrize("name", ["missing/iam.prom", ".", "socket"])
def test_a_file_that_cannot_be_written(name: str, aws: FakeAws, tmp_path: Path) -> None:
    """That is an error in one sentence, before anything is read."""
    os.mkfifo(tmp_path / "socket")

    with pytest.raises(CannotWrite, match=r"cannot write .*: (No such file|not a regular file)"):
        write(tmp_path / name)
    assert aws.count() == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--once"], "--once requires --output"),
        (["--output=x"], "--output requires --once"),
        (["--once", "--output=x", "--demo"], "--once cannot be combined with --demo"),
    ],
)
def test_flags_that_do_not_go_together(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong combinations of flags are refused in one sentence."""
    with pytest.raises(SystemExit) as ended:
        main(["serve", *flags])

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.process
def test_the_program_runs_once(aws: FakeAws, tmp_path: Path) -> None:
    """As cron runs it: it writes a file that promtool accepts, listens nowhere, and ends."""
    configuration, file = tmp_path / "config.yaml", tmp_path / "iam.prom"
    configuration.write_text(ORGANIZATION)
    flags = [f"--config.file={configuration}", "--once", f"--output={file}"]
    command = [sys.executable, "-m", "exporter", "serve", *flags]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    with file.open() as text:
        checked = subprocess.run(
            [find("promtool"), "check", "metrics"], check=False, stdin=text, capture_output=True
        )

    assert result.returncode == 0
    assert "listening" not in result.stderr
    assert 'msg="metrics written"' in result.stderr
    assert checked.returncode == 0, checked.stderr
