"""
The whole path of an alert: AWS, the exporter, Prometheus, Alertmanager, and a webhook.

All programs except AWS are real. Rules and routes are the shipped ones, except that `for:`,
`group_wait` and `group_interval` are a few seconds. Thresholds are as shipped.
"""

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fake_aws import FakeAws
from tests.rules.files import FILES, PROMETHEUS
from tests.servers import Release, exporter, find, free_port, get, prometheus, wait_until

# Starts real servers, and waits until nothing more can arrive.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MONITORING, PROD, LAB = "999999999999", "111111111111", "222222222222"
ROLE = "aws-iam-key-exporter"

EXPORTER = f"""
collection: {{interval: 3s, requests_per_second: 100, burst: 100, credential_report: "off"}}
accounts:
  - {{name: prod, role_arn: "arn:aws:iam::{PROD}:role/{ROLE}"}}
  - {{name: lab, role_arn: "arn:aws:iam::{LAB}:role/{ROLE}"}}
"""

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}/*.yaml"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: aws-iam-key-exporter
    static_configs: [{{targets: ["{exporter}"]}}]
"""

Notification = dict[str, Any]


@contextmanager
def webhook() -> Iterator[tuple[str, list[Notification]]]:
    """Receive notifications; yield the address, and a list of those received."""
    received: list[Notification] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


@contextmanager
def alertmanager(
    folder: Path, receiver: str, release: Release, routes: str = "alertmanager.yml", mail: str = ""
) -> Iterator[str]:
    """
    Run Alertmanager with shipped *routes*, and yield its address.

    Args:
        receiver: The address of all webhooks.
        mail: The address of the mail server.
    """
    text = (PROMETHEUS / routes).read_text(encoding="utf-8").replace("127.0.0.1:25\n", f"{mail}\n")
    text = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", text)
    file = folder / "alertmanager.yml"
    file.write_text(text.replace("127.0.0.1:9095", receiver), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        find("prometheus-alertmanager", release),
        f"--config.file={file}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=error",
    ]
    with subprocess.Popen(command) as process:
        try:
            wait_until(lambda: get(f"http://{address}/-/ready"), "Alertmanager is ready")
            yield address
        finally:
            process.terminate()


def shortened_rules(folder: Path, files: Iterable[Path] = FILES) -> Path:
    """Copy shipped rules, with durations and intervals of seconds."""
    copies = folder / "rules"
    copies.mkdir()
    for file in files:
        text = file.read_text(encoding="utf-8")
        text = re.sub(r"(?m)^( +(?:for|keep_firing_for)): \w+$", r"\1: 4s", text)
        text = re.sub(r"(?m)^( +interval): \w+$", r"\1: 1s", text)
        (copies / file.name).write_text(text, encoding="utf-8")
    return copies


def summary(received: list[Notification]) -> Counter[tuple[str, str, str, str]]:
    """Count notifications by receiver, status, alert and account."""
    return Counter(
        (of["receiver"], alert["status"], alert["labels"]["alertname"], alert["labels"]["account"])
        for of in received
        for alert in of["alerts"]
    )


def test_each_event_is_notified_once_and_nothing_else(release: Release, tmp_path: Path) -> None:
    """
    The use of a dormant key and a broken role cause one notification each, with the right text.

    The only others are that the dormant key was unused, then no longer is, and is not rotated.
    """
    now = datetime.now(UTC)
    with FakeAws() as aws, webhook() as (receiver, received):
        prod, lab = aws.account(PROD), aws.account(LAB)
        prod.role(ROLE)
        lab.role(ROLE)
        dormant = prod.add_user("backup").add_key(created=now - timedelta(days=400))
        dormant.use(at=now - timedelta(days=200))
        prod.add_user("ada").add_key(created=now - timedelta(days=40)).use()
        lab.add_user("grace").add_key(created=now - timedelta(days=3))
        config = tmp_path / "config.yaml"
        config.write_text(EXPORTER, encoding="utf-8")
        environment = aws.environment(MONITORING)
        with (
            exporter(f"--config.file={config}", environment=environment) as running,
            alertmanager(tmp_path, receiver, release) as routes,
        ):
            running.wait_until_ready()
            configuration = CONFIGURATION.format(
                rules=shortened_rules(tmp_path), alertmanager=routes, exporter=running.address
            )
            with prometheus(tmp_path, configuration, release):
                unused = ("platform", "firing", "AwsIamAccessKeyUnused", "prod")
                wait_until(lambda: summary(received)[unused], "the dormant key is unused", 60)

                dormant.use("iam", "us-east-1")
                del lab.roles[ROLE]
                aws.revoke(LAB)
                expected = Counter(
                    [
                        unused,
                        ("on-call", "firing", "AwsIamAccessKeyAwakened", "prod"),
                        ("platform", "resolved", "AwsIamAccessKeyUnused", "prod"),
                        ("digest", "firing", "AwsIamAccessKeyNotRotated", "prod"),
                        ("platform", "firing", "AwsIamExporterAccountDown", "lab"),
                    ]
                )
                wait_until(lambda: expected <= summary(received), "all notifications", 90)
                # Leave time for notifications that should not arrive.
                threading.Event().wait(8)

    assert summary(received) == expected
    (awakened,) = (of for of in received if of["receiver"] == "on-call")
    (alert,) = awakened["alerts"]
    assert alert["annotations"]["description"] == (
        f"Access key {dormant.id} of user backup in account prod ({PROD}) was used after 200 days"
        " of inactivity. Ask the owner. If they did not use it, deactivate the key and check in"
        " CloudTrail what it did."
    )
    (down,) = (of for of in received if of["alerts"][0]["labels"]["account"] == "lab")
    (alert,) = down["alerts"]
    assert alert["annotations"]["description"].startswith(
        f"No refresh of account lab ({LAB}) has succeeded completely for 30 minutes:"
    )
