"""The pages of a running exporter."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.builders import PROD, ROLE, TEST
from tests.fake_aws import FakeAws
from tests.servers import exporter, get, wait_until
from tests.test_cli import setup

pytestmark = [pytest.mark.process, pytest.mark.slow]

NAME = "ci-AKIAQQQQQQQQQQQQSAME"


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        for id_ in (PROD, TEST):
            account = fake.account(id_)
            account.role(ROLE)
            account.report.instant = True
            account.add_user("alice").add_key().use()
        yield fake


def status(url: str) -> int:
    try:
        get(url)
    except HTTPError as error:
        return error.code
    return 200


def test_pages_show_what_was_read(aws: FakeAws, tmp_path: Path) -> None:
    """Accounts, keys, a key with its stored events, and the configuration are shown."""
    key = next(iter(aws.account(PROD).keys))
    flag, environment = setup(aws, tmp_path, PROD)
    state = f"--state.path={tmp_path / 'state.db'}"

    with exporter(flag, state, environment=environment) as running:
        running.wait_until_ready()
        accounts, keys = running.get("/"), running.get("/keys")
        document = json.loads(running.get("/keys.json"))
        page = running.get(f"/keys/{PROD}/{key.id}")
        configuration = running.get("/config")

    assert PROD in accounts
    assert f'href="keys/{PROD}/{key.id}"' in keys
    assert key.id in {row["access_key_id"] for row in document["keys"]}
    assert f"aws iam get-access-key-last-used --access-key-id {key.id}" in page
    assert 'class="notice"' not in page  # the events could be read
    assert "collection:" in configuration


def test_pages_can_be_disabled(aws: FakeAws, tmp_path: Path) -> None:
    """With --web.disable-pages there are metrics and probes, and nothing else."""
    flag, environment = setup(aws, tmp_path, PROD)

    with exporter(flag, "--web.disable-pages", environment=environment) as running:
        running.wait_until_ready()
        pages = [
            status(f"http://{running.address}{path}")
            for path in ("/", "/keys", "/keys.csv", "/keys.json", "/config", f"/keys/{PROD}/x")
        ]
        metrics = running.get("/metrics")

    assert set(pages) == {404}
    assert "aws_iam_access_key_info" in metrics


def test_key_ids_are_masked_on_all_pages(aws: FakeAws, tmp_path: Path) -> None:
    """With masked key IDs no page has a full one, not even in a name, a link or a search."""
    key = aws.account(PROD).add_user(NAME).add_key()
    flag, environment = setup(aws, tmp_path, PROD, TEST, extra="labels: {access_key_id: masked}\n")

    with exporter(flag, "--log.level=debug", environment=environment) as running:
        running.wait_until_ready()
        keys = running.get(f"/keys?q={key.id}&user={NAME}")
        links = re.findall(r'href="(keys/\d+/[^"?]+)"', running.get("/keys"))
        texts = [running.get(path) for path in ("/", "/keys", "/keys.csv", "/keys.json", "/config")]
        texts += [keys, *(running.get(f"/{link}") for link in links), running.log]

    ids = {each.id for account in (PROD, TEST) for each in aws.account(account).keys}
    assert len(links) == len(ids)
    assert [id_ for id_ in (*ids, "AKIAQQQQ") if any(id_ in text for text in texts)] == []
    assert "AKIA****SAME" in keys


def test_pages_follow_a_reload(aws: FakeAws, tmp_path: Path) -> None:
    """When the configuration is reloaded, pages show what it says by now."""
    key = next(iter(aws.account(PROD).keys))
    flag, environment = setup(aws, tmp_path, PROD)

    with exporter(flag, environment=environment) as running:
        running.wait_until_ready()
        before = running.get("/keys")
        setup(aws, tmp_path, PROD, extra="labels: {access_key_id: masked}\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: key.id not in running.get("/keys"), "the pages are masked")
        configuration = running.get("/config")

    assert key.id in before
    assert "access_key_id: masked" in configuration
