"""The dashboards: what they ask, what they refer to, and that it is there."""

import json
import random
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import yaml

from exporter import aws, demo
from exporter.metrics import FAMILIES, Exposition, Format, MetricsStore, RenderOptions, SelfMetrics
from exporter.model import (
    ACTIVE,
    NEVER,
    UNKNOWN,
    AccessKey,
    Account,
    AccountSnapshot,
    LastUse,
    Reason,
    ReportState,
    Root,
    Use,
    User,
)
from grafana import generate, places
from tests.servers import find, get, prometheus

JOB = "aws-iam-key-exporter"
DAY = 86400.0


Described = tuple[str, str, dict[str, str], Sequence[demo.Key]]


@dataclass(frozen=True, slots=True)
class Company:
    """
    A company's accounts, of which a page can be made as of any time.

    Attributes:
        end: Unix time as of which the users' keys are described.
        users: By account. An account without any cannot be seen.
    """

    end: float
    users: dict[Account, list[Described]]
    outdated: frozenset[str] = frozenset()
    passwords: bool = True

    def snapshot(self, account: Account, at: float) -> AccountSnapshot:
        """Tell what was known of *account* at the Unix time *at*."""
        listed = self.users[account]
        turns = int(max(0.0, at - self.end + 90 * DAY) // 900)
        if not listed:
            return AccountSnapshot(
                account,
                finished_at=_time(at),
                failure=Reason.ASSUME_ROLE,
                seconds=0.2,
                failures={Reason.ASSUME_ROLE: turns},
            )
        users, keys = [], []
        for name, path, tags, described in listed:
            oldest = max((key.age for key in described), default=100.0) + 1
            if self.end - oldest * DAY > at:
                continue
            password = _time(at - 2 * DAY) if "/people/" in path else None
            labels = tuple(tags.items())
            users.append(
                User(
                    name,
                    path,
                    _time(self.end - oldest * DAY),
                    tags=labels,
                    keys_at=_time(at),
                    password_last_used=password,
                )
            )
            for number, key in enumerate(described):
                if self.end - key.age * DAY <= at:
                    keys.append(self._key(account, name, number, key, at))
        late = account.name in self.outdated
        failed = {Reason.ACCESS_DENIED: turns // 2, Reason.THROTTLED: turns // 50} if late else {}
        return AccountSnapshot(
            account,
            tuple(users),
            tuple(keys),
            root=Root(_time(at), int(account.name == "small"), _time(self.end - 30 * DAY)),
            report=ReportState(_time(at - at % 14400), _time(at + 3600), usable=not late),
            listed_at=_time(at),
            read_at=_time(at - 3 * 3600 if late else at - crc32(account.id.encode()) % 900),
            finished_at=_time(at),
            failure=Reason.ACCESS_DENIED if late else None,
            seconds=2 + len(keys) / 5 + (at // 900) % 3 / 2,
            failures=failed,
            throttles=turns // 20 if len(keys) > 15 else 0,
        )

    def _key(self, account: Account, user: str, number: int, key: demo.Key, at: float) -> AccessKey:
        seed = crc32(f"{account.id}{user}{number}".encode())
        made = self.end - key.age * DAY - number
        return AccessKey(
            f"AKIA{random.Random(seed).getrandbits(80):020X}"[:20],
            user,
            ACTIVE if key.active else "Inactive",
            _time(made),
            self._use(key, seed, made, at),
        )

    def _use(self, key: demo.Key, seed: int, made: float, at: float) -> Use:
        if seed % 97 == 0:
            return UNKNOWN
        if key.idle is None:
            return NEVER
        last = self.end - key.idle * DAY
        if key.every is not None:
            last = at - at % max(900.0, key.every)
        elif at < last:
            # Before its last use the key was used every day or so, rarely from elsewhere.
            last = at - (at + seed) % (DAY * (1 + seed % 3))
        if last < made:
            return NEVER
        elsewhere = seed % 3 == 0 and int(last // (5 * DAY)) % 4 == 0
        if elsewhere and key.service != "N/A":
            return LastUse(_time(last), "sts", "us-east-1")
        return LastUse(_time(last), key.service, key.region)


def demo_company(end: float) -> Company:
    """Describe the demo's four accounts; that of one cannot be seen."""
    names = {"people": demo.PEOPLE, "pipelines": demo.PIPELINES, "small": demo.SMALL}
    users: dict[Account, list[Described]] = {Account(demo.CLOSED, "no-role"): []}
    for name, number in names.items():
        users[Account(number, name)] = list(demo._users(number))
    return Company(end, users)


def large_company(end: float, accounts: int, keys: int) -> Company:
    """Describe as many accounts with as many keys together; one in fifty cannot be seen."""
    chance = random.Random(7)
    services = [
        ("s3", "eu-west-1"),
        ("ec2", "us-east-1"),
        ("ecr", "eu-central-1"),
        ("ses", "us-west-2"),
    ]
    users: dict[Account, list[Described]] = {}
    seen = [number for number in range(accounts) if number % 50 != 49]
    each = -(-keys // len(seen))
    for number in range(accounts):
        account = Account(
            f"{100_000_000_000 + number * 7919}", f"team-{number % 40:02}-{number:04}"
        )
        users[account] = []
        left = each if number % 50 != 49 else 0
        while left > 0:
            described = []
            for _ in range(min(left, 1 + (chance.random() < 0.4))):
                age = chance.expovariate(1 / 200) + 0.1
                idle = None if chance.random() < 0.1 else min(age, chance.expovariate(1 / 40))
                every = 3600.0 if idle is not None and idle < 3 else None
                service, region = chance.choice(services)
                active = chance.random() < 0.85
                described.append(
                    demo.Key(age, idle, service, region, active, every if active else None)
                )
            left -= len(described)
            tags = {
                "team": f"team-{chance.randrange(12):02}",
                "owner": f"owner-{number}@example.com",
            }
            users[account].append((f"user-{len(users[account]):04}", "/", tags, described))
    late = frozenset(f"team-{number % 40:02}-{number:04}" for number in range(3, accounts, 100))
    return Company(end, users, outdated=late, passwords=False)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)


def history(
    company: Company,
    times: Iterable[float],
    *,
    replicas: Sequence[str] = ("one:10064", "two:10064"),
    names: frozenset[str] = frozenset(),
    calls: int = 4,
) -> Iterator[str]:
    """Render what the exporter would have told at *times*, as OpenMetrics with timestamps."""
    self_metrics = SelfMetrics(version="1.0.0", operations=aws.OPERATIONS)
    self_metrics.configured(accounts=len(company.users), interval=900)
    shown = RenderOptions(
        tags={"team": "tag_team", "owner": "tag_owner"},
        passwords=company.passwords,
        exempt_until=lambda account, user, key: (
            _time(company.end + 400 * DAY)
            if "key-exporter:exempt-until" in dict(user.tags)
            else None
        ),
    )
    page = MetricsStore(shown)
    made = 0
    for at in times:
        for account in company.users:
            page.publish(account, company.snapshot(account, at))
        for number in range(made, made + calls):
            operation = aws.OPERATIONS[number % len(aws.OPERATIONS)]
            failed = (
                "Throttling"
                if number % 13 == 5
                else "AccessDenied"
                if operation == "AssumeRole" and number % 2
                else ""
            )
            self_metrics.observe(operation, 0.02 + number % 7 * 0.03, failed)
        made += calls
        body = Exposition(page, self_metrics, clock=partial(float, at)).render(
            Format.OPENMETRICS, names=names
        )
        lines = [
            line
            for line in body.decode().splitlines()
            if line[0] != "#" and not line.startswith("process_start")
        ]
        for number, instance in enumerate(replicas):
            labels = f'job="{JOB}",instance="{instance}"'
            for line in lines:
                yield _stamped(line, labels, at)
            yield f"up{{{labels}}} 1 {at:.0f}\n"
            yield f"process_start_time_seconds{{{labels}}} {company.end - DAY} {at:.0f}\n"
            yield f"scrape_duration_seconds{{{labels}}} {0.02 + number / 100} {at:.0f}\n"
            yield f"scrape_samples_scraped{{{labels}}} {len(lines)} {at:.0f}\n"
        yield from _alerts(at)
    yield "# EOF\n"


def _stamped(line: str, labels: str, at: float) -> str:
    series, _, value = line.rpartition(" ")
    name, brace, rest = series.partition("{")
    if not brace:
        return f"{name}{{{labels}}} {value} {at:.0f}\n"
    return f"{name}{{{labels},{rest} {value} {at:.0f}\n"


def _alerts(at: float) -> Iterator[str]:
    key = 'account_id="222222222222",account="pipelines",user="backup-2019"'
    for alert, severity, labels in (
        ("AwsIamAccessKeyUnused", "warning", f'{key},access_key_id="{BACKUP}"'),
        ("AwsIamAccessKeyNotRotated", "info", f'{key},access_key_id="{BACKUP}"'),
        ("AwsIamAccessKeyNotRotated", "info", key.replace("backup-2019", "old-jenkins")),
        ("AwsIamRootAccessKeyPresent", "critical", 'account_id="333333333333",account="small"'),
        ("AwsIamExporterAccountDown", "warning", 'account_id="444444444444",account="no-role"'),
    ):
        more = f'alertname="{alert}",alertstate="firing",severity="{severity}",job="{JOB}",{labels}'
        yield f"ALERTS{{{more}}} 1 {at:.0f}\n"


def _key_of(account: str, user: str) -> str:
    seed = crc32(f"{account}{user}0".encode())
    return f"AKIA{random.Random(seed).getrandbits(80):020X}"[:20]


BACKUP = _key_of(demo.PIPELINES, "backup-2019")


def blocks(lines: Iterable[str], folder: Path) -> None:
    """Make Prometheus's data of OpenMetrics *lines*."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "history.om"
    with text.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    command = [find("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    subprocess.run(
        [*command, "--max-block-duration=2400h", text, folder / "data"],
        check=True,
        capture_output=True,
    )
    text.unlink()


REPOSITORY = Path(__file__).parent.parent
BOARDS: dict[str, dict[str, Any]] = {
    name: json.loads((REPOSITORY / "grafana" / "dashboards" / f"{name}.json").read_text())
    for name in ("fleet", "account", "key", "exporter")
}
RULES = REPOSITORY / "deploy" / "prometheus" / "rules"

WAIVED = {
    "instance": "replicas tell the same facts and are aggregated; only exporter.json has it",
    "job": "ALERTS: a rule's labels need not have the job; vector(): no selector",
}
"""What grafana/dashboard-linter wants and we do not do, and why."""

OTHERS = {
    *("up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"),
    *("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"),
    *("process_max_fds", "process_start_time_seconds"),
}
"""Metrics of Prometheus, and of every exporter."""

ALERTS = {
    *(f"AwsIamAccessKey{name}" for name in ("Unused", "NeverUsed", "NotRotated", "SafeToDelete")),
    *(f"AwsIamAccessKey{name}" for name in ("InactiveNotDeleted", "Awakened", "FirstUse")),
    *("AwsIamAccessKeyNewRegion", "AwsIamAccessKeyNewService"),
    *("AwsIamRootAccessKeyPresent", "AwsIamRootUsed"),
    *(f"AwsIamExporter{name}" for name in ("Down", "AccountDown", "AccountStale", "ApiErrors")),
    *(f"AwsIamExporter{name}" for name in ("AccountsMissing", "Throttled", "RefreshSlow")),
    "AwsIamExporterReportUnusable",
}

SILENT = {
    ("account", 24, "failures"): "the account's readings succeed",
    ("account", 12, "exempt"): "none of the account's keys is exempt",
    ("fleet", 13, "since"): "the account that is not seen never was",
    ("key", 7, "exempt"): "the key is not exempt",
    ("key", 8, "password"): "the user has no password",
    ("key", 12, "exempt"): "none of the user's keys is exempt",
}
"""Queries without an answer in the demo, and why."""

CHOSEN = {
    "job": ".+",
    "instance": ".+",
    "account_id": demo.PIPELINES,
    "user": "backup-2019",
    "access_key_id": BACKUP,
    "team": ".*",
    "unused_days": "90",
    "rotate_days": "90",
    "never_used_days": "30",
    "pace": "5",
    "__rate_interval": "4m",
    "__interval": "1h",
    "__range": "1h",
}

UNITS = {
    *("none", "locale", "s", "short", "bytes", "reqps", "percentunit"),
    *("dateTimeAsIso", "dateTimeFromNow", "dateTimeAsIsoNoDateIfToday"),
}


def filled(text: str, name: str, chosen: Mapping[str, str] | None = None) -> str:
    """Put values in the place of a dashboard's variables, as Grafana does."""
    values = dict(CHOSEN)
    if name in ("fleet", "account"):
        values |= {"user": ".*"}
    if name == "fleet":
        values |= {"account_id": ".*"}
    values |= chosen or {}
    return re.sub(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})", lambda hit: values[hit[1] or hit[2]], text)


def panels(name: str) -> list[dict[str, Any]]:
    return list(BOARDS[name]["panels"])


def targets() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name in BOARDS:
        for panel in panels(name):
            for target in panel.get("targets", ()):
                yield name, panel, target


def recorded() -> dict[str, str]:
    rules = yaml.safe_load((RULES / "dashboards.yaml").read_text())["groups"][0]["rules"]
    return {rule["record"]: rule["expr"] for rule in rules}


def metrics(expr: str) -> set[str]:
    """Give the names of the metrics that *expr* selects."""
    bare = re.sub(r'"[^"]*"', "", expr)
    bare = re.sub(r"(by|on|without|ignoring|group_left|group_right) \([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    return {
        word
        for word in re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()\b", bare)
        if word.startswith(("aws_iam", "process_", "scrape_", "ALERTS", "python_")) or word == "up"
    }


def known_metrics() -> set[str]:
    names = {family.name for family in FAMILIES}
    histograms = {family.name for family in FAMILIES if family.kind == "histogram"}
    parts = {name + part for name in histograms for part in ("_bucket", "_sum", "_count")}
    return names | parts | OTHERS | set(recorded())


class TestFiles:
    def test_are_what_is_generated(self) -> None:
        """The committed dashboards and rules are what grafana/ makes."""
        for name, text in generate.files().items():
            assert text == (REPOSITORY / name).read_text(encoding="utf-8"), name

    def test_ids_are_fixed(self) -> None:
        """Links and alerts hang on uids, links to panels on their ids."""
        uids = {name: board["uid"] for name, board in BOARDS.items()}

        assert uids == {name: f"aws-iam-keys-{name}" for name in BOARDS}
        for name, board in BOARDS.items():
            ids = [panel["id"] for panel in panels(name)]
            assert len(ids) == len(set(ids)), name
            assert board["id"] is None
            assert board["schemaVersion"] == 42
            assert "__inputs" not in board

    @pytest.mark.parametrize("name", BOARDS)
    def test_panels_do_not_overlap(self, name: str) -> None:
        """Each cell of the grid belongs to one panel, and none is beyond the 24th column."""
        taken: set[tuple[int, int]] = set()
        for panel in panels(name):
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert at["x"] + at["w"] <= 24, panel["title"]
            assert not cells & taken, panel["title"]
            taken |= cells


class TestLint:
    """The rules of grafana/dashboard-linter, but for those that are WAIVED."""

    @pytest.mark.parametrize("name", BOARDS)
    def test_variables(self, name: str) -> None:
        """The data source and the job can be chosen; all follow the time range."""
        variables = {variable["name"]: variable for variable in BOARDS[name]["templating"]["list"]}

        source, job = variables["datasource"], variables["job"]
        assert (source["type"], source["label"]) == ("datasource", "Data source")
        assert (job["type"], job["multi"], job["allValue"]) == ("query", True, ".+")
        assert job["label"] == "Job"
        for variable in variables.values():
            if variable["type"] == "query":
                assert variable["refresh"] == 2, variable["name"]
                assert variable["datasource"]["uid"] == "${datasource}"
        assert BOARDS[name]["editable"] is False

    @pytest.mark.parametrize("name", BOARDS)
    def test_panels(self, name: str) -> None:
        """A panel asks something, says what it shows, in which unit, and what absence means."""
        for panel in panels(name):
            if panel["type"] == "row":
                continue
            title = panel["title"]
            assert title
            assert panel["description"], title
            assert panel["pluginVersion"], title
            if panel["type"] == "text":
                continue
            assert panel["datasource"]["uid"] == "${datasource}", title
            assert panel["targets"], title
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["unit"] in UNITS, title
            assert defaults["noValue"], title
            base = defaults["thresholds"]["steps"][0]
            assert base == {"value": None, "color": "text"}, f"{title}: absence has a colour"

    def test_queries(self) -> None:
        """Rates follow the scrape interval, counters are rated, and every selector has the job."""
        for name, panel, target in targets():
            expr, where = target["expr"], f"{name}: {panel['title']}"
            assert target["datasource"]["uid"] == "${datasource}", where
            for span in re.findall(r"\brate\([^[]*\[([^]]*)\]", expr):
                assert span == "$__rate_interval", where
            for hit in re.finditer(r"\w+_total\{", expr):
                assert re.search(r"(rate|increase)\($", expr[: hit.start()]), where
            for selector in re.findall(r"\w\{([^}]*)\}", expr.replace("${", "")):
                assert "alertname" in selector or 'job=~"$job"' in selector, where

    def test_replicas_are_not_counted_twice(self) -> None:
        """What is counted or summed is aggregated by key or account first."""
        for name, panel, target in targets():
            for hit in re.finditer(r"(?:sum|count)\((aws_iam_a\w+)\{", target["expr"]):
                around = target["expr"]
                assert f"0 * count({hit[1]}" in around or "counted" in around, (
                    f"{name}: {panel['title']}"
                )


class TestReferences:
    def test_metrics_exist(self) -> None:
        """Every metric is a family of ours, a recording rule, or Prometheus's."""
        for name, panel, target in targets():
            asked = metrics(target["expr"])
            assert asked <= known_metrics(), f"{name}: {panel['title']}"
            assert asked or "vector(" in target["expr"], f"{name}: {panel['title']}"
        for record, expr in recorded().items():
            assert metrics(expr) <= known_metrics(), record

    def test_days_are_recorded(self) -> None:
        """What can be chosen as a limit is what the rules count by."""
        rules = yaml.safe_load((RULES / "dashboards.yaml").read_text())["groups"][0]["rules"]
        days: dict[str, set[str]] = {}
        for rule in rules:
            if "days" in rule.get("labels", {}):
                days.setdefault(rule["record"], set()).add(rule["labels"]["days"])
        choice = {
            variable["name"]: set(variable["query"].split(","))
            for variable in BOARDS["fleet"]["templating"]["list"]
            if variable["type"] == "custom"
        }

        assert choice["unused_days"] <= days["aws_iam:access_keys_unused"]
        assert choice["rotate_days"] <= days["aws_iam:access_keys_old"]
        assert choice["never_used_days"] <= days["aws_iam:access_keys_never_used"]

    def test_links_lead_somewhere(self) -> None:
        """Links lead to our dashboards with variables that they have, or to runbooks."""
        variables = {
            board["uid"]: {variable["name"] for variable in board["templating"]["list"]}
            for board in BOARDS.values()
        }
        runbooks = {file.stem for file in RULES.parent.glob("runbooks/*.md")} or ALERTS
        for name, board in BOARDS.items():
            for url in re.findall(r'"url": "([^"]+)"', json.dumps(board)):
                if url.startswith(places.RUNBOOKS):
                    alert = url.removeprefix(places.RUNBOOKS + "/").removesuffix(".md")
                    assert alert in runbooks or alert.startswith("${__data"), url
                elif url.startswith("/d/"):
                    uid, _, query = url.removeprefix("/d/").partition("?")
                    assert set(re.findall(r"var-(\w+)=", query)) <= variables[uid], url
                    self_metrics = set(re.findall(r"\$\{(\w+):queryparam\}", query))
                    assert self_metrics <= variables[board["uid"]], f"{name}: {url}"
                else:
                    assert url.startswith(places.REPOSITORY), url

    def test_fields_of_links_are_there(self) -> None:
        """A link in a table names fields that the table keeps."""
        for name in BOARDS:
            for panel in panels(name):
                if panel["type"] != "table":
                    continue
                organize = panel["transformations"][-1]["options"]
                used = re.findall(r"__data\.fields\.(\w+)", json.dumps(panel["fieldConfig"]))
                for field_ in used:
                    assert field_ in organize["indexByName"], f"{name}: {panel['title']}"
                    assert field_ not in organize["excludeByName"]

    def test_links_survive_decoding(self) -> None:
        """
        No link carries a user's name.

        Grafana decodes a link once more than it is encoded: margaret+aws would be margaret aws.
        """
        for name, board in BOARDS.items():
            for url in re.findall(r'"url": "(/d/[^"]+)"', json.dumps(board)):
                fields = set(re.findall(r"__data\.fields\.(\w+)", url))
                assert fields <= {"account_id", "access_key_id"}, f"{name}: {url}"
                assert not re.search(r"var-user=|\{user\b", url), f"{name}: {url}"

    def test_all_accounts_are_no_account(self) -> None:
        """Links set a variable of one value from one of one value: never from "all"."""
        single = {
            board["uid"]: {
                variable["name"]
                for variable in board["templating"]["list"]
                if variable["type"] == "query" and not variable.get("includeAll")
            }
            for board in BOARDS.values()
        }
        for name, board in BOARDS.items():
            assert not any(link["includeVars"] for link in board["links"]), name
            for url in re.findall(r'"url": "(/d/[^"]+)"', json.dumps(board)):
                uid, _, query = url.removeprefix("/d/").partition("?")
                kept = set(re.findall(r"\$\{(\w+):queryparam\}", query))
                assert kept & single[uid] <= single[board["uid"]], f"{name}: {url}"

    def test_heads_lead_to_the_others(self) -> None:
        """From the head of each dashboard, links lead to the other three, with the time."""
        for name, board in BOARDS.items():
            boards = [link for link in board["links"] if link["url"].startswith("/d/")]
            found = {re.split(r"[/?]", link["url"])[2] for link in boards}
            assert found == {other["uid"] for other in BOARDS.values()} - {board["uid"]}, name
            assert all(link["keepTime"] and link["type"] == "link" for link in boards), name

    def test_alerts_lead_here(self) -> None:
        """The dashboards and variables of the alerts' links exist."""
        self_metrics = {
            board["uid"]: {variable["name"] for variable in board["templating"]["list"]}
            for board in BOARDS.values()
        }
        found = set()
        for file in RULES.glob("*.yaml"):
            for uid, query in re.findall(r"/d/([\w-]+)(\S*(?: \S+)*)", file.read_text()):
                names = set(re.findall(r"var-(\w+)=", query))
                assert names <= self_metrics[uid], f"{file.name}: {uid} {names}"
                found.add((uid, *sorted(names)))

        assert ("aws-iam-keys-key", "access_key_id", "account_id", "user") in found
        assert ("aws-iam-keys-account", "account_id") in found
        assert ("aws-iam-keys-exporter",) in found


class TestCompose:
    FOLDER = REPOSITORY / "deploy" / "compose"

    def services(self) -> dict[str, dict[str, Any]]:
        text = (self.FOLDER / "compose.yaml").read_text(encoding="utf-8")
        return dict(yaml.safe_load(text)["services"])

    def test_mounts_exist(self) -> None:
        """What is mounted is in the repository, or a volume that the file names."""
        volumes = yaml.safe_load((self.FOLDER / "compose.yaml").read_text())["volumes"]
        for service in self.services().values():
            for mount in service.get("volumes", ()):
                source = mount.split(":")[0]
                if source.startswith("."):
                    assert (self.FOLDER / source).resolve().exists(), mount
                else:
                    assert source in volumes, mount

    def test_nothing_is_published_beyond_this_machine(self) -> None:
        """Ports are published on loopback, images are pinned."""
        for name, service in self.services().items():
            assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
            assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
            assert set(service.get("depends_on", ())) <= set(self.services()), name

    def test_services_find_each_other(self) -> None:
        """Addresses name a service, with the port that it publishes."""
        ports = {
            name: service["ports"][0].split(":")[-1] for name, service in self.services().items()
        }
        source = REPOSITORY / "grafana/provisioning/datasources/prometheus.yaml"
        text = (self.FOLDER / "prometheus.yml").read_text() + source.read_text()
        addresses = re.findall(r'(?:"|//)([a-z]+):(\d+)', text)

        assert sorted(addresses) == sorted(
            (name, ports[name]) for name in ("alertmanager", "exporter", "prometheus")
        )
        assert f":{ports['exporter']}" in " ".join(self.services()["exporter"]["command"])

    def test_prometheus_accepts_its_configuration(self) -> None:
        """promtool reads it, and it scrapes as deploy/prometheus/prometheus.yml does."""
        file = self.FOLDER / "prometheus.yml"
        command = [find("promtool"), "check", "config", "--syntax-only", str(file)]
        subprocess.run(command, check=True, capture_output=True)
        ours = yaml.safe_load(file.read_text())["scrape_configs"][0]
        other = yaml.safe_load((RULES.parent / "prometheus.yml").read_text())["scrape_configs"][0]
        ours.pop("static_configs")
        other.pop("static_configs")

        assert ours == other

    def test_grafana_finds_the_dashboards(self) -> None:
        """The provider looks where the dashboards are mounted."""
        provider = REPOSITORY / "grafana/provisioning/dashboards/aws-iam-keys.yaml"
        path = yaml.safe_load(provider.read_text())["providers"][0]["options"]["path"]

        assert f"../../grafana/dashboards:{path}:ro" in self.services()["grafana"]["volumes"]


class Asked:
    """A Prometheus with data until *end*, and questions to it as Grafana asks them."""

    def __init__(self, address: str, end: float) -> None:
        self.address = address
        self.end = end

    def query(
        self, expr: str, *, instant: bool = True, seconds: float = 3600, step: int = 60
    ) -> Any:
        """
        Raises:
            AssertionError: Prometheus refuses, in its words.
        """
        if instant:
            return self._post("query", query=expr, time=self.end)
        return self._post(
            "query_range", query=expr, start=self.end - seconds, end=self.end, step=step
        )

    def _post(self, path: str, **fields: object) -> Any:
        data = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}", data) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fields['query']}: {error.read().decode()}") from error

    def values(self, query: str) -> list[str]:
        """Answer a variable's query."""
        inner = re.fullmatch(r"query_result\((.*)\)", query)
        if inner:
            return [json.dumps(result["metric"]) for result in self.query(inner[1])]
        hit = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert hit, query
        match = urllib.parse.urlencode(
            {"match[]": hit[1], "start": self.end - 3600, "end": self.end}
        )
        address = f"http://{self.address}/api/v1/label/{hit[2]}/values?{match}"
        return list(json.loads(get(address))["data"])


def record(asked: Asked, folder: Path, *, fleet: bool, seconds: float = 3600) -> None:
    """
    Run our recording rules over the data, and keep what they say as data.

    Args:
        fleet: Those that sum up the others, which have to be data by then; else the others.
    """
    text = (RULES / "dashboards.yaml").read_text()
    lines = []
    for rule in yaml.safe_load(text)["groups"][0]["rules"]:
        if rule["record"].startswith("aws_iam:fleet_") is not fleet:
            continue
        for series in asked.query(rule["expr"], instant=False, seconds=seconds, step=300):
            labels = {**series["metric"], **rule.get("labels", {})}
            labels.pop("__name__", None)
            inner = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
            for at, value in series["values"]:
                lines.append(f"{rule['record']}{{{inner}}} {value} {at}\n")
    blocks([*lines, "# EOF\n"], folder)


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A Prometheus that scraped two replicas of the demo for an hour, and ran our rules."""
    folder = tmp_path_factory.mktemp("dashboards")
    find("prometheus")
    # Within the retention whatever today is, and on a step of Prometheus's ranges.
    end = float(int(datetime.now(UTC).timestamp()) // 3600 * 3600)
    company = demo_company(end)
    blocks(history(company, [end - 60 * minute for minute in range(65, -1, -1)]), folder)
    with prometheus(folder, "global: {}") as address:
        record(Asked(address, end), folder, fleet=False)
    with prometheus(folder, "global: {}") as address:
        record(Asked(address, end), folder, fleet=True)
    with prometheus(folder, "global: {}") as address:
        yield Asked(address, end)


class TestAnswers:
    def test_every_query_has_an_answer(self, answering: Asked) -> None:
        """Every query is accepted, and answered unless SILENT says why not."""
        silent = set()
        for name, panel, target in targets():
            expr = filled(target["expr"], name)
            if not answering.query(expr, instant=target["instant"]):
                silent.add((name, panel["id"], target["refId"]))

        assert silent == set(SILENT)

    def test_every_variable_has_values(self, answering: Asked) -> None:
        """Every variable has something to choose."""
        for name, board in BOARDS.items():
            for variable in board["templating"]["list"]:
                if variable["type"] == "query":
                    query = variable["query"]["query"]
                    assert variable["definition"] == query
                    assert answering.values(filled(query, name)), f"{name}: {variable['name']}"

    def test_accounts_are_chosen_by_name(self, answering: Asked) -> None:
        """The regular expression takes name and id out of what Grafana makes of the answer."""
        (variable,) = (
            v for v in BOARDS["account"]["templating"]["list"] if v["name"] == "account_id"
        )
        expression = variable["regex"].strip("/").replace("(?<", "(?P<")
        found = set()
        for value in answering.values(filled(variable["query"]["query"], "account")):
            labels = json.loads(value)
            text = "{" + ",".join(f'{name}="{text}"' for name, text in labels.items()) + "} 1 0"
            hit = re.search(expression, text)
            assert hit
            found.add((hit["text"], hit["value"]))

        assert ("pipelines", demo.PIPELINES) in found
        assert ("no-role", demo.CLOSED) in found

    def test_key_tells_its_user(self, answering: Asked) -> None:
        """A link names account and key; the user that is chosen then is the key's."""
        variables = BOARDS["key"]["templating"]["list"]
        order = [variable["name"] for variable in variables]
        assert order.index("account_id") < order.index("access_key_id") < order.index("user")
        (query,) = (v["query"]["query"] for v in variables if v["name"] == "user")
        users = set()
        for labels in self.keys(answering):
            assert answering.values(filled(query, "key", labels)) == [labels["user"]]
            users.add(labels["user"])

        assert "margaret+aws@example.com" in users

    def keys(self, answering: Asked, family: str = "info") -> list[dict[str, str]]:
        names = "account_id, user, access_key_id"
        found = answering.query(f"group by ({names}) (aws_iam_access_key_{family})")
        return [result["metric"] for result in found]

    def test_silent_queries_speak_of_others(self, answering: Asked) -> None:
        """What is silent about the chosen subject has an answer about one that has the fact."""
        (exempt,) = self.keys(answering, "exempt_until_timestamp_seconds")
        others = {
            "exempt": exempt,
            "password": {"account_id": demo.PEOPLE, "user": "ada"},
            "failures": {"account_id": demo.CLOSED},
        }
        for name, panel, target in targets():
            subject = others.get(target["refId"])
            if subject and (name, panel["id"], target["refId"]) in SILENT:
                expr = filled(target["expr"], name, subject)
                assert answering.query(expr, instant=target["instant"]), panel["title"]

    @pytest.mark.parametrize(
        ("number", "ref", "expected"),
        [
            (1, "unseen", 1),
            (1, "outdated", 0),
            (2, "count", 2),
            (3, "count", 4),
            (4, "count", 2),
            (6, "count", 1),
            (7, "count", 4),
            (11, "count", 1),
        ],
    )
    def test_counts_are_right(self, answering: Asked, number: int, ref: str, expected: int) -> None:
        """With two replicas, each key and account is counted once."""
        assert self.count(answering, number, ref) == expected

    def count(self, answering: Asked, number: int, ref: str) -> float:
        (expr,) = (
            target["expr"]
            for name, panel, target in targets()
            if (name, panel["id"], target["refId"]) == ("fleet", number, ref)
        )
        (result,) = answering.query(filled(expr, "fleet"))
        return float(result["value"][1])

    def test_counts_say_what_they_miss(self, answering: Asked) -> None:
        """A count carries of how many accounts it is."""
        (expr,) = (
            target["expr"]
            for name, panel, target in targets()
            if (name, panel["id"]) == ("fleet", 3)
        )
        (result,) = answering.query(filled(expr, "fleet"))

        assert result["metric"] == {"seen": "3", "all": "4"}

    def test_no_account_seen_is_no_zero(self, answering: Asked) -> None:
        """Where not a single account is seen, there is no number."""
        for name, panel, target in targets():
            if name == "fleet" and panel["id"] in (2, 3, 4, 5, 6, 9, 10, 11):
                expr = target["expr"].replace("$account_id", demo.CLOSED)
                assert not answering.query(filled(expr, name)), panel["title"]

    def test_team_is_optional(self, answering: Asked) -> None:
        """All teams includes users without one, and a team narrows the count."""
        (expr,) = (
            target["expr"]
            for name, panel, target in targets()
            if (name, panel["id"]) == ("fleet", 9)
        )
        every = float(answering.query(filled(expr, "fleet"))[0]["value"][1])
        batch = expr.replace("$team", "batch")
        some = float(answering.query(filled(batch, "fleet"))[0]["value"][1])

        assert (some, every > some) == (12, True)
