"""
A simulated AWS on this machine, to try the exporter without an AWS account.

It serves moto's IAM and STS with the accounts of a company. The exporter reaches it over HTTP with
the same code as the real AWS: it assumes a role in each account and calls IAM. What moto lacks is
added: a role that cannot be assumed, and credential reports like those of AWS.

Keys are used while the demo runs, and after some minutes one is used that had been dormant for most
of a year.
"""

import base64
import csv
import io
import logging
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which
from typing import Any
from urllib.parse import parse_qs

from exporter.model import ACTIVE

log = logging.getLogger(__name__)

PEOPLE, PIPELINES, SMALL, CLOSED = "111111111111", "222222222222", "333333333333", "444444444444"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIADEMODEMODEMODEMO",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
"""Environment variables with which the exporter reaches the simulated AWS."""

TARGET = "127.0.0.1:10064"
"""What deploy/prometheus/prometheus.yml scrapes, over HTTP at /metrics."""

STS_ACTIONS = ("AssumeRole", "GetCallerIdentity")

WAKE_UP = 180.0
"""Seconds until the dormant key is used."""

CONFIGURATION = """
# The configuration of the demo. For AWS, omit endpoint_urls and set your own roles.
collection:
  interval: 15s               # for AWS: 15m
  requests_per_second: 50     # for AWS: 5
  burst: 100
  credential_report: guide    # for AWS: auto
  user_tags: bulk
  user_tags_interval: 1m
  passwords: true
accounts:
  - {{name: people, role_arn: "arn:aws:iam::111111111111:role/aws-iam-key-exporter"}}
  - {{name: pipelines, role_arn: "arn:aws:iam::222222222222:role/aws-iam-key-exporter"}}
  - {{name: small, role_arn: "arn:aws:iam::333333333333:role/aws-iam-key-exporter"}}
  - {{name: no-role, role_arn: "arn:aws:iam::444444444444:role/aws-iam-key-exporter"}}
labels:
  user_tags: [team, owner]
counts:
  by_tags: [team]
aws:
  region: us-east-1
  endpoint_urls: {{iam: "{url}", sts: "{url}"}}
"""

WELCOME = """
aws-iam-key-exporter reads a simulated AWS with four accounts. The role of one cannot be assumed.

{addresses}
  what changed  {events} --state.path={state}

Scrape it with Prometheus, using deploy/prometheus/prometheus.yml{change}, and try these queries:

  # days since each key was last used, longest first
  sort_desc((time() - aws_iam_access_key_last_used_timestamp_seconds) / 86400)

  # active keys that have never been used
  aws_iam_access_key_never_used == 1 and aws_iam_access_key_active == 1

  # accounts that cannot be read
  aws_iam_exporter_account_up == 0

In about three minutes the key of backup-2019 in the account pipelines will be used for the first
time in 300 days: the log says so, and so do the events. Press Ctrl-C to stop.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """
    An access key at the start of the demo.

    Attributes:
        age: Days since it was created.
        idle: Days since it was last used. None: never used.
        every: Seconds between uses. None: it is not used.
    """

    age: float
    idle: float | None
    service: str = "s3"
    region: str = "eu-west-1"
    active: bool = True
    every: float | None = None


def _users(account: str) -> Iterator[tuple[str, str, dict[str, str], tuple[Key, ...]]]:
    """Yield the name, path, tags and keys of each user of *account*."""
    hour = 1 / 24
    if account == PEOPLE:
        data = {"team": "data", "owner": "ada@example.com"}
        web = {"team": "web", "owner": "grace@example.com"}
        yield "ada", "/people/", data, (Key(40, hour, "athena", "us-east-1", every=45),)
        yield "grace", "/people/", web, (Key(85, 0.2, every=90), Key(400, 200, "ec2"))
        yield "linus", "/people/", web, (Key(200, 150, "iam", "us-east-1", active=False),)
        yield "margaret+aws@example.com", "/people/", data, (Key(12, 3, "dynamodb"),)
        yield "edsger", "/people/former/", {}, (Key(900, 200, "s3", "us-west-2"),)
        yield "barbara", "/people/", web, ()
        yield "donald", "/people/", {}, ()
        yield "intern_2026,summer", "/people/", web, (Key(60, None),)
        yield "contractor=acme", "/people/", {}, (Key(3, None),)
        exempt = {"team": "data", "key-exporter:exempt-until": "2099-12-31"}
        yield "break-glass", "/", exempt, (Key(700, None),)
    if account == PIPELINES:
        ci = {"team": "platform", "owner": "ci@example.com"}
        yield "deploy", "/ci/", ci, (Key(30, hour, "ecr", every=20), Key(100, 29, "ecr"))
        yield "terraform", "/ci/", ci, (Key(20, 0.1, "ec2", every=30),)
        yield "backup-2019", "/ci/legacy/", {}, (Key(2500, 300, "s3", "us-east-1"),)
        yield "ses-smtp-user.20240101", "/", {"team": "mail"}, (Key(690, 1, "ses", every=300),)
        yield "old-jenkins", "/ci/legacy/", ci, (Key(1500, 500, active=False), Key(1400, None))
        for number in range(1, 13):
            tags = {"team": "batch"}
            yield f"batch-{number:02}", "/batch/", tags, (Key(10 * number, hour * number),)
    if account == SMALL:
        yield "deploy", "/", {}, (Key(180, 0.5, "cloudfront", "us-east-1", every=120),)
        yield "admin", "/", {}, (Key(1000, 95, "N/A", "N/A"),)


@dataclass(frozen=True, slots=True)
class Site:
    """
    Where the exporter is served.

    Attributes:
        address: What it listens on, with the port.
        scheme: ``http`` or ``https``.
        prefix: What precedes all paths, such as ``/exporter``. Empty: nothing does.
        telemetry_path: The path of the metrics.
        has_pages: Whether there are pages for people.
    """

    address: str
    scheme: str = "http"
    prefix: str = ""
    telemetry_path: str = "/metrics"
    has_pages: bool = True

    def url(self, path: str) -> str:
        """Return the URL of *path*, with an address that a browser on this machine can open."""
        host, _, port = self.address.rpartition(":")
        host = "127.0.0.1" if host in ("0.0.0.0", "[::]") else host  # noqa: S104 (binds nothing)
        return f"{self.scheme}://{host}:{port}{self.prefix}{path}"


def start(site: Site, state: str) -> str:
    """
    Start the simulated AWS, and print a welcome message.

    Args:
        site: Where the exporter is served.
        state: The path of the exporter's state.

    Returns:
        The configuration for the exporter, in YAML.

    Raises:
        ImportError: The extra ``demo`` is not installed.
    """
    configuration = serve()
    with suppress(OSError):  # nobody need read it
        print(welcome(site, state), flush=True)
    return configuration


def serve(*, wake_up: float = WAKE_UP) -> str:
    """
    Start the simulated AWS on the loopback interface, in daemon threads.

    Args:
        wake_up: Seconds until the dormant key is used.

    Returns:
        The configuration for the exporter, in YAML.

    Raises:
        ImportError: The extra ``demo`` is not installed.
    """
    from moto.iam.responses import IamResponse
    from moto.sts.responses import TokenResponse
    from werkzeug.serving import make_server

    accounts = (PEOPLE, PIPELINES, SMALL)
    uses = [use for account in accounts for use in create_users(account, wake_up=wake_up)]
    application = _SimulatedAws({"iam": IamResponse.dispatch, "sts": TokenResponse.dispatch})
    http = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=http.serve_forever, name="demo_aws", daemon=True).start()
    threading.Thread(target=_simulate, args=(uses,), name="demo_uses", daemon=True).start()
    return CONFIGURATION.format(url=f"http://127.0.0.1:{http.server_port}")


def welcome(site: Site, state: str) -> str:
    """Return what is printed at the start of a demo that is served at *site*."""
    metrics = site.url(site.telemetry_path)
    pages = {"accounts": site.url("/"), "keys": site.url("/keys")} if site.has_pages else {}
    addresses = {**pages, "metrics": metrics}
    return WELCOME.format(
        addresses="\n".join(f"  {name:12}  {url}" for name, url in addresses.items()),
        state=shlex.quote(state),
        change="" if metrics == f"http://{TARGET}/metrics" else f"\nchanged to scrape {metrics}",
        events=events_command(),
    )


def events_command() -> str:
    """Return the command that prints events: with the path of the program if it is not on PATH."""
    name = "aws-iam-key-exporter"
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if which(name) is None and beside.exists() else name
    return f"{shlex.quote(program)} events"


Use = tuple[float, float, Callable[[], None]]
"""When a key is next used, in monotonic seconds; the seconds between uses; what uses it."""


def create_users(account: str, *, wake_up: float = WAKE_UP) -> Iterator[Use]:
    """Create the users of *account* and their keys; yield the future uses of the keys."""
    from moto.iam.models import AccessKeyLastUsed, iam_backends

    backend = iam_backends[account]["aws"]
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    for name, path, tags, keys in _users(account):
        user_tags = [{"Key": key, "Value": value} for key, value in tags.items()]
        user = backend.create_user("us-east-1", name, path, user_tags)
        user.create_date = now - timedelta(days=max((key.age for key in keys), default=100) + 1)
        if "/people/" in path:
            user.password_last_used = now - timedelta(days=2)  # type: ignore[assignment]
        for number, key in enumerate(keys):
            created = backend.create_access_key(name)
            created.create_date = now - timedelta(days=key.age, seconds=number)
            created.status = ACTIVE if key.active else "Inactive"

            def use(created: Any = created, key: Key = key, ago: float = 0.0) -> None:
                at = datetime.now(UTC).replace(tzinfo=None, microsecond=0) - timedelta(days=ago)
                created.last_used = AccessKeyLastUsed(at, key.service, key.region)

            if key.idle is not None:
                use(ago=key.idle)
            if name == "backup-2019":
                yield time.monotonic() + wake_up, 60.0, use
            elif key.every is not None:
                yield time.monotonic() + key.every, key.every, use


def _simulate(uses: list[Use]) -> None:
    """Use keys when they are due, forever."""
    while True:
        uses.sort(key=lambda use: use[0])
        at, every, use = uses.pop(0)
        time.sleep(max(0.0, at - time.monotonic()))
        use()
        uses.append((at + every, every, use))


Answer = tuple[int, dict[str, str], str | bytes]
"""Status, headers and body."""


class _SimulatedAws:
    """
    A WSGI application: moto's IAM and STS, and what they lack.

    moto's own server would do as well, but needs five times as many packages.

    Args:
        services: What answers a request to each service, given the request, its URL and headers.
    """

    def __init__(self, services: Mapping[str, Callable[[Any, str, Any], Answer]]) -> None:
        self._services = services
        self._reports: dict[str, tuple[datetime, bytes]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        from moto.core.request import Request
        from werkzeug.wrappers import Response

        status, headers, body = self._answer(Request(environ))
        return Response(body, status, headers)(environ, start_response)

    def _answer(self, request: Any) -> Answer:
        text = request.get_data(as_text=True)
        parameters = parse_qs(text)
        action = parameters.get("Action", [""])[0]
        xml = {"Content-Type": "text/xml"}
        if action == "AssumeRole" and CLOSED in parameters["RoleArn"][0]:
            text = (
                "User: arn:aws:iam::123456789012:user/demo is not authorized to perform:"
                f" sts:AssumeRole on resource: {parameters['RoleArn'][0]}"
            )
            return 403, xml, DENIED.format(text=text)
        if action == "GetCredentialReport":
            return 200, xml, self._report(request.headers.get("Authorization", ""))
        service = "sts" if action in STS_ACTIONS else "iam"
        return self._services[service](request, request.url, dict(request.headers))

    def _report(self, authorization: str) -> bytes:
        from moto.iam.models import get_account_id_from

        signed_by = re.search(r"Credential=(\w+)/", authorization)
        account = get_account_id_from(signed_by.group(1) if signed_by else "")
        report = self._reports.get(account)
        if report is None or datetime.now(UTC) - report[0] > timedelta(hours=4):
            now = datetime.now(UTC).replace(microsecond=0)
            report = self._reports[account] = now, _credential_report(account)
        content = base64.b64encode(report[1]).decode()
        return REPORT.format(content=content, at=f"{report[0]:%Y-%m-%dT%H:%M:%SZ}").encode()


def _credential_report(account: str) -> bytes:
    """Generate a report like that of AWS; moto's lacks the root user, services and regions."""
    from moto.iam.models import iam_backends

    def at(when: datetime | None, absent: str = "N/A") -> str:
        return f"{when:%Y-%m-%dT%H:%M:%SZ}" if when else absent

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    no_key = ["false", "N/A", "N/A", "N/A", "N/A"]
    certificates = ["false", "N/A", "false", "N/A"]
    root_used = datetime.now(UTC) - timedelta(days=30)
    root_key = ["true", at(root_used - timedelta(days=900)), at(root_used), "us-east-1", "iam"]
    writer.writerow(
        ["<root_account>", f"arn:aws:iam::{account}:root", "2015-01-01T00:00:00Z", "true"]
        + [at(root_used), "N/A", "not_supported", "true"]
        + (root_key if account == SMALL else no_key)
        + no_key
        + certificates
    )
    for user in iam_backends[account]["aws"].users.values():
        password = at(user.password_last_used, "no_information")
        row = [user.name, user.arn, at(user.create_date), "true", password, "N/A", "N/A", "false"]
        for key in sorted(user.access_keys, key=lambda key: key.status):
            used = key.last_used
            cells = [at(used.timestamp), used.region, used.service] if used else ["N/A"] * 3
            row += ["true" if key.status == ACTIVE else "false", at(key.create_date), *cells]
        writer.writerow(row + no_key * (2 - len(user.access_keys)) + certificates)
    return text.getvalue().rstrip("\n").encode()


_SLOT = "active last_rotated last_used_date last_used_region last_used_service"

COLUMNS = (
    *["user", "arn", "user_creation_time", "password_enabled", "password_last_used"],
    *["password_last_changed", "password_next_rotation", "mfa_active"],
    *(f"access_key_{number}_{name}" for number in (1, 2) for name in _SLOT.split()),
    *["cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated"],
)

DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{text}</Message></Error>
<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"""

REPORT = """<GetCredentialReportResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
<GetCredentialReportResult><Content>{content}</Content><ReportFormat>text/csv</ReportFormat>
<GeneratedTime>{at}</GeneratedTime></GetCredentialReportResult><ResponseMetadata>
<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>
</GetCredentialReportResponse>"""
