"""The demo stack: the whole path from a simulated AWS to a notification."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import find, wait_until

SCRIPT = Path(__file__).resolve().parents[1] / "deploy" / "demo_stack.py"

pytestmark = pytest.mark.slow


def test_without_prometheus_it_says_what_to_install() -> None:
    """If a program is missing, the script prints one line and starts nothing."""
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
def test_notifications_arrive_and_one_interrupt_stops_everything(tmp_path: Path) -> None:
    """The demo's findings are printed within a minute or two; Ctrl-C stops everything."""
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
                "the finding about the root user's key",
                150,
            )
        finally:
            os.killpg(stack.pid, signal.SIGINT)
            code = stack.wait(30)

    assert code == 0
    assert output.read_text().endswith("stopped\n")
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.killpg(stack.pid, 0)
