"""The demo: its accounts, and the exporter that reads them."""

import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from moto.iam.models import iam_backends

from exporter import demo
from exporter.cli.flags import parse_flags
from tests.servers import exporter


def test_the_dormant_key_is_used_after_three_minutes() -> None:
    """The key of backup-2019 has been idle for 300 days and is next used in three minutes."""
    started = time.monotonic()
    uses = sorted(demo.create_users(demo.PIPELINES), key=lambda use: use[0])
    (user,) = [u for u in iam_backends[demo.PIPELINES]["aws"].users.values() if "2019" in u.name]
    (key,) = user.access_keys
    now = datetime.now(UTC).replace(tzinfo=None)
    assert key.last_used is not None
    idle = now - key.last_used.timestamp

    used_at = []
    for at, _, use in uses:
        before = key.last_used
        use()
        if key.last_used is not before:
            used_at.append(at - started)

    assert timedelta(days=300) <= idle < timedelta(days=301)
    assert [round(seconds) for seconds in used_at] == [demo.WAKE_UP]
    assert now - key.last_used.timestamp < timedelta(minutes=1)


def test_the_welcome_names_the_target_to_scrape() -> None:
    """Where it is not served as prometheus.yml scrapes it, the demo says what to change."""
    assert "changed to" not in demo.welcome(demo.Site("0.0.0.0:10064"), "state.db")
    assert "changed to scrape http://127.0.0.1:1/metrics," in demo.welcome(
        demo.Site("127.0.0.1:1"), "state.db"
    )


def test_the_welcome_has_the_urls_that_are_served() -> None:
    """The URLs have the scheme, prefix and path that the flags and the web configuration set."""
    site = demo.Site("[::]:10064", "https", "/keys", "/prom")

    urls = re.findall(r"(?m)^  (\w+) +(http\S+)$", demo.welcome(site, "state.db"))

    assert urls == [
        ("accounts", "https://127.0.0.1:10064/keys/"),
        ("keys", "https://127.0.0.1:10064/keys/keys"),
        ("metrics", "https://127.0.0.1:10064/keys/prom"),
    ]


def test_the_welcome_names_no_page_where_there_is_none() -> None:
    """With --web.disable-pages only the metrics are named."""
    text = demo.welcome(demo.Site("127.0.0.1:10064", has_pages=False), "state.db")

    assert re.findall(r"(?m)^  (\w+) +http", text) == ["metrics"]


def test_the_welcome_says_how_to_print_the_events() -> None:
    """The demo prints the command that prints its events, which is valid."""
    text = demo.welcome(demo.Site("127.0.0.1:10064"), "/x/state.db")
    (command,) = re.findall("aws-iam-key-exporter (events .*)", text)

    flags = parse_flags(command.split(), {})

    assert (flags.state_path, flags.events is not None) == ("/x/state.db", True)


@pytest.mark.process
def test_the_command_that_prints_events_works_as_it_is_printed() -> None:
    """In a virtual environment that is not activated, such as that of make, its path is printed."""
    code = "from exporter import demo; print(demo.events_command())"
    bare = {"PATH": "/usr/bin:/bin"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True
    )

    command = f"{printed.stdout.strip()} --state.path=/nonexistent"
    run = subprocess.run(
        ["sh", "-c", command], env=bare, capture_output=True, text=True, check=False
    )

    assert (run.returncode, "/nonexistent does not exist" in run.stderr) == (1, True), run.stderr


@pytest.mark.process
def test_the_demo_needs_nothing_of_motos_server() -> None:
    """The demo works where Flask and the rest of moto's server are not installed."""
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('flask', 'flask_cors', 'docker', 'cfnlint'))\n"
        "from exporter import demo\n"
        "import re, urllib.request as u\n"
        "text = demo.start(demo.Site('127.0.0.1:1'), 'state.db')\n"
        "url = re.search(r'iam: \"(.*?)\"', text).group(1)\n"
        "body = b'Action=ListUsers&Version=2010-05-08'\n"
        "print(u.urlopen(u.Request(url, body)).status)\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )

    assert result.stdout.endswith("\n200\n"), result.stderr


@pytest.mark.process
def test_the_demo_has_accounts_with_keys_and_one_without_a_role() -> None:
    """With --demo, keys of three accounts are exported; the fourth account has no role."""
    with exporter("--demo") as running:
        running.wait_until_ready()
        samples = running.get("/metrics").splitlines()

    keys = [sample for sample in samples if sample.startswith("aws_iam_access_key_active{")]
    accounts = {sample.partition('account="')[2].partition('"')[0] for sample in keys}
    failed = "aws_iam_exporter_account_failures_total"
    reasons = [sample for sample in samples if sample.startswith(failed) and "no-role" in sample]
    assert accounts == {"people", "pipelines", "small"}
    assert [reason for reason in reasons if not reason.endswith(" 0")] == [
        f'{failed}{{account_id="444444444444",account="no-role",reason="assume_role"}} 1'
    ]
