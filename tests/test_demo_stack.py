"""The demo stack: the whole path from a simulated AWS to a notification."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.servers import find, get, wait_until

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


@pytest.mark.timeout(600)
def test_an_awakened_key_and_a_restart(tmp_path: Path) -> None:
    """
    An awakened key is logged, an event, a sample and an alert, each once.

    When the exporter is killed before and after that, nothing is reported twice, and no alert
    resolves. One interrupt stops everything.
    """
    find("prometheus")
    find("prometheus-alertmanager")
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(
            [sys.executable, SCRIPT, "--wake-up=60"],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            stack = Stack(process.pid, output)
            wait_until(lambda: "Press Ctrl-C" in stack.output, "everything is started", 90)
            stack.wait_for_alert("AwsIamRootAccessKeyPresent", "small")
            stack.kill_exporter()
            stack.wait_for_alert("AwsIamAccessKeyAwakened", "pipelines")
            before = stack.alerts()
            stack.kill_exporter()
            stack.wait_for_evaluations()
            after = stack.alerts()
            events, log = stack.events(), stack.log
            page = get(f"http://{stack.address('exporter')}/metrics")
        finally:
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(30)

    assert [event["event"] for event in events if event["user"] == "backup-2019"] == ["awakened"]
    assert log.count('msg="access key awakened"') == 1
    assert 'used_after_idle_seconds{account_id="222222222222"' in page
    assert before.items() <= after.items()
    assert "firing critical AwsIamRootAccessKeyPresent" in stack.output
    assert "resolved" not in stack.output
    assert code == 0
    assert stack.output.endswith("stopped\n")
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


class Stack:
    """A running demo stack, which prints to the file *output*."""

    def __init__(self, pid: int, output: Path) -> None:
        self._pid = pid
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def log(self) -> str:
        """The log of the exporter, from its first start on."""
        (path,) = re.findall(r"its log +(.*)", self.output)
        return Path(path).read_text()

    def address(self, program: str) -> str:
        (address,) = re.findall(rf"{program} +http://([\d.:]+)/", self.output)
        return str(address)

    def alerts(self) -> dict[str, str]:
        """The alerts of Alertmanager: since when each fires, by its labels."""
        answer = json.loads(get(f"http://{self.address('Alertmanager')}/api/v2/alerts"))
        return {json.dumps(alert["labels"]): alert["startsAt"] for alert in answer}

    def wait_for_alert(self, name: str, account: str) -> None:
        labels = (f'"alertname": "{name}"', f'"account": "{account}"')
        wait_until(
            lambda: any(all(label in alert for label in labels) for alert in self.alerts()),
            f"{name} of {account} fires",
            180,
        )

    def kill_exporter(self) -> None:
        """Kill the exporter, and wait until it is ready again."""
        (pid,) = (pid for pid in self._children() if "exporter" in _command(pid))
        os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: (
                pid not in self._children() and get(f"http://{self.address('exporter')}/-/ready")
            ),
            "the exporter is started again",
            60,
        )

    def wait_for_evaluations(self) -> None:
        """Wait until the rules were evaluated several times on what is scraped now."""
        now = time.time()
        url = f"http://{self.address('Prometheus')}/api/v1/rules"

        def evaluated() -> bool:
            groups = json.loads(get(url))["data"]["groups"]
            latest = [datetime.fromisoformat(group["lastEvaluation"]) for group in groups]
            return min(latest).timestamp() > now + 20

        wait_until(evaluated, "the rules are evaluated", 60)

    def events(self) -> list[dict[str, str]]:
        (flags,) = re.findall(r"aws-iam-key-exporter (events --state.path=.*)", self.output)
        command = [sys.executable, "-m", "exporter", *flags.split(), "--output=json"]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        return list(json.loads(run.stdout))

    def _children(self) -> list[int]:
        tasks = Path(f"/proc/{self._pid}/task").glob("*/children")
        return [int(pid) for children in tasks for pid in children.read_text().split()]


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
