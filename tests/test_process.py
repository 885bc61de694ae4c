"""The process and its surroundings: signals, streams that are closed, full or not read."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fake_aws import FakeAws
from tests.servers import exporter, free_port, get, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.process]

PROD = "111111111111"
RELOADED = 'msg="configuration reloaded"'
COMMAND = [sys.executable, "-m", "exporter"]
ROOT = Path(__file__).parent.parent


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        fake.account(PROD).add_user("alice").add_key().use()
        yield fake


def environment(aws: FakeAws) -> dict[str, str]:
    return {**os.environ, **aws.environment(PROD), "AWS_ENDPOINT_URL": aws.url}


def shell(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run *command*, in which ``exporter`` is the program, in a shell."""
    program = f'exporter() {{ {sys.executable} -m exporter "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", program + command],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **variables},
    )


# -- logging -----------------------------------------------------------------------------------


@contextmanager
def full_pipe() -> Iterator[int]:
    """The end to write to of a pipe that is full, and that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_log_that_nobody_reads_blocks_nothing(
    aws: FakeAws, tmp_path: Path, blocking: bool
) -> None:
    """With a full pipe as stderr, probes answer, accounts are refreshed, and SIGTERM ends it."""
    address = f"127.0.0.1:{free_port()}"
    file = tmp_path / "config.yaml"
    file.write_text("collection: {interval: 0.1s, requests_per_second: 500, burst: 500}")
    flags = [f"--config.file={file}", "--log.level=debug", f"--web.listen-address={address}"]
    with full_pipe() as pipe:
        os.set_blocking(pipe, blocking)
        process = subprocess.Popen([*COMMAND, *flags], stderr=pipe, env=environment(aws))
        try:
            wait_until(lambda: get(f"http://{address}/-/ready"), "the first refresh")
            before = aws.count("ListUsers")
            wait_until(lambda: aws.count("ListUsers") > before + 5, "the account is refreshed")
            for _ in range(50):  # each is a line at debug
                assert get(f"http://{address}/-/healthy", timeout=1) == "Healthy\n"
            began = time.monotonic()
            process.terminate()
            code = process.wait(20)
        finally:
            process.kill()

    assert code == 0
    assert time.monotonic() - began < 5  # 1 s on an idle machine


def test_dropped_messages_are_counted(aws: FakeAws) -> None:
    """Messages that cannot be written, because the disk is full, are counted."""
    address = f"127.0.0.1:{free_port()}"
    with Path("/dev/full").open("wb") as full:
        process = subprocess.Popen(
            [*COMMAND, f"--web.listen-address={address}"], stderr=full, env=environment(aws)
        )
        try:
            wait_until(lambda: get(f"http://{address}/-/ready"), "the first refresh")
            page = get(f"http://{address}/metrics")
            process.terminate()
            code = process.wait(20)
        finally:
            process.kill()

    dropped = re.search(r"^aws_iam_exporter_log_messages_dropped_total (\S+)", page, re.MULTILINE)
    assert dropped is not None
    assert float(dropped.group(1)) >= 3
    assert code == 0


def test_a_crash_is_logged(tmp_path: Path) -> None:
    """A program that cannot go on, for example for want of threads, says so, and ends with 1."""
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\n"
        "start = threading.Thread.start\n"
        "def limited(self):\n"
        "    if self.name.startswith('aws_'): raise RuntimeError('no more threads')\n"
        "    start(self)\n"
        "threading.Thread.start = limited\n"
    )

    result = shell("exporter --web.listen-address=127.0.0.1:0", PYTHONPATH=str(tmp_path))

    assert result.returncode == 1
    assert "msg=crashed" in result.stderr.splitlines()[-1]
    assert "no more threads" in result.stderr.splitlines()[-1]


# -- signals -----------------------------------------------------------------------------------


def end_after(seconds: float, environment: dict[str, str]) -> tuple[int, str]:
    """Start the exporter and send SIGTERM after some seconds; its exit status and its log."""
    process = subprocess.Popen(
        [*COMMAND, "--web.listen-address=127.0.0.1:0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
    log = process.communicate(timeout=20)[1]
    return process.returncode, log


def test_sigterm_at_any_moment_ends_the_process(aws: FakeAws) -> None:
    """From its start on, SIGTERM ends the process with exit code 0 or the signal's own status."""
    rng = random.Random(9)
    moments = [0.01, *(rng.uniform(0, 2) for _ in range(23))]
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(lambda moment: end_after(moment, environment(aws)), moments))

    assert {code for code, _ in ends} <= {0, -signal.SIGTERM}
    assert [log for _, log in ends if "Traceback" in log or "Error" in log] == []


def test_sigterm_ends_a_process_that_looks_up_a_name() -> None:
    """SIGTERM ends the process while it is busy outside of Python, before it listens."""
    command = "import signal, exporter.__main__ as m; m.reset_signals(); import time; time.sleep"
    process = subprocess.Popen([sys.executable, "-c", f"{command}(30)"])
    wait_until(lambda: _ignores(process.pid, signal.SIGHUP), "the signals are set")

    process.terminate()

    assert process.wait(5) == -signal.SIGTERM


def _ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = re.search(r"SigIgn:\s+(\w+)", status)
    assert ignored is not None
    return bool(int(ignored.group(1), 16) >> (number - 1) & 1)


def test_sighup_reloads(aws: FakeAws) -> None:
    """SIGHUP reloads the configuration, also if there is no file: each is one line of the log."""
    with exporter(environment=environment(aws)) as running:
        running.wait_until_ready()
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: RELOADED in running.log, "the configuration is reloaded")
        healthy = running.get("/-/healthy")
        code, _ = running.end()

    assert healthy == "Healthy\n"
    assert running.log.count(RELOADED) == 1
    assert code == 0


def test_sighup_during_the_start_is_ignored(aws: FakeAws) -> None:
    """SIGHUP before the exporter listens does not end it."""
    with exporter(environment=environment(aws)) as running:
        wait_until(lambda: _ignores(running.process.pid, signal.SIGHUP), "the program begins")
        running.process.send_signal(signal.SIGHUP)
        running.wait_until_ready()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_many_signals_end_the_exporter_once(aws: FakeAws, number: int) -> None:
    """Further signals while the exporter stops change nothing: no traceback, exit code 0."""
    with exporter(environment=environment(aws)) as running:
        running.wait_until_ready()
        for _ in range(100):
            running.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(0.005)
        running.process.wait(20)
        running._reader.join(5)

    assert running.process.returncode == 0
    assert "Traceback" not in running.log


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(aws: FakeAws, closed: str) -> None:
    """With standard input, output or error closed, the exporter serves, and writes nowhere else."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$0" "$@" {closed}', *COMMAND, f"--web.listen-address={address}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(aws),
    )
    try:
        wait_until(lambda: get(f"http://{address}/-/ready"), "the first refresh")
        page = get(f"http://{address}/metrics")
        streams = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        process.terminate()
        code = process.wait(20)
    finally:
        process.kill()

    assert f'account_up{{account_id="{PROD}",account="{PROD}"}} 1\n' in page
    assert set(streams) == {"/dev/null"}
    assert code == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("flags", "code"),
    [("--config.check", 0), ("--config.file=/none", 2), ("--x", 2), ("--help", 0)],
)
def test_closed_streams_do_not_change_the_exit_code(flags: str, code: int, closed: str) -> None:
    """What cannot be printed to a closed stream is not printed; the exit code is the same."""
    result = shell(f"exporter {flags} {closed}")

    assert (result.returncode, "Traceback" in result.stderr) == (code, False)


@pytest.mark.parametrize("flags", ["--config.check", "--help", "--version"])
def test_a_full_disk_is_exit_code_1(flags: str) -> None:
    """What cannot be written to standard output is a sentence and exit code 1."""
    result = shell(f"exporter {flags} > /dev/full")

    assert result.returncode == 1
    assert result.stderr == "cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("flags", ["--config.file=/none", "--nonsense"])
def test_an_error_that_cannot_be_printed_keeps_its_exit_code(flags: str) -> None:
    """With a full disk behind standard error, the exit code still says what is wrong."""
    assert shell(f"exporter {flags} 2> /dev/full").returncode == 2


def test_a_reader_that_stops_is_no_traceback() -> None:
    """--config.check into a pipe whose reader has gone ends without a message."""
    result = shell("exporter --config.check | true; echo ${PIPESTATUS[0]}")

    assert result.stderr == ""


def test_what_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    """A path that is not UTF-8 is shown with escapes, on standard output as in errors."""
    (tmp_path / os.fsdecode(b"\xff.yaml")).write_text("users:\n")
    flag = f"--config.file=$'{tmp_path}/\\xff.yaml'"

    valid = shell(f"exporter --config.check {flag}", LC_ALL="C")
    missing = shell(f"exporter {flag}x", LC_ALL="C")

    assert valid.stdout.startswith(f"# {tmp_path}/\\udcff.yaml is valid.")
    assert (valid.returncode, missing.returncode) == (0, 2)
    assert "cannot read file" in missing.stderr


def test_unbuffered_output_is_the_same() -> None:
    """As in the image, where Python writes without a buffer, a full disk is exit code 1."""
    result = shell("exporter --config.check > /dev/full", PYTHONUNBUFFERED="1")

    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
