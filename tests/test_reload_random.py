"""Random sequences of reloads, while accounts are refreshed and scraped."""

import logging
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from exporter.config import Config, parse
from tests.builders import environment
from tests.fake_aws import FakeAws, Fault
from tests.fake_aws.fleet import MONITORING, ROLE, fill
from tests.servers import wait_until
from tests.test_reload import running

pytestmark = pytest.mark.slow

ACCOUNTS = [f"{100_000_000_000 + number}" for number in range(1, 13)]
KEYS = 5
RELOADS = 60

COLLECTION = "requests_per_second: 500, burst: 500, deadline: 30s, user_tags: bulk"
EVERYTHING = f"""
collection: {{{COLLECTION}, interval: 1s}}
organization: {{role_name: {ROLE}, interval: 1s, exclude: {{accounts: ["{MONITORING}"]}}}}
"""


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake, environment({}):
        fill(fake, accounts=len(ACCOUNTS), keys=KEYS)
        fake.fault(Fault(latency=0.02))  # so that accounts are refreshed during reloads
        with environment(fake.environment(MONITORING)):
            yield fake


def some_configuration(rng: random.Random) -> Config:
    """A valid configuration: some accounts, an organization or both, with names that change."""
    listed = rng.sample(ACCOUNTS, rng.randrange(1, len(ACCOUNTS)))
    interval, workers = rng.choice(["1s", "1m"]), rng.choice([1, 4, 32])
    report, format_ = rng.choice(["off", "guide"]), rng.choice(["full", "masked"])
    tags = rng.choice(["team", "team, owner"])
    metric = rng.choice(["", "aws_iam_access_key_last_used_age_seconds"])
    collection = f"interval: {interval}, workers: {workers}, credential_report: {report}"
    sections = [
        f"collection: {{{COLLECTION}, {collection}}}",
        f"labels: {{access_key_id: {format_}, user_tags: [{tags}]}}",
        f"users: {{exclude: ['user-000{rng.randrange(KEYS)}']}}" * rng.choice([0, 1]),
        f"metrics: {{exclude: [{metric}]}}",
    ]
    if rng.choice([True, False]):
        excluded = [MONITORING, rng.choice(ACCOUNTS)]
        options = f"role_name: {ROLE}, interval: {rng.choice(['1s', '1h'])}"
        sections.append(f"organization: {{{options}, exclude: {{accounts: {excluded}}}}}")
        listed = listed[: rng.randrange(len(listed))]
    entries = [
        f"- {{name: name-{rng.randrange(3)}-{id_}, role_arn: 'arn:aws:iam::{id_}:role/{ROLE}'}}"
        for id_ in listed
    ]
    sections += ["accounts:", *entries] if entries else []
    return parse("\n".join(sections), "config.yaml")


def problems_of(page: str) -> list[str]:
    """List what no page may have: a series twice, and key ids in two formats."""
    series = Counter(
        line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#")
    )
    ids = re.findall(r'access_key_active\{.*access_key_id="(.*?)"', page)
    formats = {"****" in id_ for id_ in ids}
    return [*(line for line, count in series.items() if count > 1), *ids[: len(formats) > 1]]


@pytest.mark.parametrize("seed", [1, 2])
def test_reloads_break_nothing(seed: int, aws: FakeAws, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever changes, no account fails, no key is deleted, and in the end all keys are there."""
    rng, problems, stop = random.Random(seed), list[str](), threading.Event()
    everything = parse(EVERYTHING, "config.yaml")

    with caplog.at_level(logging.INFO), running(everything) as exporter:

        def scrape() -> None:
            while not stop.wait(0.01):
                problems.extend(problems_of(exporter.page))

        scraper = threading.Thread(target=scrape)
        scraper.start()
        for _ in range(RELOADS):
            exporter.change(some_configuration(rng))
            threading.Event().wait(rng.random() / 5)
        exporter.change(everything)
        wait_until(
            lambda: exporter.page.count("access_key_active{") == KEYS * len(ACCOUNTS),
            "every key is exported",
        )
        wait_until(lambda: all(exporter.accounts().values()), "every account is up")
        stop.set()
        scraper.join()

    assert problems == []
    assert [
        f"{record.getMessage()}: {vars(record).get('error')}"
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("exporter.")
    ] == []
    assert not {"access key deleted", "access key created"} & {*caplog.messages}
