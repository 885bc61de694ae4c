"""
The whole way of an alert: AWS, the exporter, Prometheus, Alertmanager, and who is told.

All programs are the real ones but AWS, and the rules and routes are the shipped ones but for
durations: `for:`, `group_wait` and `group_interval` are seconds here. Limits are as shipped.
"""

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fake_aws import FakeAws
from tests.servers import exporter, find, free_port, get, prometheus, wait_until

SHIPPED = Path("deploy/prometheus")
MONITORING, PROD, LAB = "999999999999", "111111111111", "222222222222"
ROLE = "aws-iam-key-exporter"

EXPORTER = f"""
collection: {{interval: 3s, requests_per_second: 100, burst: 100, credential_report: "off"}}
accounts:
  - {{name: prod, role_arn: "arn:aws:iam::{PROD}:role/{ROLE}"}}
  - {{name: lab, role_arn: "arn:aws:iam::{LAB}:role/{ROLE}"}}
"""

PROMETHEUS = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}/*.yaml"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{alertmanager}"]}}]}}]}}
scrape_configs:
  - job_name: aws-iam-key-exporter
    static_configs: [{{targets: ["{exporter}"]}}]
"""

Notification = dict[str, Any]


@contextmanager
def people() -> Iterator[tuple[str, list[Notification]]]:
    """Receive webhooks; give the address, and what was received."""
    told: list[Notification] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", told
        server.shutdown()
        thread.join()


@contextmanager
def alertmanager(folder: Path, receiver: str) -> Iterator[str]:
    text = (SHIPPED / "alertmanager.yml").read_text(encoding="utf-8")
    text = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", text)
    file = folder / "alertmanager.yml"
    file.write_text(text.replace("127.0.0.1:9095", receiver), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        find("prometheus-alertmanager"),
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


def shortened_rules(folder: Path) -> Path:
    """Copy the shipped rules; alerts wait for seconds only."""
    copies = folder / "rules"
    copies.mkdir()
    for file in (SHIPPED / "rules").glob("*.yaml"):
        text = re.sub(r"^( +for): \w+$", r"\1: 4s", file.read_text(encoding="utf-8"), flags=re.M)
        (copies / file.name).write_text(text, encoding="utf-8")
    return copies


def said(told: list[Notification]) -> Counter[tuple[str, str, str, str]]:
    """Count what was told: to whom, how it stands, which alert, which account."""
    return Counter(
        (of["receiver"], alert["status"], alert["labels"]["alertname"], alert["labels"]["account"])
        for of in told
        for alert in of["alerts"]
    )


@pytest.mark.timeout(300)
def test_people_are_told_once_of_what_happened_and_of_nothing_else(tmp_path: Path) -> None:
    """
    The use of a dormant key and a broken role are a notification each, in the right words.

    Besides, nothing is told but that the dormant key was unused, and then is not any more, but old.
    """
    now = datetime.now(UTC)
    with FakeAws() as aws, people() as (receiver, told):
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
            alertmanager(tmp_path, receiver) as routes,
        ):
            running.wait_until_ready()
            configuration = PROMETHEUS.format(
                rules=shortened_rules(tmp_path), alertmanager=routes, exporter=running.address
            )
            with prometheus(tmp_path, configuration):
                unused = ("platform", "firing", "AwsIamAccessKeyUnused", "prod")
                wait_until(lambda: said(told)[unused], "the dormant key is told of", 60)

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
                wait_until(lambda: expected <= said(told), "all is told", 90)
                # What is not to come gets the time to come.
                threading.Event().wait(8)

    assert said(told) == expected
    (awakened,) = (of for of in told if of["receiver"] == "on-call")
    (alert,) = awakened["alerts"]
    assert alert["annotations"]["description"] == (
        f"Key {dormant.id} of user backup in account prod ({PROD}) was used after 200 days of"
        " silence. Ask its owner; if it was not them, deactivate the key and read in CloudTrail"
        " what it did."
    )
    (down,) = (of for of in told if of["alerts"][0]["labels"]["account"] == "lab")
    (alert,) = down["alerts"]
    assert alert["annotations"]["description"].startswith(
        f"The latest readings of account lab ({LAB}) did not succeed whole."
    )
