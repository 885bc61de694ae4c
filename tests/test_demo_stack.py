"""The demo stack: everything at work, from a make-believe AWS to who is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import find, wait_until

SCRIPT = Path("deploy/demo_stack.py")


def test_without_prometheus_it_says_what_to_install() -> None:
    """Where a program is missing there is one sentence, and nothing is started."""
    run = subprocess.run(
        [sys.executable, SCRIPT],
        env={**os.environ, "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert run.stderr.startswith("prometheus is not installed: apt-get install prometheus")
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.timeout(200)
def test_people_are_told_and_one_interrupt_ends_all(tmp_path: Path) -> None:
    """What is wrong with the demo's keys is told within a minute or two; Ctrl-C ends everything."""
    find("prometheus")
    find("prometheus-alertmanager")
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, SCRIPT], stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        ) as stack,
    ):
        try:
            wait_until(
                lambda: "firing critical AwsIamRootAccessKeyPresent" in output.read_text(),
                "the root user's key is told of",
                150,
            )
        finally:
            os.killpg(stack.pid, signal.SIGINT)
            code = stack.wait(30)

    assert code == 0
    assert output.read_text().endswith("ended\n")
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.killpg(stack.pid, 0)
