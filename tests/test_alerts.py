"""
The alert rules: each fires when it should, once, and never otherwise.

`tests.rules` makes what the exporter would tell; promtool evaluates the shipped files over it.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.metrics import FAMILIES
from tests.rules import (
    DAY,
    FILES,
    HOUR,
    MINUTE,
    STEP,
    THRESHOLDS,
    Series,
    Uses,
    Value,
    check,
    exporter,
    gaps,
    key,
)
from tests.servers import find

BLOB = "https://github.com/aws-iam-key-exporter/aws-iam-key-exporter/blob/main"

UNUSED = "AwsIamAccessKeyUnused"
NEVER_USED = "AwsIamAccessKeyNeverUsed"
NOT_ROTATED = "AwsIamAccessKeyNotRotated"
KEPT = "AwsIamAccessKeyInactiveNotDeleted"
SAFE = "AwsIamAccessKeySafeToDelete"
AWAKENED = "AwsIamAccessKeyAwakened"
FIRST_USE = "AwsIamAccessKeyFirstUse"
NEW_REGION = "AwsIamAccessKeyNewRegion"
NEW_SERVICE = "AwsIamAccessKeyNewService"
ROOT_KEY = "AwsIamRootAccessKeyPresent"
ROOT_USED = "AwsIamRootUsed"
DOWN = "AwsIamExporterDown"
ACCOUNT_DOWN = "AwsIamExporterAccountDown"
STALE = "AwsIamExporterAccountStale"
MISSING = "AwsIamExporterAccountsMissing"
ERRORS = "AwsIamExporterApiErrors"
THROTTLED = "AwsIamExporterThrottled"
SLOW = "AwsIamExporterRefreshSlow"
REPORT = "AwsIamExporterReportUnusable"


# -- files -------------------------------------------------------------------------------------

FOLDER = Path("deploy/prometheus")
BOOKS = FOLDER / "runbooks"
SECTIONS = ["Meaning", "Why it matters", "Confirm", "Mend", "Silence or exempt"]


def rules(kind: str) -> Iterator[dict[str, Any]]:
    """Give every rule of the shipped files that is of *kind*: alert or record."""
    for file in FILES:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


ALERTS = {rule["alert"]: rule for rule in rules("alert")}


def test_promtool_accepts_the_rules() -> None:
    """Prometheus can load every file."""
    run = subprocess.run([find("promtool"), "check", "rules", *FILES], check=False)

    assert run.returncode == 0


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """There is one page for each alert."""
    assert {file.stem for file in BOOKS.iterdir()} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_runbook_has_its_sections(name: str) -> None:
    """Every page answers the same questions, in the same order, with commands of both worlds."""
    lines = (BOOKS / f"{name}.md").read_text(encoding="utf-8").splitlines()

    assert lines[0] == f"# {name}"
    assert [line[3:] for line in lines if line.startswith("## ")] == SECTIONS
    assert any(line.lstrip().startswith(("aws ", "curl ")) for line in lines)


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_is_to_be_said(name: str) -> None:
    """Every alert has its severity, words, runbook and dashboard."""
    rule = ALERTS[name]
    words = rule["annotations"]

    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(words) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in words["summary"]
    assert words["runbook_url"] == f"{BLOB}/deploy/prometheus/runbooks/{name}.md"
    assert words["dashboard_url"].startswith("/d/aws-iam-keys-")


def test_rules_and_runbooks_name_only_metrics_that_exist() -> None:
    """Every metric that a rule or a runbook names is exported, or recorded by a rule."""
    exported = {family.name for family in FAMILIES}
    recorded = {rule["record"] for rule in rules("record")}
    texts = [rule["expr"] for rule in (*rules("record"), *rules("alert"))]
    texts += [file.read_text(encoding="utf-8") for file in BOOKS.iterdir()]

    named = {name for text in texts for name in re.findall(r"\baws_iam[_:][a-z_:]+", text)}

    assert named - exported - recorded == set()


def test_every_record_is_used() -> None:
    """No rule records what no rule and no page reads."""
    recorded = [rule["record"] for rule in rules("record")]
    texts = " ".join(rule["expr"] for rule in (*rules("record"), *rules("alert")))

    assert [name for name in recorded if not re.search(rf"{name}(?![a-z_:])", texts)] == []


def test_only_the_alert_of_absence_names_the_job() -> None:
    """Rules go by names of metrics, so that they work whatever the job is called."""
    naming = [rule["alert"] for rule in rules("alert") if "aws-iam-key-exporter" in rule["expr"]]

    assert naming == [DOWN]


def test_readme_has_the_limits() -> None:
    """The table of alerts shows limit, duration and severity as the rules have them."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(AwsIam\w+)` \|[^|]*\| ([^|]*) \| ([^|]*) \|$", text, re.M)

    assert {name: (duration, severity) for name, duration, severity in rows} == {
        name: (rule.get("for", "at once"), rule["labels"]["severity"])
        for name, rule in ALERTS.items()
    }


def test_alerts_hold_the_limits_of_the_file_themselves() -> None:
    """Where a limit is missing the alert goes by the number that is shipped, and each is used."""
    (group,) = yaml.safe_load(THRESHOLDS.read_text(encoding="utf-8"))["groups"]
    limits = {rule["record"]: rule["expr"] for rule in group["rules"]}
    pattern = (
        r"on \(\) group_left \(\) "
        r"\(last_over_time\((aws_iam:\w+)\[1h\]\) or on \(\) (vector\(.+?\))\)"
    )
    texts = [rule["expr"] for rule in rules("alert")]

    held = {found for text in texts for found in re.findall(pattern, text)}

    assert held == set(limits.items())
    assert sum(len(re.findall(r"aws_iam:\w+_threshold_", text)) for text in texts) == sum(
        len(re.findall(pattern, text)) for text in texts
    )
    pages = [file.read_text(encoding="utf-8") for file in BOOKS.iterdir()]
    told = {
        found for page in pages for found in re.findall(r"`(\w+_threshold_\w+)`: ([\d.]+)", page)
    }
    assert {(f"aws_iam:{name}", f"vector({limit})") for name, limit in told} == set(limits.items())


@pytest.mark.parametrize(("days", "alerts"), [(50, []), (20, [UNUSED])])
def test_limit_that_is_changed_is_honoured(tmp_path: Path, days: int, alerts: list[str]) -> None:
    """A limit in the file is the limit of the alert."""
    text = THRESHOLDS.read_text(encoding="utf-8")
    mine = tmp_path / "thresholds.yaml"
    line = 'unused_threshold_days", expr: vector({})'
    assert line.format(90) in text
    mine.write_text(text.replace(line.format(90), line.format(days)), encoding="utf-8")
    told = exporter() | key(used=-40 * DAY)

    check(tmp_path, told, {0: alerts, DAY: alerts}, files=[mine, *FILES[1:]])


def test_limits_that_are_missing_are_as_shipped(tmp_path: Path) -> None:
    """Without the file the alerts fire as they do with it."""
    told = exporter(success=[(STEP, 0), (DAY, STEP)]) | key(used=-89 * DAY)
    told |= key("AKIA2", user="grace", used=-91 * DAY)

    check(tmp_path, told, {HOUR: [UNUSED], 2 * HOUR: [UNUSED, STALE]}, files=FILES[1:])


def test_limit_stands_as_it_was_while_it_is_missing(tmp_path: Path) -> None:
    """A restart of Prometheus, after which the rules come in any order, fires nothing."""
    mine = {"aws_iam:unused_threshold_days": [(DAY, 500.0), (HOUR, None)]}
    told = exporter() | mine | key(used=-100 * DAY)

    check(tmp_path, told, {DAY: [], DAY + 2 * STEP: [], DAY + HOUR: [UNUSED]}, files=FILES[1:])


def test_words_of_an_alert(tmp_path: Path) -> None:
    """People are told which key, since when, what to do, and where to look."""
    run = subprocess.run(
        [find("promtool"), "test", "rules", "tests/rules/words.yaml"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stdout + run.stderr


# -- Alertmanager ------------------------------------------------------------------------------


def test_amtool_accepts_the_example() -> None:
    """Alertmanager can load the example."""
    run = subprocess.run([find("amtool"), "check-config", FOLDER / "alertmanager.yml"], check=False)

    assert run.returncode == 0


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=AwsIamAccessKeyAwakened severity=critical tag_team=data", "on-call"),
        ("alertname=AwsIamAccessKeyUnused severity=warning tag_team=data", "data"),
        ("alertname=AwsIamAccessKeyUnused severity=warning tag_team=web", "platform"),
        ("alertname=AwsIamAccessKeyUnused severity=warning", "platform"),
        ("alertname=AwsIamAccessKeyNotRotated severity=info tag_team=data", "digest"),
        ("alertname=AwsIamExporterAccountDown severity=warning", "platform"),
        ("alertname=AwsIamExporterDown severity=critical", "on-call"),
    ],
)
def test_route(labels: str, receiver: str) -> None:
    """An alert goes by its severity, and by its team where nobody has to be woken."""
    file = f"--config.file={FOLDER / 'alertmanager.yml'}"
    command = [find("amtool"), "config", "routes", "test", file, f"--verify.receivers={receiver}"]

    run = subprocess.run([*command, *labels.split()], check=False, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr


def test_inhibitions_name_alerts_that_exist() -> None:
    """Every rule of inhibition has alerts that mute, and others that are muted."""
    text = (FOLDER / "alertmanager.yml").read_text(encoding="utf-8")
    for rule in yaml.safe_load(text)["inhibit_rules"]:
        muting, muted = (
            {name for name in ALERTS if all(matches(name, matcher) for matcher in rule[side])}
            for side in ("source_matchers", "target_matchers")
        )

        assert muting
        assert muted
        assert not muting & muted


def matches(name: str, matcher: str) -> bool:
    """Tell whether an alert of this name fits *matcher*, which is about the name."""
    label, operator, text = re.fullmatch(r"(\w+) (=~|!=|=) (.+)", matcher).groups()  # type: ignore[union-attr]
    assert label == "alertname"
    if operator == "=~":
        return re.fullmatch(text.strip('"'), name) is not None
    return (name == text) == (operator == "=")


# -- hygiene -----------------------------------------------------------------------------------


def test_unused_fires_past_its_limit_and_not_before(tmp_path: Path) -> None:
    """A key is unused once its last use is more than 90 days ago, at its first evaluation."""
    told = exporter() | key(used=-89 * DAY)

    check(
        tmp_path,
        told,
        {DAY - HOUR: [], DAY: [], DAY + HOUR: [UNUSED], 3 * DAY: [UNUSED]},
        step=HOUR,
    )


def test_unused_resolves_when_the_key_is_used(tmp_path: Path) -> None:
    """A key that is used again is not unused any more; that it woke up is another alert."""
    told = exporter() | key(used=[(DAY, -100 * DAY), (9 * DAY, DAY)])

    check(tmp_path, told, {DAY - STEP: [UNUSED], DAY + STEP: [AWAKENED]})


def test_unused_resolves_at_once_when_the_key_is_deactivated(tmp_path: Path) -> None:
    """An inactive key is not unused, even where the former pod last told that it was active."""
    told = exporter()
    told |= key(used=[(DAY, -100 * DAY)], active=[(DAY, 1)])
    after = [(DAY, None)]
    told |= key(
        instance="b",
        created=[*after, (DAY, -400 * DAY)],
        used=[*after, (DAY, -100 * DAY)],
        active=[*after, (DAY, 0)],
    )

    check(tmp_path, told, {DAY - STEP: [UNUSED], DAY + STEP: []})


def test_findings_resolve_at_once_when_the_key_is_deleted(tmp_path: Path) -> None:
    """A key that is gone from an account that is up has no findings any more."""
    told = exporter() | gaps(key(used=-100 * DAY), DAY, 59 * DAY)

    check(tmp_path, told, {DAY - STEP: [UNUSED], DAY + STEP: []})


def test_never_used_fires_past_its_limit_and_not_before(tmp_path: Path) -> None:
    """A new key has 30 days to be used for the first time."""
    told = exporter() | key(created=-29 * DAY, never_used=1)

    check(tmp_path, told, {DAY: [], DAY + STEP: [NEVER_USED]})


def test_never_used_resolves_when_one_replica_knows_of_a_use(tmp_path: Path) -> None:
    """A key is never used only if no replica knows of a use."""
    told = exporter() | key(created=-40 * DAY, never_used=1)
    told |= key(instance="b", created=-40 * DAY, used=-20 * DAY)

    check(tmp_path, told, {DAY: []})


@pytest.mark.parametrize("never_used", [None, 0])
def test_unknown_is_neither_unused_nor_never_used(tmp_path: Path, never_used: int | None) -> None:
    """A key of unknown last use has no finding about its use, however old it is."""
    told = exporter() | key(never_used=never_used)
    told |= key("AKIA2", user="grace", never_used=never_used, active=0)

    check(tmp_path, told, {HOUR: [], 40 * DAY: []}, step=HOUR)


def test_not_rotated_fires_past_its_limit_and_not_before(tmp_path: Path) -> None:
    """A key is to be rotated once it is more than 90 days old, however much it is used."""
    told = exporter() | key(created=-89 * DAY, used=0)

    check(tmp_path, told, {DAY: [], DAY + STEP: [NOT_ROTATED]}, ignored="")


def test_inactive_key_is_not_to_be_rotated(tmp_path: Path) -> None:
    """A key that cannot be used need not be rotated."""
    told = exporter() | key(created=-100 * DAY, used=-1 * DAY, active=0)

    check(tmp_path, told, {DAY: []}, ignored="")


@pytest.mark.parametrize("never", [False, True])
def test_inactive_key_is_to_be_deleted_after_its_limit(tmp_path: Path, never: bool) -> None:
    """An inactive key's limit counts from its last use, else from its creation."""
    since = -89 * DAY
    told = exporter() | (
        key(created=since, never_used=1, active=0) if never else key(used=since, active=0)
    )

    check(tmp_path, told, {DAY: [], DAY + STEP: [KEPT]})


def test_inactive_key_counts_from_when_it_was_deactivated(tmp_path: Path) -> None:
    """Who deactivates a dormant key is left alone for the limit, whatever is seen meanwhile."""
    told = exporter() | key(used=-100 * DAY, active=[(2 * DAY, 1), (100 * DAY, 0)])
    told = gaps(told, 10 * DAY, 3 * DAY, 100 * DAY)

    check(
        tmp_path,
        told,
        {3 * DAY: [], 20 * DAY: [], 91 * DAY: [], 92 * DAY: [KEPT]},
        step=6 * HOUR,
    )


def test_deactivation_that_nobody_saw_counts_from_when_the_key_was_seen_active(
    tmp_path: Path,
) -> None:
    """A dormant key that was deactivated in an outage is left alone all the same."""
    told = exporter() | key(used=-100 * DAY, active=[(3 * DAY, 1), (57 * DAY, 0)])
    told = gaps(told, 2 * DAY, 3 * DAY)

    check(tmp_path, told, {2 * DAY - HOUR: [UNUSED], 5 * DAY: [], 20 * DAY: []}, step=HOUR)


def test_kept_resolves_when_the_key_is_activated(tmp_path: Path) -> None:
    """A key that is active again is not kept inactive; it is unused."""
    told = exporter() | key(used=-100 * DAY, active=[(DAY, 0), (DAY, 1)])

    check(tmp_path, told, {DAY - STEP: [KEPT], DAY + STEP: [UNUSED]})


def test_safe_to_delete_is_the_silent_key_of_two(tmp_path: Path) -> None:
    """Of two active keys the one can go that was silent for 30 days when the other was used."""
    told = exporter() | key("AKIA1", used=-29 * DAY)
    told |= key("AKIA2", used=[(DAY + HOUR, 0), (DAY, DAY + HOUR)])

    check(
        tmp_path,
        told,
        {DAY: [], DAY + HOUR: [f"{SAFE} AKIA1"]},
        by=("access_key_id",),
        step=HOUR,
    )


def test_safe_to_delete_does_not_come_and_go_with_each_use(tmp_path: Path) -> None:
    """The finding stands all along while the other key is used every ten days."""
    weekly = [(10 * DAY, float(at)) for at in range(0, 40 * DAY, 10 * DAY)]
    told = exporter() | key("AKIA1", used=-40 * DAY) | key("AKIA2", used=weekly)

    check(tmp_path, told, {at: [SAFE] for at in range(HOUR, 30 * DAY, 6 * HOUR)}, step=HOUR)


def test_safe_to_delete_may_be_a_key_that_was_never_used(tmp_path: Path) -> None:
    """The second key of a rotation that nobody finished was never used."""
    told = exporter() | key("AKIA1", created=-40 * DAY, never_used=1) | key("AKIA2", used=0)

    check(tmp_path, told, {DAY: [f"{SAFE} AKIA1", f"{NEVER_USED} AKIA1"]}, by=("access_key_id",))


@pytest.mark.parametrize(
    "other",
    [
        key("AKIA2", user="grace", used=0),
        key("AKIA2", used=0, active=0),
        key("AKIA2", used=-11 * DAY),
        key("AKIA2"),
    ],
    ids=["of another user", "inactive", "not used after", "of unknown use"],
)
def test_key_is_not_safe_to_delete_without_a_live_one(tmp_path: Path, other: Series) -> None:
    """A silent key's user needs another key that is active and was used 30 days later."""
    told = exporter() | key("AKIA1", used=-40 * DAY) | other

    check(tmp_path, told, {DAY: []})


def test_safe_to_delete_resolves_when_the_silent_key_is_used(tmp_path: Path) -> None:
    """Two keys in use are both needed."""
    told = exporter() | key("AKIA1", used=[(DAY, -40 * DAY), (DAY, DAY)]) | key("AKIA2", used=0)

    check(tmp_path, told, {DAY - STEP: [SAFE], DAY + STEP: []})


# -- security ----------------------------------------------------------------------------------


def test_awakened_fires_for_a_day(tmp_path: Path) -> None:
    """A key that was dormant for more than 90 days and is used fires at once, and for a day."""
    told = exporter() | key(used=[(10 * DAY, -85 * DAY), (50 * DAY, 10 * DAY)])

    check(
        tmp_path,
        told,
        {
            10 * DAY - HOUR: [UNUSED],
            10 * DAY: [AWAKENED],
            11 * DAY - HOUR: [AWAKENED],
            11 * DAY + 2 * HOUR: [],
            12 * DAY: [],
        },
        step=HOUR,
    )


def test_key_that_slept_less_is_not_awakened(tmp_path: Path) -> None:
    """A key that was idle for 90 days less an hour was not dormant."""
    told = exporter() | key(used=[(10 * DAY, -80 * DAY), (50 * DAY, 10 * DAY - HOUR)])

    check(tmp_path, told, {10 * DAY: [], 10 * DAY + HOUR: [], 11 * DAY: []}, step=HOUR)


def test_awakened_fires_once_however_often_the_key_is_used(tmp_path: Path) -> None:
    """A key that goes on being used after it woke up fires for the first day only."""
    uses = [(HOUR, 10.0 * DAY + at) for at in range(0, 30 * DAY, HOUR)]
    told = exporter() | key(used=[(10 * DAY, -100 * DAY), *uses])

    check(
        tmp_path,
        told,
        {10 * DAY + 20 * HOUR: [AWAKENED], 12 * DAY: [], 20 * DAY: [], 30 * DAY: []},
        step=HOUR,
    )


def test_awakened_fires_without_a_day_of_history(tmp_path: Path) -> None:
    """A key that wakes up an hour after Prometheus began to look is noticed."""
    told = exporter() | key(used=[(HOUR, -300 * DAY), (DAY, HOUR)])

    check(tmp_path, told, {HOUR - STEP: [UNUSED], HOUR: [AWAKENED], 20 * HOUR: [AWAKENED]})


def test_key_first_seen_is_not_awakened(tmp_path: Path) -> None:
    """What is seen for the first time has not moved, however recent its use is."""
    told = exporter() | gaps(key(used=3 * DAY), 0, 3 * DAY)

    check(tmp_path, told, {3 * DAY: [], 4 * DAY: [], 5 * DAY: []}, step=HOUR)


def test_awakened_is_noticed_after_an_outage(tmp_path: Path) -> None:
    """A key that woke up while Prometheus saw nothing for three days fires when it is seen."""
    told = exporter() | key(used=[(10 * DAY, -100 * DAY), (50 * DAY, 10 * DAY)])
    told = gaps(told, 9 * DAY, 3 * DAY)

    check(
        tmp_path,
        told,
        {12 * DAY: [AWAKENED], 13 * DAY - HOUR: [AWAKENED], 13 * DAY + 2 * HOUR: []},
        step=HOUR,
    )


def test_gap_does_not_resolve_awakened(tmp_path: Path) -> None:
    """An alert that holds for a day holds through a gap in that day."""
    woke = 2 * DAY
    told = exporter() | gaps(key(used=[(woke, -100 * DAY), (DAY, woke)]), woke + HOUR, 45 * MINUTE)
    told |= exporter(account_up=[(woke + HOUR, 1), (45 * MINUTE, None), (DAY, 1)])

    check(tmp_path, told, all_along([AWAKENED], woke, woke + 4 * HOUR))


def test_first_use_fires_for_a_day(tmp_path: Path) -> None:
    """A key made more than 30 days ago and used for the first time fires for a day."""
    told = exporter() | key(
        created=-25 * DAY,
        used=[(10 * DAY, None), (50 * DAY, 10 * DAY)],
        never_used=[(10 * DAY, 1), (50 * DAY, 0)],
    )

    check(
        tmp_path,
        told,
        {
            10 * DAY - HOUR: [NEVER_USED],
            10 * DAY: [FIRST_USE],
            11 * DAY - HOUR: [FIRST_USE],
            11 * DAY + 2 * HOUR: [],
        },
        step=HOUR,
    )


def test_first_use_of_a_new_key_is_no_news(tmp_path: Path) -> None:
    """A key used within 30 days of its creation does what it was made for."""
    told = exporter() | key(
        created=-20 * DAY,
        used=[(9 * DAY, None), (50 * DAY, 9 * DAY)],
        never_used=[(9 * DAY, 1), (50 * DAY, 0)],
    )

    check(tmp_path, told, {9 * DAY: [], 10 * DAY: []}, step=HOUR)


def test_first_use_needs_to_know_that_the_key_was_never_used(tmp_path: Path) -> None:
    """A last use that was unknown before is not a first use."""
    told = exporter() | key(used=[(DAY, None), (9 * DAY, DAY)], never_used=[(DAY, None), (DAY, 0)])

    check(tmp_path, told, {DAY: [], 2 * DAY: []})


def uses_of(service: str, region: str, before: int = 10 * DAY) -> Uses:
    """Make the uses of a key that was used for s3 in eu-west-1, then twice elsewhere."""
    return {
        ("s3", "eu-west-1"): [(before, 1), (HOUR, None), (50 * DAY, 1)],
        (service, region): [(before, None), (HOUR, 1), (50 * DAY, None)],
    }


@pytest.mark.parametrize(
    ("service", "region", "alert"),
    [("s3", "us-east-1", NEW_REGION), ("ec2", "eu-west-1", NEW_SERVICE)],
)
def test_new_place_fires_for_a_day(tmp_path: Path, service: str, region: str, alert: str) -> None:
    """A use elsewhere fires for a day, even if the next use is an old place again."""
    told = exporter() | key(used=0, uses=uses_of(service, region))

    check(
        tmp_path,
        told,
        {
            10 * DAY - HOUR: [],
            10 * DAY: [alert],
            10 * DAY + HOUR + HOUR: [alert],
            11 * DAY - HOUR: [alert],
            11 * DAY + 3 * HOUR: [],
            12 * DAY: [],
        },
        step=HOUR,
    )


@pytest.mark.parametrize(("service", "region"), [("iam", "N/A"), ("N/A", "N/A")])
def test_not_applicable_is_no_region_and_no_service(
    tmp_path: Path, service: str, region: str
) -> None:
    """AWS's N/A is neither a new region nor a new service."""
    told = exporter() | key(used=0, uses=uses_of(service, region))

    check(tmp_path, told, {10 * DAY: [] if service == "N/A" else [NEW_SERVICE]}, step=HOUR)


def test_place_of_long_ago_is_not_new(tmp_path: Path) -> None:
    """A use where the key was used once is not new, though Prometheus has forgotten the samples."""
    elsewhere = [(2 * DAY, None), (HOUR, 1), (33 * DAY, None), (HOUR, 1), (DAY, None)]
    told = exporter() | key(used=0, uses={("s3", "eu-west-1"): 1, ("ec2", "eu-west-2"): elsewhere})
    told = gaps(told, 20 * DAY, 6 * DAY)

    check(tmp_path, told, {26 * DAY: [], 35 * DAY + HOUR: [], 36 * DAY: []}, step=HOUR)


def test_no_rule_needs_more_than_the_default_retention() -> None:
    """No rule looks back further than a fortnight; Prometheus keeps 15 days by default."""
    for rule in (*rules("record"), *rules("alert")):
        for window, offset in re.findall(r"\[(\w+)\](?: offset (\w+))?", rule["expr"]):
            assert days(window) + days(offset or "0d") <= 14


def days(duration: str) -> float:
    return int(duration[:-1]) * {"m": 1 / 1440, "h": 1 / 24, "d": 1}[duration[-1]]


def test_places_of_a_new_key_are_learned_for_a_week(tmp_path: Path) -> None:
    """Nothing is new for a key that has been watched for less than a week."""
    told = exporter() | key(used=0, uses=uses_of("ec2", "us-east-1", 6 * DAY))

    check(tmp_path, told, {6 * DAY: [], 7 * DAY - HOUR: []}, step=HOUR)


def test_root_access_key_fires_until_it_is_gone(tmp_path: Path) -> None:
    """An access key of the root user fires at once, through a gap, and until it is deleted."""
    told = exporter(root_keys=[(DAY, 1), (2 * STEP, None), (DAY, 1), (DAY, 0)])

    check(tmp_path, told, {STEP: [ROOT_KEY], DAY + STEP: [ROOT_KEY], 2 * DAY + HOUR: []})


ROOT = (
    'aws_iam_account_root_last_used_timestamp_seconds{job="aws-iam-key-exporter",'
    'account_id="111111111111",account="prod",credential="%s"}'
)


def test_root_use_fires_for_a_day(tmp_path: Path) -> None:
    """A use of the root user fires for the day that follows it, for each credential."""
    told = exporter() | {ROOT % "password": [(DAY, -50 * DAY), (9 * DAY, DAY - HOUR)]}
    told |= {ROOT % "access_key": -2 * DAY}

    check(
        tmp_path,
        told,
        {DAY - HOUR: [], DAY: [ROOT_USED], 2 * DAY - HOUR: [ROOT_USED], 2 * DAY + 2 * HOUR: []},
        step=HOUR,
    )


@pytest.mark.parametrize("outage", [0, 2 * DAY])
def test_root_use_that_is_learned_late_fires_for_a_day(tmp_path: Path, outage: int) -> None:
    """A use that was learned 30 hours later is told of for a day, once, also across an outage."""
    learned = 4 * DAY
    told = exporter() | {ROOT % "password": [(learned, -50 * DAY), (9 * DAY, learned - 30 * HOUR)]}
    told = gaps(told, learned - outage, outage)

    check(
        tmp_path,
        told,
        {learned - outage - HOUR: []}
        | {at: [ROOT_USED] for at in range(learned, learned + DAY, HOUR)}
        | {at: [] for at in range(learned + DAY + 2 * HOUR, learned + 5 * DAY, HOUR)},
        step=HOUR,
    )


def test_root_use_of_long_ago_is_no_news(tmp_path: Path) -> None:
    """An account that is new to the exporter has no alert about what was long ago."""
    told = exporter() | {ROOT % "password": [(DAY, None), (9 * DAY, -5 * DAY)]}

    check(tmp_path, told, {DAY: [], DAY + HOUR: [], 3 * DAY: []}, step=HOUR)


# -- exporter ----------------------------------------------------------------------------------


@pytest.mark.parametrize("up", [[(HOUR, 1), (DAY, 0)], [(HOUR, 1)]], ids=["0", "absent"])
def test_exporter_down_fires_after_a_quarter_of_an_hour(tmp_path: Path, up: Value) -> None:
    """An exporter that cannot be scraped, or is no target any more, is down."""
    told = exporter(up=up)

    check(tmp_path, told, {HOUR: [], HOUR + STEP: [DOWN], 2 * HOUR: [DOWN]})


def test_one_replica_is_enough(tmp_path: Path) -> None:
    """The exporter is not down while one replica can be scraped."""
    told = exporter(up=0) | exporter("b")

    check(tmp_path, told, {HOUR: [], DAY: []})


def test_exporter_down_recovers(tmp_path: Path) -> None:
    """The exporter is up again at its first scrape."""
    told = exporter(up=[(HOUR, 0), (DAY, 1)])

    check(tmp_path, told, {HOUR - STEP: [DOWN], HOUR: []})


def test_account_down_fires_after_half_an_hour(tmp_path: Path) -> None:
    """An account is down once its readings have failed for half an hour."""
    told = exporter(account_up=[(DAY, 1), (9 * DAY, 0)], success=[(10 * DAY, DAY)])

    check(tmp_path, told, {DAY + STEP: [], DAY + HOUR: [ACCOUNT_DOWN], 3 * DAY: [ACCOUNT_DOWN]})


def test_account_down_recovers(tmp_path: Path) -> None:
    """An account is up again with its first whole reading."""
    told = exporter(account_up=[(DAY, 0), (DAY, 1)])

    check(tmp_path, told, {DAY - STEP: [ACCOUNT_DOWN], DAY: []})


def test_account_is_up_if_one_replica_can_read_it(tmp_path: Path) -> None:
    """An account is not down while one replica reads it."""
    told = exporter(account_up=0) | exporter("b")

    check(tmp_path, told, {DAY: []})


def test_account_that_was_never_read_is_down_alone(tmp_path: Path) -> None:
    """A role that never worked is one alert, not two."""
    told = exporter(account_up=0, success=0)

    check(tmp_path, told, {DAY: [ACCOUNT_DOWN]})


def test_account_stale_fires_when_no_reading_comes(tmp_path: Path) -> None:
    """An account that counts as up, but was not read for three turns, is stale."""
    told = exporter(success=[(STEP, 0), (DAY, STEP)])

    check(tmp_path, told, {HOUR: [], 2 * HOUR: [STALE]})


def test_long_readings_are_not_stale(tmp_path: Path) -> None:
    """A large account that is read for 45 minutes at a time is not stale, but slow."""
    success = [(HOUR, at) for at in range(0, DAY, HOUR)]
    told = exporter(success=success, duration=45 * MINUTE)

    check(tmp_path, told, {DAY - HOUR: [SLOW]})


def test_accounts_missing_fires(tmp_path: Path) -> None:
    """An account that is configured, and of which nothing is told, is missing."""
    told = exporter(configured=[(DAY, 1), (DAY, 2), (DAY, 1)])

    check(
        tmp_path,
        told,
        {DAY: [], DAY + HOUR: [MISSING], 2 * DAY - STEP: [MISSING], 2 * DAY + 2 * HOUR: []},
    )


def test_accounts_of_replicas_count_once(tmp_path: Path) -> None:
    """Two replicas with the same account are to read one account."""
    told = exporter() | exporter("b")

    check(tmp_path, told, {DAY: []})


def counters(errors: float, code: str = "InternalFailure") -> Series:
    """Make the counters of an operation with *errors* of 100 requests in a quarter of an hour."""
    labels = 'job="aws-iam-key-exporter",instance="a",operation="ListUsers"'
    steps = range(0, DAY // STEP)
    return {
        f"aws_iam_exporter_api_requests_total{{{labels}}}": [(STEP, 100.0 * n) for n in steps],
        f'aws_iam_exporter_api_request_errors_total{{{labels},code="{code}"}}': [
            (STEP, errors * n) for n in steps
        ],
    }


@pytest.mark.parametrize(("errors", "alerts"), [(4, []), (6, [ERRORS])])
def test_api_errors_fires_above_five_in_a_hundred(
    tmp_path: Path, errors: int, alerts: list[str]
) -> None:
    """Requests that fail are told above 5 %."""
    check(tmp_path, exporter() | counters(errors), {2 * HOUR: alerts})


@pytest.mark.parametrize("code", ["AccessDenied", "Throttling", "ReportNotPresent"])
def test_errors_with_an_alert_of_their_own_are_no_api_errors(tmp_path: Path, code: str) -> None:
    """Denials bring an account down, throttling has its alert, a missing report is ordinary."""
    check(tmp_path, exporter() | counters(50, code), {2 * HOUR: []})


@pytest.mark.parametrize(("throttles", "alerts"), [(14, []), (16, [THROTTLED])])
def test_throttled_fires_above_one_a_minute(
    tmp_path: Path, throttles: int, alerts: list[str]
) -> None:
    """Throttling is told above one refusal a minute, for an hour."""
    name = (
        'aws_iam_exporter_account_throttles_total{job="aws-iam-key-exporter",instance="a",'
        'account_id="111111111111",account="prod"}'
    )
    told = exporter() | {name: [(STEP, float(throttles * n)) for n in range(100)]}

    check(tmp_path, told, {HOUR: [], 4 * HOUR: alerts})


@pytest.mark.parametrize(("minutes", "alerts"), [(15, []), (16, [SLOW])])
def test_refresh_slow_fires_above_the_interval(
    tmp_path: Path, minutes: int, alerts: list[str]
) -> None:
    """A reading is slow if it takes longer than the interval."""
    check(tmp_path, exporter(duration=minutes * MINUTE), {STEP: [], 2 * HOUR: alerts})


def test_report_unusable_fires_after_six_hours(tmp_path: Path) -> None:
    """A report has a quarter of a day to become usable, and recovers with the first that is."""
    told = exporter(usable=[(DAY, 0), (DAY, 1)])

    check(tmp_path, told, {5 * HOUR: [], 7 * HOUR: [REPORT], DAY + STEP: []})


def test_account_without_a_report_wanted_has_no_alert(tmp_path: Path) -> None:
    """Where no report is wanted there is no series, and no alert."""
    check(tmp_path, exporter(usable=[(STEP, None)]), {DAY: []})


# -- right by construction -----------------------------------------------------------------------

FINDINGS = (
    key("AKIA1", user="unused", used=-100 * DAY)
    | key("AKIA2", user="never", never_used=1)
    | key("AKIA3", user="kept", used=-100 * DAY, active=0)
    | key("AKIA4", user="both", used=-40 * DAY)
    | key("AKIA5", user="both", used=DAY)
)
"""One key of each finding of hygiene."""

FOUND = [UNUSED, NEVER_USED, KEPT, SAFE]


def of_instance(told: Series, instance: str) -> Series:
    return {name.replace('instance="a"', f'instance="{instance}"'): told[name] for name in told}


def all_along(alerts: list[str], start: int, end: int) -> dict[int, list[str]]:
    return {at: alerts for at in range(start, end, STEP)}


def test_two_replicas_give_one_alert(tmp_path: Path) -> None:
    """What two replicas tell alike is one finding."""
    told = exporter() | exporter("b") | FINDINGS | of_instance(FINDINGS, "b")

    check(tmp_path, told, {DAY: FOUND})


def test_gap_neither_resolves_nor_fires(tmp_path: Path) -> None:
    """Three quarters of an hour without a scrape change nothing."""
    told = gaps(exporter() | FINDINGS, DAY, 45 * MINUTE)

    check(
        tmp_path,
        told,
        all_along(FOUND, DAY - HOUR, DAY) | all_along(FOUND, DAY + HOUR, DAY + 3 * HOUR),
    )


def test_findings_hold_in_the_middle_of_a_gap(tmp_path: Path) -> None:
    """While nothing is scraped the findings stand, and the exporter is down."""
    told = gaps(exporter() | FINDINGS, DAY, 45 * MINUTE)

    check(tmp_path, told, {DAY: FOUND, DAY + 2 * STEP: [*FOUND, DOWN]})


def test_restart_without_memory_neither_resolves_nor_fires(tmp_path: Path) -> None:
    """A new pod that knows nothing until its first reading changes nothing."""
    before = gaps(exporter() | FINDINGS, DAY, 59 * DAY)
    nothing = DAY + 30 * MINUTE
    after = gaps(of_instance(FINDINGS, "b"), 0, nothing)
    after |= exporter(
        "b",
        up=[(DAY, None), (DAY, 1)],
        account_up=[(DAY, None), (30 * MINUTE, 0), (DAY, 1)],
        success=[(DAY, None), (30 * MINUTE, 0), (DAY, nothing)],
    )

    check(tmp_path, before | after, all_along(FOUND, DAY - HOUR, DAY + 2 * HOUR))


def test_changes_of_service_and_region_do_not_restart_anything(tmp_path: Path) -> None:
    """A key that moves between services keeps its finding, which is about the key."""
    moves: Uses = {
        ("s3", "eu-west-1"): [(DAY, 1), (DAY, None)],
        ("ec2", "us-east-1"): [(DAY, None), (DAY, 1)],
    }
    told = exporter() | key(used=-100 * DAY, uses=moves)

    check(tmp_path, told, all_along([UNUSED], DAY - HOUR, DAY + HOUR))


def test_findings_of_an_account_that_is_down_stay(tmp_path: Path) -> None:
    """A broken role keeps its findings, and is one alert besides."""
    told = exporter(account_up=[(2 * DAY, 1), (6 * DAY, 0)], success=[(20 * DAY, 2 * DAY)])

    check(
        tmp_path,
        told | FINDINGS,
        {7 * DAY: [UNUSED, NEVER_USED, KEPT, SAFE, ACCOUNT_DOWN]},
        step=HOUR,
    )


def test_account_that_is_down_gets_no_new_findings(tmp_path: Path) -> None:
    """A key whose account could not be read since its 89th day is not known to be unused."""
    told = exporter(account_up=[(DAY, 1), (9 * DAY, 0)], success=[(10 * DAY, DAY)])
    told |= key(used=-88 * DAY)

    check(tmp_path, told, {6 * DAY: [ACCOUNT_DOWN]}, step=HOUR)


def test_account_that_is_never_read_whole_gets_findings_late(tmp_path: Path) -> None:
    """One user that is denied does not keep the others' findings back for more than a week."""
    told = exporter(account_up=0, success=0) | key(used=-88 * DAY)

    check(
        tmp_path, told, {9 * DAY: [ACCOUNT_DOWN], 9 * DAY + HOUR: [ACCOUNT_DOWN, UNUSED]}, step=HOUR
    )


def test_exemption_holds_until_its_date(tmp_path: Path) -> None:
    """A key that is exempt has no findings until the date, and has them from then on."""
    told = exporter() | key(used=-100 * DAY, exempt_until=2 * DAY)

    check(tmp_path, told, {DAY: [], 2 * DAY - STEP: [], 2 * DAY: [UNUSED]})


@pytest.mark.parametrize(
    ("told", "alert"),
    [
        (key(used=[(DAY, -100 * DAY), (DAY, DAY)], exempt_until=99 * DAY), AWAKENED),
        (
            key(
                used=[(DAY, None), (DAY, DAY)],
                never_used=[(DAY, 1), (DAY, 0)],
                exempt_until=99 * DAY,
            ),
            FIRST_USE,
        ),
    ],
)
def test_exemption_is_no_leave_to_be_used(tmp_path: Path, told: Series, alert: str) -> None:
    """A key that is exempt has no findings, but its use after long silence is told of."""
    check(tmp_path, exporter() | told, {DAY - STEP: [], DAY: [alert], 2 * DAY - HOUR: [alert]})


@pytest.mark.parametrize(
    ("service", "region", "alert"),
    [("s3", "us-east-1", NEW_REGION), ("ec2", "eu-west-1", NEW_SERVICE)],
)
def test_exemption_is_no_leave_to_be_used_elsewhere(
    tmp_path: Path, service: str, region: str, alert: str
) -> None:
    """A key that is exempt is told of where it was not used before."""
    told = exporter() | key(used=0, uses=uses_of(service, region), exempt_until=99 * DAY)

    check(tmp_path, told, {10 * DAY - HOUR: [], 10 * DAY: [alert]}, step=HOUR)


def test_exemption_that_is_taken_back_ends_at_once(tmp_path: Path) -> None:
    """A key whose exemption is gone has its findings again."""
    told = exporter() | key(used=-100 * DAY, exempt_until=[(DAY, 99 * DAY), (DAY, None)])

    check(tmp_path, told, {DAY - STEP: [], DAY: [UNUSED]})


def test_alert_carries_the_tags_to_route_by(tmp_path: Path) -> None:
    """Team and owner are labels of the alert where they are exported."""
    told = exporter() | key(used=-100 * DAY, tags={"tag_team": "data", "tag_owner": "ada"})

    check(tmp_path, told, {DAY: [f"{UNUSED} data ada"]}, by=("tag_team", "tag_owner"))


def test_key_without_information_has_its_alert(tmp_path: Path) -> None:
    """Where tags are not exported the alert comes without them."""
    told = exporter() | key(used=-100 * DAY) | key("AKIA2", used=-100 * DAY, tags={})

    check(tmp_path, told, {DAY: [f"{UNUSED} AKIA1", f"{UNUSED} AKIA2"]}, by=("access_key_id",))


def test_tag_that_replicas_tell_differently_gives_one_alert(tmp_path: Path) -> None:
    """While one replica has read a new tag and the other has not, there is one owner."""
    told = exporter() | key(used=-100 * DAY, tags={"tag_team": "data"})
    told |= exporter("b") | key(instance="b", used=-100 * DAY, tags={"tag_team": "web"})

    check(tmp_path, told, all_along([UNUSED], DAY, DAY + 2 * HOUR))


def test_tag_that_changes_moves_the_alert_without_a_pause(tmp_path: Path) -> None:
    """A key that is given to another team has its one alert all along."""
    told = exporter() | key(used=-100 * DAY, tags={"tag_team": "data"})
    info = next(name for name in told if name.startswith("aws_iam_access_key_info"))
    told |= {info: [(DAY, 1)], info.replace("data", "web"): [(DAY, None), (DAY, 1)]}

    check(tmp_path, told, all_along([UNUSED], DAY - HOUR, DAY + 2 * HOUR))


def test_new_key_has_no_findings(tmp_path: Path) -> None:
    """A key that was just made, used or not, is fine."""
    told = exporter() | key(created=0, never_used=1) | key("AKIA2", created=0, used=0)

    check(tmp_path, told, {STEP: [], DAY: []}, ignored="")
