"""
Who is notified of an alert, by the tags of users: from AWS to a webhook or a mail server.

All programs except AWS and the mail server are real. Rules and routes are the shipped ones, also
those that are optional, with durations of seconds.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
import yaml

from tests.fake_aws import FakeAws
from tests.fake_aws.accounts import Account
from tests.rules.alerts_table import README
from tests.rules.files import EARLY, FILES
from tests.servers import Release, exporter, prometheus, wait_until
from tests.test_alerts_end_to_end import alertmanager, shortened_rules, webhook

# Starts real servers, and waits until nothing more can arrive.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MONITORING, PROD, DATA_LAB = "999999999999", "111111111111", "222222222222"
ROLE = "aws-iam-key-exporter"

EXPORTER = f"""
collection:
  interval: 2s
  user_tags: bulk
  user_tags_interval: 2s
  requests_per_second: 100
  burst: 100
  credential_report: "off"
labels: {{user_tags: [Team, Owner]}}
accounts:
  - {{name: prod, role_arn: "arn:aws:iam::{PROD}:role/{ROLE}"}}
  - {{name: data-lab, role_arn: "arn:aws:iam::{DATA_LAB}:role/{ROLE}"}}
  - {{name: data-broken, role_arn: "arn:aws:iam::333333333333:role/{ROLE}"}}
"""

UNUSED, IDLE = "AwsIamAccessKeyUnused", "AwsIamAccessKeyIdle"
AWAKENED, NOT_ROTATED = "AwsIamAccessKeyAwakened", "AwsIamAccessKeyNotRotated"

Delivery = tuple[str, str, str, str]
"""Receiver (its name, or an address), status, alert, and user (or account, if there is none)."""


@contextmanager
def mail_server() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Receive mail; yield the address, and a list of (recipients, text) of the mail received."""
    received: list[tuple[str, str]] = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            recipients = ""
            self.wfile.write(b"220 mail\r\n")
            while command := self.rfile.readline().decode().rstrip():
                if command.startswith("RCPT TO:"):
                    recipients += command.removeprefix("RCPT TO:")
                if command == "DATA":
                    self.wfile.write(b"354 go ahead\r\n")
                    lines = [line.decode() for line in iter(self.rfile.readline, b".\r\n")]
                    received.append((recipients, "".join(lines)))
                self.wfile.write(b"250 ok\r\n")
                if command == "QUIT":
                    return

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", received
        server.shutdown()
        thread.join()


def configuration(rules: Path, alertmanager: str, exporter: str) -> str:
    """Return a configuration of Prometheus, with the labels renamed as the README says."""
    text = README.read_text(encoding="utf-8")
    (renaming,) = re.findall(r"```yaml\n( +metric_relabel_configs:\n.*?)```", text, re.DOTALL)
    job = {
        "job_name": "aws-iam-key-exporter",
        "static_configs": [{"targets": [exporter]}],
        **yaml.safe_load(renaming),
    }
    targets = {"static_configs": [{"targets": [alertmanager]}]}
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [f"{rules}/*.yaml"],
            "alerting": {"alertmanagers": [targets]},
            "scrape_configs": [job],
        }
    )


def deliveries(received: list[dict[str, Any]], mail: list[tuple[str, str]]) -> Counter[Delivery]:
    """Count what was delivered."""
    count: Counter[Delivery] = Counter()
    for of in received:
        for alert in of["alerts"]:
            labels = alert["labels"]
            subject = labels.get("user", labels["account"])
            count[of["receiver"], alert["status"], labels["alertname"], subject] += 1
    for recipients, text in mail:
        subject = re.sub(r"\s+", " ", text.partition("Subject:")[2].partition("\r\nTo:")[0])
        status = "firing" if "FIRING" in subject else "resolved"
        (name,) = set(re.findall(r"AwsIam\w+", subject))
        count[recipients, status, name, "mail"] += 1
    return count


def dormant(
    account: Account, user: str, tags: dict[str, str] | None = None, days: int = 200
) -> Any:
    """Add a user with a key that was created, and last used, so many *days* ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    key = account.add_user(user, tags=tags).add_key(created=at)
    key.use(at=at)
    return key


def test_owners_are_notified_of_their_keys_only(release: Release, tmp_path: Path) -> None:
    """
    Each owner is notified of their keys, and security of what has no owner, and of all else.

    Tags that are none of the values that the routes know, whatever is in them, are no owner. A key
    that is handed over is the new team's.
    """
    with FakeAws() as aws, webhook() as (receiver, received), mail_server() as (mail, letters):
        prod, lab = aws.account(PROD), aws.account(DATA_LAB)
        prod.role(ROLE)
        lab.role(ROLE)
        awakened = dormant(prod, "of-data", {"Team": "data"})
        dormant(prod, "of-ada", {"Owner": "ada@example.com"})
        dormant(prod, "of-nobody")
        dormant(
            prod,
            "of-mallory",
            {"Team": 'data"} or {x=~".*', "Owner": "mallory@evil.test, ada@example.com"},
        )
        dormant(prod, "of-template", {"Team": "{{ .Labels }}", "Owner": "<!channel>@example.com"})
        dormant(prod, "idle", {"Team": "web"}, days=70)
        dormant(lab, "in-lab")
        lab.add_root_key()
        config = tmp_path / "config.yaml"
        config.write_text(EXPORTER, encoding="utf-8")
        environment = aws.environment(MONITORING)
        with (
            exporter(f"--config.file={config}", environment=environment) as running,
            alertmanager(
                tmp_path, receiver, release, routes="alertmanager-by-owner.yml", mail=mail
            ) as routes,
        ):
            running.wait_until_ready()
            rules = shortened_rules(tmp_path, (*FILES, EARLY))
            settings = configuration(rules, routes, running.address)
            with prometheus(tmp_path, settings, release):
                expected: Counter[Delivery] = Counter(
                    [
                        ("team-data", "firing", UNUSED, "of-data"),
                        ("<ada@example.com>", "firing", UNUSED, "mail"),
                        ("security", "firing", UNUSED, "of-nobody"),
                        ("security", "firing", UNUSED, "of-mallory"),
                        ("security", "firing", UNUSED, "of-template"),
                        ("team-web", "firing", IDLE, "idle"),
                        ("team-data", "firing", UNUSED, "in-lab"),
                        ("security", "firing", "AwsIamRootAccessKeyPresent", "data-lab"),
                        ("on-call", "firing", "AwsIamRootAccessKeyPresent", "data-lab"),
                        ("security", "firing", "AwsIamExporterAccountDown", "data-broken"),
                    ]
                )

                def arrived() -> bool:
                    return expected <= deliveries(received, letters)

                wait_until(arrived, "who owns what is notified", 90)

                # A key that is used, and then handed over.
                awakened.use("iam", "us-east-1")
                expected += Counter(
                    [
                        ("on-call", "firing", AWAKENED, "of-data"),
                        ("team-data", "firing", AWAKENED, "of-data"),
                        ("team-data", "firing", NOT_ROTATED, "of-data"),
                        ("team-data", "resolved", UNUSED, "of-data"),
                    ]
                )
                wait_until(arrived, "on-call and the owner know of the use", 60)
                prod.users["of-data"].tags["Team"] = "web"
                expected += Counter(
                    [
                        ("on-call", "firing", AWAKENED, "of-data"),
                        ("team-web", "firing", AWAKENED, "of-data"),
                        ("team-web", "firing", NOT_ROTATED, "of-data"),
                        ("on-call", "resolved", AWAKENED, "of-data"),
                        ("team-data", "resolved", AWAKENED, "of-data"),
                        ("team-data", "resolved", NOT_ROTATED, "of-data"),
                    ]
                )
                wait_until(arrived, "the new team is notified, and the former one", 60)
                # Leave time for notifications that should not arrive.
                threading.Event().wait(8)

    # Alerts of the same group may be notified in one message or several, each with all of them.
    assert deliveries(received, letters).keys() == expected.keys()
