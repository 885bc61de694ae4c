"""
The alert rules: each alert fires when it should, once, and at no other time.

The builders in `tests.rules.scenarios` say what the exporter exports; promtool evaluates the
shipped rules over it.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.metrics import FAMILIES
from tests.rules.alerts_table import BEGIN, END, README, alerts_table, threshold
from tests.rules.files import ALERTS, FILES, PROMETHEUS, ROOT, RUNBOOKS, THRESHOLDS, rules
from tests.rules.promtool import scenario
from tests.rules.scenarios import (
    DAY,
    HOUR,
    MINUTE,
    STEP,
    Scenario,
    Series,
    Uses,
    Value,
    exporter,
    key,
    of_instance,
    with_gap,
)
from tests.servers import find

BLOB = "https://github.com/aws-iam-key-exporter/aws-iam-key-exporter/blob/main"

DASHBOARDS = "http://127.0.0.1:3000"

UNUSED = "AwsIamAccessKeyUnused"
NEVER_USED = "AwsIamAccessKeyNeverUsed"
NOT_ROTATED = "AwsIamAccessKeyNotRotated"
NOT_DELETED = "AwsIamAccessKeyInactiveNotDeleted"
SAFE_TO_DELETE = "AwsIamAccessKeySafeToDelete"
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
API_ERRORS = "AwsIamExporterApiErrors"
THROTTLED = "AwsIamExporterThrottled"
SLOW = "AwsIamExporterRefreshSlow"
REPORT_UNUSABLE = "AwsIamExporterReportUnusable"

# All scenarios are evaluated in one batch, by the first test that needs one: pytest-xdist must not
# distribute them over its workers, and that test may take long.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("promtool"), pytest.mark.timeout(600)]


# -- files -------------------------------------------------------------------------------------

SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Silence or exempt"]


def runbook(name: str) -> str:
    return (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")


def test_promtool_accepts_the_rules() -> None:
    """Prometheus can load every file."""
    run = subprocess.run([find("promtool"), "check", "rules", *FILES], check=False)

    assert run.returncode == 0


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    """There is exactly one runbook per alert."""
    assert {file.stem for file in RUNBOOKS.iterdir()} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_runbook_has_its_sections(name: str) -> None:
    """Every runbook has the same sections in the same order, and commands for a shell."""
    lines = runbook(name).splitlines()

    assert lines[0] == f"# {name}"
    assert [line[3:] for line in lines if line.startswith("## ")] == SECTIONS
    assert any(line.lstrip().startswith(("aws ", "curl ")) for line in lines)


@pytest.mark.parametrize("name", ALERTS)
def test_runbook_names_the_threshold_of_its_alert(name: str) -> None:
    """A runbook names its alert's threshold, which may have been changed, but not its value."""
    named = set(re.findall(r"\w+_threshold_\w+", runbook(name)))
    used = threshold(ALERTS[name])

    assert named == ({used[0]} if used else set())


@pytest.mark.parametrize("name", ALERTS)
def test_alert_is_complete(name: str) -> None:
    """Every alert has a severity, a summary, a description, a runbook and a dashboard."""
    rule = ALERTS[name]
    annotations = rule["annotations"]

    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(annotations) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in annotations["summary"]
    assert annotations["runbook_url"] == f"{BLOB}/deploy/prometheus/runbooks/{name}.md"
    assert annotations["dashboard_url"].startswith(f"{DASHBOARDS}/d/aws-iam-keys-")


@pytest.mark.process
def test_the_documented_command_changes_every_dashboard_url(tmp_path: Path) -> None:
    """The command of the README replaces Grafana's address wherever it is in the rules."""
    shutil.copytree(ROOT / "deploy" / "prometheus" / "rules", tmp_path / "rules")
    command = re.search(r"^ +(sed -i .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None

    subprocess.run(["bash", "-c", command.group(1)], check=True, cwd=tmp_path)

    texts = [file.read_text(encoding="utf-8") for file in (tmp_path / "rules").iterdir()]
    assert sum(text.count("https://grafana.example.com/d/") for text in texts) == len(ALERTS)
    assert DASHBOARDS not in "".join(texts)


def test_rules_and_runbooks_name_only_metrics_that_exist() -> None:
    """Every metric that a rule or a runbook names is exported, or recorded by a rule."""
    exported = {family.name for family in FAMILIES}
    recorded = {rule["record"] for rule in rules("record")}
    texts = [rule["expr"] for rule in (*rules("record"), *rules("alert"))]
    texts += map(runbook, ALERTS)

    named = {name for text in texts for name in re.findall(r"\baws_iam[_:][a-z_:]+", text)}

    assert named - exported - recorded == set()


def test_every_recorded_metric_is_used() -> None:
    """No rule records a metric that no other rule uses."""
    recorded = [rule["record"] for rule in rules("record")]
    texts = " ".join(rule["expr"] for rule in (*rules("record"), *rules("alert")))

    assert [name for name in recorded if not re.search(rf"{name}(?![a-z_:])", texts)] == []


def test_only_exporter_down_names_the_job() -> None:
    """All other rules select by metric name, so that they work whatever the job is called."""
    naming = [rule["alert"] for rule in rules("alert") if "aws-iam-key-exporter" in rule["expr"]]

    assert naming == [DOWN]


def test_readme_lists_the_alerts() -> None:
    """The README's table is what `python -m tests.rules.alerts_table` makes of the rules."""
    table = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]

    assert table == alerts_table()


def test_alerts_default_to_the_shipped_thresholds() -> None:
    """If a threshold is missing, its alert uses the shipped value; each threshold is used."""
    (group,) = yaml.safe_load(THRESHOLDS.read_text(encoding="utf-8"))["groups"]
    thresholds = {rule["record"]: rule["expr"] for rule in group["rules"]}
    pattern = (
        r"on \(\) group_left \(\) "
        r"\(last_over_time\((aws_iam:\w+)\[1h\]\) or on \(\) (vector\(.+?\))\)"
    )
    texts = [rule["expr"] for rule in rules("alert")]

    defaults = {found for text in texts for found in re.findall(pattern, text)}

    assert defaults == set(thresholds.items())
    assert sum(len(re.findall(r"aws_iam:\w+_threshold_", text)) for text in texts) == sum(
        len(re.findall(pattern, text)) for text in texts
    )


def with_unused_threshold(days: int) -> str:
    """Return the text of thresholds.yaml with another threshold for unused keys."""
    text = THRESHOLDS.read_text(encoding="utf-8")
    line = 'unused_threshold_days", expr: vector({})'
    assert line.format(90) in text
    return text.replace(line.format(90), line.format(days))


@pytest.mark.parametrize(("days", "alerts"), [(50, []), (20, [UNUSED])])
@scenario
def test_changed_threshold_is_used(days: int, alerts: list[str]) -> Scenario:
    """An alert uses the threshold in the file."""
    return Scenario(
        exporter() | key(last_used=-40 * DAY),
        {0: alerts, DAY: alerts},
        thresholds=with_unused_threshold(days),
    )


@scenario
def test_missing_thresholds_are_as_shipped() -> Scenario:
    """Without thresholds.yaml the alerts fire as they do with it."""
    return Scenario(
        exporter(last_success=[(STEP, 0), (DAY, STEP)])
        | key(last_used=-89 * DAY)
        | key("AKIA2", user="grace", last_used=-91 * DAY),
        {HOUR: [UNUSED], 2 * HOUR: [UNUSED, STALE]},
        thresholds=None,
    )


@scenario
def test_threshold_keeps_its_value_for_an_hour() -> Scenario:
    """Nothing fires while a threshold is not yet recorded after a restart of Prometheus."""
    recorded: Series = {"aws_iam:unused_threshold_days": [(DAY, 500.0), (HOUR, None)]}
    return Scenario(
        exporter() | recorded | key(last_used=-100 * DAY),
        {DAY: [], DAY + 2 * STEP: [], DAY + HOUR: [UNUSED]},
        thresholds=None,
    )


def test_annotations() -> None:
    """An alert says which key, since when, what to do, and where to look."""
    file = ROOT / "tests" / "rules" / "annotations.yaml"

    run = subprocess.run(
        [find("promtool"), "test", "rules", file],
        check=False,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stdout + run.stderr


# -- Alertmanager ------------------------------------------------------------------------------

ALERTMANAGER = PROMETHEUS / "alertmanager.yml"


def test_amtool_accepts_the_example() -> None:
    """Alertmanager can load the example."""
    run = subprocess.run([find("amtool"), "check-config", ALERTMANAGER], check=False)

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
    """Critical and info alerts are routed by severity, all others by team."""
    file = f"--config.file={ALERTMANAGER}"
    command = [find("amtool"), "config", "routes", "test", file, f"--verify.receivers={receiver}"]

    run = subprocess.run([*command, *labels.split()], check=False, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr


def test_inhibit_rules_name_alerts_that_exist() -> None:
    """Every inhibit rule has source alerts and target alerts, and no alert is both."""
    for rule in yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))["inhibit_rules"]:
        sources, targets = (
            {name for name in ALERTS if all(matches(name, matcher) for matcher in rule[side])}
            for side in ("source_matchers", "target_matchers")
        )

        assert sources
        assert targets
        assert not sources & targets


def matches(name: str, matcher: str) -> bool:
    """Return whether an alert of this name fits *matcher*, which is about the name."""
    label, operator, text = re.fullmatch(r"(\w+) (=~|!=|=) (.+)", matcher).groups()  # type: ignore[union-attr]
    assert label == "alertname"
    if operator == "=~":
        return re.fullmatch(text.strip('"'), name) is not None
    return (name == text) == (operator == "=")


# -- hygiene -----------------------------------------------------------------------------------


@scenario
def test_unused_fires_past_its_threshold_and_not_before() -> Scenario:
    """A key is unused from the first evaluation at which its last use is over 90 days ago."""
    return Scenario(
        exporter() | key(last_used=-89 * DAY),
        {DAY - HOUR: [], DAY: [], DAY + HOUR: [UNUSED], 3 * DAY: [UNUSED]},
        step=HOUR,
    )


@scenario
def test_unused_resolves_when_the_key_is_used() -> Scenario:
    """A key that is used again is no longer unused; that it was dormant is another alert."""
    return Scenario(
        exporter() | key(last_used=[(DAY, -100 * DAY), (9 * DAY, DAY)]),
        {DAY - STEP: [UNUSED], DAY + STEP: [AWAKENED]},
    )


@scenario
def test_unused_resolves_at_once_when_the_key_is_deactivated() -> Scenario:
    """An inactive key is not unused, even if the previous pod last exported it as active."""
    after: list[tuple[int, float | None]] = [(DAY, None)]
    return Scenario(
        exporter()
        | key(last_used=[(DAY, -100 * DAY)], active=[(DAY, 1)])
        | key(
            instance="b",
            created=[*after, (DAY, 0)],
            last_used=[*after, (DAY, -100 * DAY)],
            active=[*after, (DAY, 0)],
        ),
        {DAY - STEP: [UNUSED], DAY + STEP: []},
    )


@scenario
def test_findings_resolve_at_once_when_the_key_is_deleted() -> Scenario:
    """A key that is missing from an account that is up no longer has findings."""
    return Scenario(
        exporter() | with_gap(key(last_used=-100 * DAY), DAY, 59 * DAY),
        {DAY - STEP: [UNUSED], DAY + STEP: []},
    )


@scenario
def test_never_used_fires_past_its_threshold_and_not_before() -> Scenario:
    """A new key has 30 days to be used for the first time."""
    return Scenario(
        exporter() | key(created=-29 * DAY, never_used=1),
        {DAY: [], DAY + STEP: [NEVER_USED]},
    )


@scenario
def test_never_used_resolves_when_one_replica_knows_of_a_use() -> Scenario:
    """A key has never been used only if no replica knows of a use."""
    return Scenario(
        exporter()
        | key(created=-40 * DAY, never_used=1)
        | key(instance="b", created=-40 * DAY, last_used=-20 * DAY),
        {DAY: []},
    )


@pytest.mark.parametrize("never_used", [None, 0])
@scenario
def test_unknown_is_neither_unused_nor_never_used(never_used: int | None) -> Scenario:
    """A key whose last use is unknown has no finding about its use, however old it is."""
    return Scenario(
        exporter()
        | key(created=-400 * DAY, never_used=never_used)
        | key("AKIA2", user="grace", created=-400 * DAY, never_used=never_used, active=0),
        {HOUR: [f"{NOT_ROTATED} AKIA1"], 40 * DAY: [f"{NOT_ROTATED} AKIA1"]},
        by=("access_key_id",),
        step=HOUR,
    )


@scenario
def test_not_rotated_fires_past_its_threshold_and_not_before() -> Scenario:
    """A key should be rotated once it is more than 90 days old, however much it is used."""
    return Scenario(
        exporter() | key(created=-89 * DAY, last_used=0), {DAY: [], DAY + STEP: [NOT_ROTATED]}
    )


@scenario
def test_inactive_key_need_not_be_rotated() -> Scenario:
    """A key that cannot be used need not be rotated."""
    return Scenario(exporter() | key(created=-100 * DAY, last_used=-DAY, active=0), {DAY: []})


@scenario
def test_old_key_may_be_unused_as_well() -> Scenario:
    """An old key that is no longer used has a finding about its age and one about its use."""
    return Scenario(
        exporter() | key(created=-400 * DAY, last_used=-100 * DAY), {DAY: [UNUSED, NOT_ROTATED]}
    )


@pytest.mark.parametrize("never", [False, True])
@scenario
def test_inactive_key_should_be_deleted_past_the_threshold(never: bool) -> Scenario:
    """An inactive key's threshold counts from its last use or, if never used, its creation."""
    since = -89 * DAY
    inactive = (
        key(created=since, never_used=1, active=0) if never else key(last_used=since, active=0)
    )
    return Scenario(exporter() | inactive, {DAY: [], DAY + STEP: [NOT_DELETED]})


@scenario
def test_inactive_key_counts_from_its_deactivation() -> Scenario:
    """Once deactivated, a dormant key has no finding for 90 days, whatever gaps there are."""
    dormant = key(last_used=-100 * DAY, active=[(2 * DAY, 1), (100 * DAY, 0)])
    return Scenario(
        with_gap(exporter() | dormant, 10 * DAY, 3 * DAY, 100 * DAY),
        {3 * DAY: [], 20 * DAY: [], 91 * DAY: [], 92 * DAY: [NOT_DELETED]},
        step=6 * HOUR,
    )


@scenario
def test_deactivation_during_an_outage_counts_from_when_the_key_was_last_seen_active() -> Scenario:
    """A dormant key that was deactivated during an outage has no finding after it."""
    dormant = key(last_used=-100 * DAY, active=[(3 * DAY, 1), (57 * DAY, 0)])
    return Scenario(
        with_gap(exporter() | dormant, 2 * DAY, 3 * DAY),
        {2 * DAY - HOUR: [UNUSED], 5 * DAY: [], 20 * DAY: []},
        step=HOUR,
    )


@scenario
def test_not_deleted_resolves_when_the_key_is_activated() -> Scenario:
    """A key that is active again need not be deleted as inactive; it is unused."""
    return Scenario(
        exporter() | key(last_used=-100 * DAY, active=[(DAY, 0), (DAY, 1)]),
        {DAY - STEP: [NOT_DELETED], DAY + STEP: [UNUSED]},
    )


@scenario
def test_safe_to_delete_is_the_unused_key_of_two() -> Scenario:
    """A key is safe to delete if it was idle for 30 days when the user's other key was used."""
    return Scenario(
        exporter()
        | key("AKIA1", last_used=-29 * DAY)
        | key("AKIA2", last_used=[(DAY + HOUR, 0), (DAY, DAY + HOUR)]),
        {DAY: [], DAY + HOUR: [f"{SAFE_TO_DELETE} AKIA1"]},
        by=("access_key_id",),
        step=HOUR,
    )


@scenario
def test_safe_to_delete_does_not_flap() -> Scenario:
    """The finding persists while the other key is used every ten days."""
    every_ten_days = [(10 * DAY, float(at)) for at in range(0, 40 * DAY, 10 * DAY)]
    return Scenario(
        exporter() | key("AKIA1", last_used=-40 * DAY) | key("AKIA2", last_used=every_ten_days),
        {at: [SAFE_TO_DELETE] for at in range(HOUR, 30 * DAY, 6 * HOUR)},
        step=HOUR,
    )


@scenario
def test_safe_to_delete_may_be_a_key_that_was_never_used() -> Scenario:
    """The second key of a rotation that was not completed has never been used."""
    return Scenario(
        exporter() | key("AKIA1", created=-40 * DAY, never_used=1) | key("AKIA2", last_used=0),
        {DAY: [f"{SAFE_TO_DELETE} AKIA1", f"{NEVER_USED} AKIA1"]},
        by=("access_key_id",),
    )


@pytest.mark.parametrize(
    "other",
    [
        key("AKIA2", user="grace", last_used=0),
        key("AKIA2", last_used=0, active=0),
        key("AKIA2", last_used=-11 * DAY),
        key("AKIA2"),
    ],
    ids=["of another user", "inactive", "not used later", "of unknown use"],
)
@scenario
def test_key_is_not_safe_to_delete_without_another_in_use(other: Series) -> Scenario:
    """The user needs another key that is active and was used 30 days later."""
    return Scenario(exporter() | key("AKIA1", last_used=-40 * DAY) | other, {DAY: []})


@scenario
def test_safe_to_delete_resolves_when_the_key_is_used() -> Scenario:
    """Two keys in use are both needed."""
    return Scenario(
        exporter()
        | key("AKIA1", last_used=[(DAY, -40 * DAY), (DAY, DAY)])
        | key("AKIA2", last_used=0),
        {DAY - STEP: [SAFE_TO_DELETE], DAY + STEP: []},
    )


# -- security ----------------------------------------------------------------------------------


@scenario
def test_awakened_fires_for_a_day() -> Scenario:
    """The use of a key that was dormant for more than 90 days fires at once, and for a day."""
    return Scenario(
        exporter() | key(last_used=[(10 * DAY, -85 * DAY), (50 * DAY, 10 * DAY)]),
        {
            10 * DAY - HOUR: [UNUSED],
            10 * DAY: [AWAKENED],
            11 * DAY - HOUR: [AWAKENED],
            11 * DAY + 2 * HOUR: [],
            12 * DAY: [],
        },
        step=HOUR,
    )


@scenario
def test_key_that_was_idle_for_less_is_not_awakened() -> Scenario:
    """A key that was idle for an hour less than 90 days was not dormant."""
    return Scenario(
        exporter() | key(last_used=[(10 * DAY, -80 * DAY), (50 * DAY, 10 * DAY - HOUR)]),
        {10 * DAY: [], 10 * DAY + HOUR: [], 11 * DAY: []},
        step=HOUR,
    )


@scenario
def test_awakened_fires_once_however_often_the_key_is_used() -> Scenario:
    """A dormant key that stays in use fires for the first day only."""
    hourly = [(HOUR, 10.0 * DAY + at) for at in range(0, 30 * DAY, HOUR)]
    return Scenario(
        exporter() | key(last_used=[(10 * DAY, -100 * DAY), *hourly]),
        {10 * DAY + 20 * HOUR: [AWAKENED], 12 * DAY: [], 20 * DAY: [], 30 * DAY: []},
        step=HOUR,
    )


@scenario
def test_awakened_fires_without_a_day_of_history() -> Scenario:
    """A dormant key that is used an hour after Prometheus was started is noticed."""
    return Scenario(
        exporter() | key(last_used=[(HOUR, -300 * DAY), (DAY, HOUR)]),
        {HOUR - STEP: [UNUSED], HOUR: [AWAKENED], 20 * HOUR: [AWAKENED]},
    )


@scenario
def test_key_first_seen_is_not_awakened() -> Scenario:
    """A key that is seen for the first time was not dormant, however recent its last use is."""
    return Scenario(
        exporter() | with_gap(key(last_used=3 * DAY), 0, 3 * DAY),
        {3 * DAY: [], 4 * DAY: [], 5 * DAY: []},
        step=HOUR,
    )


@scenario
def test_awakened_is_noticed_after_an_outage() -> Scenario:
    """The use of a dormant key during an outage of three days fires for a day after it."""
    dormant = key(last_used=[(10 * DAY, -100 * DAY), (50 * DAY, 10 * DAY)])
    return Scenario(
        with_gap(exporter() | dormant, 9 * DAY, 3 * DAY),
        {12 * DAY: [AWAKENED], 13 * DAY - HOUR: [AWAKENED], 13 * DAY + 2 * HOUR: []},
        step=HOUR,
    )


@scenario
def test_gap_does_not_resolve_awakened() -> Scenario:
    """An alert that fires for a day keeps firing through a gap in that day."""
    used = 2 * DAY
    dormant = key(last_used=[(used, -100 * DAY), (DAY, used)])
    return Scenario(
        exporter(account_up=[(used + HOUR, 1), (45 * MINUTE, None), (DAY, 1)])
        | with_gap(dormant, used + HOUR, 45 * MINUTE),
        every_step([AWAKENED], used, used + 4 * HOUR),
    )


@scenario
def test_first_use_fires_for_a_day() -> Scenario:
    """The first use of a key created more than 30 days ago fires for a day."""
    return Scenario(
        exporter()
        | key(
            created=-25 * DAY,
            last_used=[(10 * DAY, None), (50 * DAY, 10 * DAY)],
            never_used=[(10 * DAY, 1), (50 * DAY, 0)],
        ),
        {
            10 * DAY - HOUR: [NEVER_USED],
            10 * DAY: [FIRST_USE],
            11 * DAY - HOUR: [FIRST_USE],
            11 * DAY + 2 * HOUR: [],
        },
        step=HOUR,
    )


@scenario
def test_first_use_of_a_new_key_does_not_fire() -> Scenario:
    """A key used within 30 days of its creation is used as intended."""
    return Scenario(
        exporter()
        | key(
            created=-20 * DAY,
            last_used=[(9 * DAY, None), (50 * DAY, 9 * DAY)],
            never_used=[(9 * DAY, 1), (50 * DAY, 0)],
        ),
        {9 * DAY: [], 10 * DAY: []},
        step=HOUR,
    )


@scenario
def test_first_use_requires_that_the_key_was_known_to_be_never_used() -> Scenario:
    """A last use that was unknown before is not a first use, however old the key is."""
    return Scenario(
        exporter()
        | key(
            created=-40 * DAY,
            last_used=[(DAY, None), (9 * DAY, DAY)],
            never_used=[(DAY, None), (DAY, 0)],
        ),
        {DAY: [], 2 * DAY: []},
    )


def elsewhere(service: str, region: str, after: int = 10 * DAY) -> Uses:
    """Return the uses of a key that is used for an hour elsewhere than for s3 in eu-west-1."""
    return {
        ("s3", "eu-west-1"): [(after, 1), (HOUR, None), (50 * DAY, 1)],
        (service, region): [(after, None), (HOUR, 1), (50 * DAY, None)],
    }


NEW_PLACES = pytest.mark.parametrize(
    ("service", "region", "alert"),
    [("s3", "us-east-1", NEW_REGION), ("ec2", "eu-west-1", NEW_SERVICE)],
)


@NEW_PLACES
@scenario
def test_new_region_or_service_fires_for_a_day(service: str, region: str, alert: str) -> Scenario:
    """A use elsewhere fires for a day, even if the next use is where the key was used before."""
    return Scenario(
        exporter() | key(last_used=0, uses=elsewhere(service, region)),
        {
            10 * DAY - HOUR: [],
            10 * DAY: [alert],
            10 * DAY + 2 * HOUR: [alert],
            11 * DAY - HOUR: [alert],
            11 * DAY + 3 * HOUR: [],
            12 * DAY: [],
        },
        step=HOUR,
    )


@pytest.mark.parametrize(("service", "region"), [("iam", "N/A"), ("N/A", "N/A")])
@scenario
def test_not_applicable_is_no_region_and_no_service(service: str, region: str) -> Scenario:
    """AWS's N/A is neither a new region nor a new service."""
    return Scenario(
        exporter() | key(last_used=0, uses=elsewhere(service, region)),
        {10 * DAY: [] if service == "N/A" else [NEW_SERVICE]},
        step=HOUR,
    )


@scenario
def test_region_and_service_of_long_ago_are_not_new() -> Scenario:
    """A use where the key was used before is not new, even if the samples are out of retention."""
    twice: list[tuple[int, float | None]] = [
        *[(2 * DAY, None), (HOUR, 1)],
        *[(33 * DAY, None), (HOUR, 1), (DAY, None)],
    ]
    used = key(last_used=0, uses={("s3", "eu-west-1"): 1, ("ec2", "eu-west-2"): twice})
    return Scenario(
        with_gap(exporter() | used, 20 * DAY, 6 * DAY),
        {26 * DAY: [], 35 * DAY + HOUR: [], 36 * DAY: []},
        step=HOUR,
    )


def test_no_rule_needs_more_than_the_default_retention() -> None:
    """No rule looks back more than 14 days; Prometheus keeps 15 days by default."""
    for rule in (*rules("record"), *rules("alert")):
        for window, offset in re.findall(r"\[(\w+)\](?: offset (\w+))?", rule["expr"]):
            assert days(window) + days(offset or "0d") <= 14


def days(duration: str) -> float:
    return int(duration[:-1]) * {"m": 1 / 1440, "h": 1 / 24, "d": 1}[duration[-1]]


@scenario
def test_regions_and_services_of_a_new_key_are_learned_for_a_week() -> Scenario:
    """Nothing is new for a key that has been monitored for less than a week."""
    return Scenario(
        exporter() | key(last_used=0, uses=elsewhere("ec2", "us-east-1", 6 * DAY)),
        {6 * DAY: [], 7 * DAY - HOUR: []},
        step=HOUR,
    )


@scenario
def test_root_access_key_fires_until_it_is_deleted() -> Scenario:
    """An access key of the root user fires at once, through a gap, and until it is deleted."""
    return Scenario(
        exporter(root_keys=[(DAY, 1), (2 * STEP, None), (DAY, 1), (DAY, 0)]),
        {STEP: [ROOT_KEY], DAY + STEP: [ROOT_KEY], 2 * DAY + HOUR: []},
    )


def root_last_used(credential: str, at: Value) -> Series:
    name = (
        'aws_iam_account_root_last_used_timestamp_seconds{job="aws-iam-key-exporter",'
        f'account_id="111111111111",account="prod",credential="{credential}"}}'
    )
    return {name: at}


@scenario
def test_root_used_fires_for_a_day() -> Scenario:
    """A use of the root user fires for the day that follows it, for each credential."""
    return Scenario(
        exporter()
        | root_last_used("password", [(DAY, -50 * DAY), (9 * DAY, DAY - HOUR)])
        | root_last_used("access_key", -2 * DAY),
        {DAY - HOUR: [], DAY: [ROOT_USED], 2 * DAY - HOUR: [ROOT_USED], 2 * DAY + 2 * HOUR: []},
        step=HOUR,
    )


@pytest.mark.parametrize("outage", [0, 2 * DAY])
@scenario
def test_root_use_that_is_noticed_late_fires_for_a_day(outage: int) -> Scenario:
    """A use that is noticed 30 hours later fires once, for a day, even after an outage."""
    noticed = 4 * DAY
    used = root_last_used("password", [(noticed, -50 * DAY), (9 * DAY, noticed - 30 * HOUR)])
    return Scenario(
        with_gap(exporter() | used, noticed - outage, outage),
        {noticed - outage - HOUR: []}
        | {at: [ROOT_USED] for at in range(noticed, noticed + DAY, HOUR)}
        | {at: [] for at in range(noticed + DAY + 2 * HOUR, noticed + 5 * DAY, HOUR)},
        step=HOUR,
    )


@scenario
def test_root_use_of_long_ago_does_not_fire() -> Scenario:
    """An account that is new to the exporter has no alert about a use of long ago."""
    return Scenario(
        exporter() | root_last_used("password", [(DAY, None), (9 * DAY, -5 * DAY)]),
        {DAY: [], DAY + HOUR: [], 3 * DAY: []},
        step=HOUR,
    )


# -- exporter ----------------------------------------------------------------------------------


@pytest.mark.parametrize("up", [[(HOUR, 1), (DAY, 0)], [(HOUR, 1)]], ids=["0", "absent"])
@scenario
def test_exporter_down_fires_after_15_minutes(up: Value) -> Scenario:
    """An exporter that cannot be scraped, or is no longer a target, is down."""
    return Scenario(exporter(up=up), {HOUR: [], HOUR + STEP: [DOWN], 2 * HOUR: [DOWN]})


@scenario
def test_one_replica_is_enough() -> Scenario:
    """The exporter is not down while one replica can be scraped."""
    return Scenario(exporter(up=0) | exporter("b"), {HOUR: [], DAY: []})


@scenario
def test_exporter_down_resolves() -> Scenario:
    """The exporter is up again with its first scrape."""
    return Scenario(exporter(up=[(HOUR, 0), (DAY, 1)]), {HOUR - STEP: [DOWN], HOUR: []})


@scenario
def test_account_down_fires_after_30_minutes() -> Scenario:
    """An account is down once its refreshes have failed for 30 minutes."""
    return Scenario(
        exporter(account_up=[(DAY, 1), (9 * DAY, 0)], last_success=[(10 * DAY, DAY)]),
        {DAY + STEP: [], DAY + HOUR: [ACCOUNT_DOWN], 3 * DAY: [ACCOUNT_DOWN]},
    )


@scenario
def test_account_down_resolves() -> Scenario:
    """An account is up again with its first successful refresh."""
    return Scenario(
        exporter(account_up=[(DAY, 0), (DAY, 1)]), {DAY - STEP: [ACCOUNT_DOWN], DAY: []}
    )


@scenario
def test_account_is_up_if_one_replica_can_refresh_it() -> Scenario:
    """An account is not down while one replica refreshes it."""
    return Scenario(exporter(account_up=0) | exporter("b"), {DAY: []})


@scenario
def test_account_that_was_never_refreshed_is_only_down() -> Scenario:
    """A role that never worked is one alert, not two."""
    return Scenario(exporter(account_up=0, last_success=0), {DAY: [ACCOUNT_DOWN]})


@scenario
def test_account_stale_fires_without_refreshes() -> Scenario:
    """An account that counts as up, but was not refreshed for three intervals, is stale."""
    return Scenario(exporter(last_success=[(STEP, 0), (DAY, STEP)]), {HOUR: [], 2 * HOUR: [STALE]})


@scenario
def test_long_refreshes_are_not_stale() -> Scenario:
    """A large account whose refreshes take 45 minutes is not stale, but slow."""
    hourly = [(HOUR, at) for at in range(0, DAY, HOUR)]
    return Scenario(exporter(last_success=hourly, duration=45 * MINUTE), {DAY - HOUR: [SLOW]})


@scenario
def test_accounts_missing_fires() -> Scenario:
    """An account that is configured but not exported is missing."""
    return Scenario(
        exporter(configured=[(DAY, 1), (DAY, 2), (DAY, 1)]),
        {DAY: [], DAY + HOUR: [MISSING], 2 * DAY - STEP: [MISSING], 2 * DAY + 2 * HOUR: []},
    )


@scenario
def test_accounts_of_replicas_count_once() -> Scenario:
    """Two replicas with the same account have one account configured."""
    return Scenario(exporter() | exporter("b"), {DAY: []})


def requests(errors: float, code: str = "InternalFailure") -> Series:
    """Return the counters of an operation of which *errors* in 100 requests fail."""
    labels = 'job="aws-iam-key-exporter",instance="a",operation="ListUsers"'
    steps = range(DAY // STEP)
    return {
        f"aws_iam_exporter_api_requests_total{{{labels}}}": [(STEP, 100.0 * n) for n in steps],
        f'aws_iam_exporter_api_request_errors_total{{{labels},code="{code}"}}': [
            (STEP, errors * n) for n in steps
        ],
    }


@pytest.mark.parametrize(("errors", "alerts"), [(4, []), (6, [API_ERRORS])])
@scenario
def test_api_errors_fires_above_five_percent(errors: int, alerts: list[str]) -> Scenario:
    """Failing requests fire above 5 %."""
    return Scenario(exporter() | requests(errors), {2 * HOUR: alerts})


@pytest.mark.parametrize("code", ["AccessDenied", "Throttling", "ReportNotPresent"])
@scenario
def test_api_errors_excludes_what_other_alerts_cover(code: str) -> Scenario:
    """A denial brings the account down, throttling has its alert, a missing report is normal."""
    return Scenario(exporter() | requests(50, code), {2 * HOUR: []})


@pytest.mark.parametrize(("throttles", "alerts"), [(14, []), (16, [THROTTLED])])
@scenario
def test_throttled_fires_above_one_per_minute(throttles: int, alerts: list[str]) -> Scenario:
    """More than one throttled request per minute fires after an hour."""
    name = (
        'aws_iam_exporter_account_throttles_total{job="aws-iam-key-exporter",instance="a",'
        'account_id="111111111111",account="prod"}'
    )
    return Scenario(
        exporter() | {name: [(STEP, float(throttles * n)) for n in range(100)]},
        {HOUR: [], 4 * HOUR: alerts},
    )


@pytest.mark.parametrize(("minutes", "alerts"), [(15, []), (16, [SLOW])])
@scenario
def test_refresh_slow_fires_above_the_interval(minutes: int, alerts: list[str]) -> Scenario:
    """A refresh is slow if it takes longer than the interval."""
    return Scenario(exporter(duration=minutes * MINUTE), {STEP: [], 2 * HOUR: alerts})


@scenario
def test_report_unusable_fires_after_six_hours() -> Scenario:
    """A report has six hours to become usable; the first usable one resolves the alert."""
    return Scenario(
        exporter(report_usable=[(DAY, 0), (DAY, 1)]),
        {5 * HOUR: [], 7 * HOUR: [REPORT_UNUSABLE], DAY + STEP: []},
    )


@scenario
def test_account_that_uses_no_report_has_no_alert() -> Scenario:
    """If credential reports are off, there is no series and no alert."""
    return Scenario(exporter(report_usable=[(STEP, None)]), {DAY: []})


# -- robustness --------------------------------------------------------------------------------

FINDINGS = (
    key("AKIA1", user="unused", last_used=-100 * DAY)
    | key("AKIA2", user="never", created=-40 * DAY, never_used=1)
    | key("AKIA3", user="inactive", last_used=-100 * DAY, active=0)
    | key("AKIA4", user="both", last_used=-40 * DAY)
    | key("AKIA5", user="both", last_used=DAY)
)
"""Keys with findings, and the key in use that makes the other safe to delete."""

FOUND = [UNUSED, NEVER_USED, NOT_DELETED, SAFE_TO_DELETE]


def every_step(alerts: list[str], start: int, end: int) -> dict[int, list[str]]:
    return dict.fromkeys(range(start, end, STEP), alerts)


@scenario
def test_two_replicas_give_one_alert() -> Scenario:
    """What two replicas both export is one finding."""
    return Scenario(
        exporter() | exporter("b") | FINDINGS | of_instance(FINDINGS, "b"), {DAY: FOUND}
    )


@scenario
def test_gap_neither_resolves_nor_fires() -> Scenario:
    """45 minutes without a scrape change nothing."""
    return Scenario(
        with_gap(exporter() | FINDINGS, DAY, 45 * MINUTE),
        every_step(FOUND, DAY - HOUR, DAY) | every_step(FOUND, DAY + HOUR, DAY + 3 * HOUR),
    )


@scenario
def test_findings_persist_during_a_gap() -> Scenario:
    """While nothing is scraped the findings persist, and the exporter is down."""
    return Scenario(
        with_gap(exporter() | FINDINGS, DAY, 45 * MINUTE),
        {DAY: FOUND, DAY + 2 * STEP: [*FOUND, DOWN]},
    )


@scenario
def test_restart_neither_resolves_nor_fires() -> Scenario:
    """A new pod without data until its first refresh changes nothing."""
    refreshed = DAY + 30 * MINUTE
    new_pod = with_gap(of_instance(FINDINGS, "b"), 0, refreshed) | exporter(
        "b",
        up=[(DAY, None), (DAY, 1)],
        account_up=[(DAY, None), (30 * MINUTE, 0), (DAY, 1)],
        last_success=[(DAY, None), (30 * MINUTE, 0), (DAY, refreshed)],
    )
    return Scenario(
        with_gap(exporter() | FINDINGS, DAY, 59 * DAY) | new_pod,
        every_step(FOUND, DAY - HOUR, DAY + 2 * HOUR),
    )


@scenario
def test_change_of_service_and_region_restarts_nothing() -> Scenario:
    """A key that is used elsewhere keeps its finding, which is about the key."""
    moves: Uses = {
        ("s3", "eu-west-1"): [(DAY, 1), (DAY, None)],
        ("ec2", "us-east-1"): [(DAY, None), (DAY, 1)],
    }
    return Scenario(
        exporter() | key(last_used=-100 * DAY, uses=moves),
        every_step([UNUSED], DAY - HOUR, DAY + HOUR),
    )


@scenario
def test_findings_of_an_account_that_is_down_persist() -> Scenario:
    """An account whose role broke keeps its findings, and has one more alert."""
    down = exporter(account_up=[(2 * DAY, 1), (6 * DAY, 0)], last_success=[(20 * DAY, 2 * DAY)])
    return Scenario(down | FINDINGS, {7 * DAY: [*FOUND, ACCOUNT_DOWN]}, step=HOUR)


@scenario
def test_account_that_is_down_gets_no_new_findings() -> Scenario:
    """A key whose account could not be refreshed since its 89th idle day is not called unused."""
    down = exporter(account_up=[(DAY, 1), (9 * DAY, 0)], last_success=[(10 * DAY, DAY)])
    return Scenario(down | key(last_used=-88 * DAY), {6 * DAY: [ACCOUNT_DOWN]}, step=HOUR)


@scenario
def test_account_with_partial_refreshes_gets_findings_late() -> Scenario:
    """One denied user does not delay the findings of others by more than a week."""
    return Scenario(
        exporter(account_up=0, last_success=0) | key(last_used=-88 * DAY),
        {9 * DAY: [ACCOUNT_DOWN], 9 * DAY + HOUR: [ACCOUNT_DOWN, UNUSED]},
        step=HOUR,
    )


@scenario
def test_exemption_lasts_until_its_date() -> Scenario:
    """A key that is exempt has no findings until the date, and has them from then on."""
    return Scenario(
        exporter() | key(created=-400 * DAY, last_used=-100 * DAY, exempt_until=2 * DAY),
        {DAY: [], 2 * DAY - STEP: [], 2 * DAY: [UNUSED, NOT_ROTATED]},
    )


@pytest.mark.parametrize(
    ("exempt", "alert"),
    [
        (key(last_used=[(DAY, -100 * DAY), (DAY, DAY)], exempt_until=99 * DAY), AWAKENED),
        (
            key(
                created=-40 * DAY,
                last_used=[(DAY, None), (DAY, DAY)],
                never_used=[(DAY, 1), (DAY, 0)],
                exempt_until=99 * DAY,
            ),
            FIRST_USE,
        ),
    ],
    ids=["awakened", "first use"],
)
@scenario
def test_exemption_does_not_cover_use(exempt: Series, alert: str) -> Scenario:
    """A key that is exempt has no findings, but its use after a long inactivity fires."""
    return Scenario(exporter() | exempt, {DAY - STEP: [], DAY: [alert], 2 * DAY - HOUR: [alert]})


@NEW_PLACES
@scenario
def test_exemption_does_not_cover_use_elsewhere(service: str, region: str, alert: str) -> Scenario:
    """The use of a key that is exempt in a new region or for a new service fires."""
    return Scenario(
        exporter() | key(last_used=0, uses=elsewhere(service, region), exempt_until=99 * DAY),
        {10 * DAY - HOUR: [], 10 * DAY: [alert]},
        step=HOUR,
    )


@scenario
def test_removed_exemption_ends_at_once() -> Scenario:
    """A key whose exemption was removed has its findings again."""
    return Scenario(
        exporter() | key(last_used=-100 * DAY, exempt_until=[(DAY, 99 * DAY), (DAY, None)]),
        {DAY - STEP: [], DAY: [UNUSED]},
    )


@scenario
def test_alert_has_the_tags_to_route_by() -> Scenario:
    """Team and owner are labels of the alert if they are exported."""
    tags = {"tag_team": "data", "tag_owner": "ada"}
    return Scenario(
        exporter() | key(last_used=-100 * DAY, tags=tags),
        {DAY: [f"{UNUSED} data ada"]},
        by=("tag_team", "tag_owner"),
    )


@scenario
def test_key_without_tags_has_its_alert() -> Scenario:
    """If tags are not exported, the alert fires without them."""
    return Scenario(
        exporter() | key(last_used=-100 * DAY) | key("AKIA2", last_used=-100 * DAY, tags={}),
        {DAY: [f"{UNUSED} AKIA1", f"{UNUSED} AKIA2"]},
        by=("access_key_id",),
    )


@scenario
def test_replicas_with_different_tags_give_one_alert() -> Scenario:
    """While only one of two replicas has read a new tag, the key has one owner."""
    return Scenario(
        exporter()
        | key(last_used=-100 * DAY, tags={"tag_team": "data"})
        | exporter("b")
        | key(instance="b", last_used=-100 * DAY, tags={"tag_team": "web"}),
        every_step([UNUSED], DAY, DAY + 2 * HOUR),
    )


@scenario
def test_changed_tag_moves_the_alert_without_a_gap() -> Scenario:
    """A key that is handed over to another team always has exactly one alert."""
    exported = key(last_used=-100 * DAY, tags={"tag_team": "data"})
    info = next(name for name in exported if name.startswith("aws_iam_access_key_info"))
    changed: Series = {
        info: [(DAY, 1)],
        info.replace("data", "web"): [(DAY, None), (DAY, 1)],
    }
    return Scenario(
        exporter() | exported | changed, every_step([UNUSED], DAY - HOUR, DAY + 2 * HOUR)
    )


@scenario
def test_new_key_has_no_findings() -> Scenario:
    """A key that was just created has no findings, whether it was used or not."""
    return Scenario(
        exporter() | key(created=0, never_used=1) | key("AKIA2", created=0, last_used=0),
        {STEP: [], DAY: []},
    )
