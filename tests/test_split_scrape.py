"""The scrape configuration that splits the page into two parts."""

import json
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.metrics import Exposition, Format, SelfMetrics
from exporter.metrics.families import FAMILIES, KEY, USER
from tests.exposition import SCENES, FakeClock, a_store
from tests.rules.files import PROMETHEUS
from tests.servers import Release, exporter, find, get, prometheus, wait_until
from tests.test_alerts_end_to_end import shortened_rules
from tests.test_prometheus_files import run

SPLIT = PROMETHEUS / "prometheus-split.yml"
WHOLE = PROMETHEUS / "prometheus.yml"
HISTOGRAM = ("_bucket", "_count", "_sum")

ADDED = ("up", "scrape_")
"""Series that Prometheus adds to each job."""


def jobs(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(file.read_text())["scrape_configs"])


def names(job: dict[str, Any]) -> list[str]:
    return list(job["params"]["name[]"])


def test_each_family_is_in_one_part() -> None:
    """Each family with a series for each key or user is in one job, every other in the other."""
    keys, accounts = map(names, jobs(SPLIT))
    page = Exposition(a_store(*SCENES["after"]), SelfMetrics(version="1"), FakeClock())
    exposed = re.findall(r"^# TYPE (\S+) (\w+)", page.render(Format.TEXT).decode(), re.MULTILINE)
    of_keys = {family.name for family in FAMILIES if family.subject in (KEY, USER)}
    expected = [
        name + suffix
        for name, kind in exposed
        for suffix in (HISTOGRAM if kind == "histogram" else ("",))
    ]

    assert set(keys) == of_keys
    assert sorted([*keys, *accounts]) == sorted(expected)


@pytest.mark.process
def test_prometheus_accepts_the_configuration(release: Release) -> None:
    """promtool can load the configuration with the rules, and its linter finds nothing."""
    check = run(find("promtool", release), "check", "config", "--lint=all", "--lint-fatal", SPLIT)

    assert check.returncode == 0, check.stdout


def configuration(address: str) -> str:
    """Both shipped configurations in one, with the target *address*, scraped every 2 seconds."""
    (whole,) = jobs(WHOLE)
    both = [{**whole, "job_name": "whole"}, *jobs(SPLIT)]
    for job in both:
        labels = {"part": job["job_name"]}
        job |= {"scrape_interval": "2s", "scrape_timeout": "2s"}
        job["static_configs"] = [{"targets": [address], "labels": labels}]
    return yaml.safe_dump({"scrape_configs": both})


TARGET = {"part", "job", "instance"}
"""Labels of the target."""

Series = frozenset[tuple[str, str]]


def series(address: str, part: str) -> dict[Series, str]:
    """Return the current values of the series of a part, without the labels of the target."""
    query = urllib.parse.quote(f'{{part="{part}"}}')
    answer = json.loads(get(f"http://{address}/api/v1/query?query={query}"))["data"]["result"]
    found = [(each["metric"], each["value"][1]) for each in answer]
    return {
        frozenset((name, text) for name, text in labels.items() if name not in TARGET): value
        for labels, value in found
        if not labels["__name__"].startswith(ADDED)
    }


@contextmanager
def scraped(folder: Path, release: Release) -> Iterator[str]:
    """Run the demo and a Prometheus that scrapes it as a whole and in parts; its address."""
    with exporter("--demo") as running:
        running.wait_until_ready()
        with prometheus(folder, configuration(running.address), release) as address:
            yield address


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.xdist_group("end_to_end")
def test_the_parts_together_are_the_whole(tmp_path: Path, release: Release) -> None:
    """In a real Prometheus, the two jobs together have the series and facts of one, each once."""
    with scraped(tmp_path, release) as address:

        def union() -> dict[Series, str]:
            parts = [series(address, part) for part in ("keys", "accounts")]
            assert not parts[0].keys() & parts[1].keys()
            return parts[0] | parts[1]

        def complete() -> bool:
            whole = series(address, "whole")
            return len(whole) > 100 and union().keys() == whole.keys()

        wait_until(complete, "the parts have the series of the whole", 120)

        def facts(found: dict[Series, str]) -> dict[Series, str]:
            # Those that do not depend on the time of the scrape.
            return {
                labels: value
                for labels, value in found.items()
                if dict(labels)["__name__"].startswith("aws_iam_a")
                and not dict(labels)["__name__"].endswith("_age_seconds")
            }

        wait_until(
            lambda: facts(union()) == facts(series(address, "whole")), "the facts are equal", 120
        )


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.xdist_group("end_to_end")
def test_a_part_that_cannot_be_scraped_fires(tmp_path: Path, release: Release) -> None:
    """In a real Prometheus, a part with too many samples fires, and no exporter is down."""
    with exporter("--demo") as running:
        running.wait_until_ready()
        settings = yaml.safe_load(SPLIT.read_text())
        del settings["alerting"]
        settings["rule_files"] = [f"{shortened_rules(tmp_path)}/exporter.yaml"]
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job in settings["scrape_configs"]:
            job["scrape_interval"] = "1s"
            job["static_configs"][0]["targets"] = [running.address]
        settings["scrape_configs"][0]["sample_limit"] = 1
        with prometheus(tmp_path, yaml.safe_dump(settings), release) as address:

            def firing() -> dict[str, str]:
                answer = json.loads(get(f"http://{address}/api/v1/alerts"))["data"]["alerts"]
                alerts = [alert for alert in answer if alert["state"] == "firing"]
                return {
                    of["labels"]["alertname"]: of["annotations"]["description"] for of in alerts
                }

            wait_until(lambda: "AwsIamExporterPartDown" in firing(), "the part is down", 60)
            found = firing()

    assert found["AwsIamExporterPartDown"].startswith(
        "Targets of job aws-iam-key-exporter that Prometheus has not scraped for 15 minutes,"
        " although it scrapes another part of the same exporter: 1."
    )
    assert "AwsIamExporterDown" not in found
