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
from tests.rules.alerts_table import BEGIN, END, README, alerts_table, limits
from tests.rules.files import ALERTS, EARLY, FILES, PROMETHEUS, ROOT, RULES, RUNBOOKS, rules
from tests.rules.promtool import scenario
from tests.rules.scenarios import (
    DAY,
    EACH_SCRAPE,
    HOUR,
    JOB,
    MINUTE,
    STEP,
    Scenario,
    Series,
    Value,
    event,
    exporter,
    key,
    of_instance,
    shard,
    with_gap,
)
from tests.servers import Release, find

BLOB = "https://github.com/aws-iam-key-exporter/aws-iam-key-exporter/blob/main"

DASHBOARDS = "http://127.0.0.1:3000"

UNUSED = "AwsIamAccessKeyUnused"
NEVER_USED = "AwsIamAccessKeyNeverUsed"
NOT_ROTATED = "AwsIamAccessKeyNotRotated"
NOT_DELETED = "AwsIamAccessKeyInactiveNotDeleted"
SAFE_TO_DELETE = "AwsIamAccessKeySafeToDelete"
TWO_ACTIVE = "AwsIamUserHasTwoActiveKeys"
AWAKENED = "AwsIamAccessKeyAwakened"
FIRST_USE = "AwsIamAccessKeyFirstUse"
NEW_REGION = "AwsIamAccessKeyNewRegion"
NEW_SERVICE = "AwsIamAccessKeyNewService"
CREATED = "AwsIamAccessKeyCreated"
ROOT_KEY = "AwsIamRootAccessKeyPresent"
ROOT_USED = "AwsIamRootUsed"
IDLE = "AwsIamAccessKeyIdle"
ROTATION_DUE = "AwsIamAccessKeyRotationDue"
DOWN = "AwsIamExporterDown"
PART_DOWN = "AwsIamExporterPartDown"
ACCOUNT_DOWN = "AwsIamExporterAccountDown"
STALE = "AwsIamExporterAccountStale"
MISSING = "AwsIamExporterAccountsMissing"
API_ERRORS = "AwsIamExporterApiErrors"
THROTTLED = "AwsIamExporterThrottled"
SLOW = "AwsIamExporterRefreshSlow"
REPORT_UNUSABLE = "AwsIamExporterReportUnusable"
STORE_DOWN = "AwsIamExporterStoreDown"
DISCOVERY_DOWN = "AwsIamExporterDiscoveryDown"
SHARDS_MISSING = "AwsIamExporterShardsMissing"
SHARDS_DISAGREE = "AwsIamExporterShardsDisagree"

EARLY_WARNINGS = {IDLE: UNUSED, ROTATION_DUE: NOT_ROTATED}
"""The optional alerts, and those that they precede."""

HYGIENE = {UNUSED, NEVER_USED, NOT_ROTATED, NOT_DELETED, SAFE_TO_DELETE, TWO_ACTIVE}
HYGIENE |= EARLY_WARNINGS.keys()

# All scenarios are evaluated in one batch, by the first test that needs one: pytest-xdist must not
# distribute them over its workers, and that test may take long.
pytestmark = [pytest.mark.process, pytest.mark.xdist_group("promtool"), pytest.mark.timeout(600)]


# -- files -------------------------------------------------------------------------------------

SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Silence or exempt"]


def runbook(name: str) -> str:
    return (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")


def test_promtool_accepts_the_rules(release: Release) -> None:
    """promtool has no objection to any file."""
    command = [find("promtool", release), "check", "rules", "--lint=all", "--lint-fatal"]

    run = subprocess.run([*command, *FILES, EARLY], check=False)

    assert run.returncode == 0


def test_nothing_is_recorded() -> None:
    """There are alerts in the files, and no recording rules."""
    assert set(RULES.iterdir()) == set(FILES)
    assert set(EARLY.parent.iterdir()) == {EARLY}
    assert list(rules("record")) == []


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
def test_texts_do_not_name_the_limit(name: str) -> None:
    """Neither the texts of an alert nor its runbook name its limit, which may have been changed."""
    meaning = runbook(name).partition("## Impact")[0]
    text = " ".join(ALERTS[name]["annotations"].values()) + meaning

    named = set(re.findall(r"\b(\d+) (?:days|times)", text))

    assert not named & {number for number, _unit in limits(ALERTS[name])}


@pytest.mark.parametrize("name", [name for name in ALERTS if name != DOWN])
def test_missed_scrapes_do_not_resolve_an_alert(name: str) -> None:
    """Findings keep firing for an hour, all other alerts for 15 minutes."""
    assert ALERTS[name]["keep_firing_for"] == ("1h" if name in HYGIENE else "15m")


@pytest.mark.parametrize("name", ALERTS)
def test_each_limit_is_in_one_place(name: str) -> None:
    """Each number that something must exceed is a limit of the README's table, and there once."""
    rule = ALERTS[name]
    code = re.sub(r"#.*", "", rule["expr"])

    numbers = re.findall(r"> (?:on \([\w, ]+\) )?([\d.]+)", code)

    assert [number for number in numbers if number != "0"] == [
        number for number, _unit in limits(rule)
    ]


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
    for file in (*FILES, EARLY):
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / file.parent.name)
    command = re.search(r"^ +(sed -i .*http.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None

    subprocess.run(["bash", "-c", command.group(1)], check=True, cwd=tmp_path)

    texts = [file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.yaml")]
    assert sum(text.count("https://grafana.example.com/d/") for text in texts) == len(ALERTS)
    assert DASHBOARDS not in "".join(texts)


def test_rules_and_runbooks_name_only_metrics_that_exist() -> None:
    """Every metric that a rule or a runbook names is exported."""
    exported = {family.name for family in FAMILIES}
    texts = [*(rule["expr"] for rule in rules("alert")), *map(runbook, ALERTS)]

    named = {name for text in texts for name in re.findall(r"\baws_iam[_:][a-z_:]+", text)}

    assert named - exported == set()


def test_only_alerts_about_targets_name_the_job() -> None:
    """All other rules select by metric name, so that they work whatever the job is called."""
    naming = [rule["alert"] for rule in rules("alert") if "aws-iam-key-exporter" in rule["expr"]]

    assert naming == [DOWN, PART_DOWN]


def test_readme_lists_the_alerts() -> None:
    """The README's table is what `python -m tests.rules.alerts_table` makes of the rules."""
    table = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]

    assert table == alerts_table()


def test_an_early_warning_ends_where_the_later_alert_begins() -> None:
    """The early warnings and the alerts that they precede leave no gap, and do not overlap."""
    for name, later in EARLY_WARNINGS.items():
        ((begin, _),) = limits(ALERTS[name])
        ((limit, _),) = limits(ALERTS[later])

        assert re.findall(r"<= (\d+)  # the limit of (\w+)", ALERTS[name]["expr"]) == [
            (limit, later)
        ]
        assert int(begin) < int(limit)


def documented_command(name: str) -> str:
    """Return the command of the README that changes the limit of an alert."""
    found = re.search(rf"^ +(sed -i .*{name}.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("days", "alerts"), [(40, []), (50, [UNUSED])])
@scenario
def test_the_documented_command_changes_a_limit(days: int, alerts: list[str]) -> Scenario:
    """With the command of the README, a key is unused after 45 days."""
    return Scenario(
        exporter() | key(last_used=-days * DAY),
        {0: alerts, DAY: alerts},
        command=documented_command(UNUSED),
    )


@pytest.mark.parametrize(
    ("days", "alerts"), [(25, []), (40, [IDLE]), (50, [UNUSED]), (80, [UNUSED])]
)
@scenario
def test_the_documented_commands_move_both_limits(days: int, alerts: list[str]) -> Scenario:
    """With both commands of the README, a key is unused after 45 days, and idle from 30 days on."""
    return Scenario(
        exporter() | key(last_used=-days * DAY),
        {0: alerts, DAY: alerts},
        command=f"{documented_command(UNUSED)}\n{documented_command(IDLE)}",
        early=True,
    )


def test_the_documented_command_changes_nothing_else(tmp_path: Path) -> None:
    """The command changes one line."""
    shutil.copytree(RULES, tmp_path / "rules")

    subprocess.run(["bash", "-c", documented_command(UNUSED)], check=True, cwd=tmp_path)

    changed = [
        (before, after)
        for file in FILES
        for before, after in zip(
            file.read_text(encoding="utf-8").splitlines(),
            (tmp_path / "rules" / file.name).read_text(encoding="utf-8").splitlines(),
            strict=True,
        )
        if before != after
    ]
    ((before, after),) = changed
    assert before.replace("> 90", "> 45") == after


def test_annotations(release: Release) -> None:
    """An alert says which key, since when, what to do, and where to look."""
    file = ROOT / "tests" / "rules" / "annotations.yaml"

    run = subprocess.run(
        [find("promtool", release), "test", "rules", file],
        check=False,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stdout + run.stderr


# -- Alertmanager ------------------------------------------------------------------------------

ALERTMANAGER = PROMETHEUS / "alertmanager.yml"
BY_OWNER = PROMETHEUS / "alertmanager-by-owner.yml"
EXAMPLES = (ALERTMANAGER, BY_OWNER)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_amtool_accepts_the_example(example: Path, release: Release) -> None:
    """Alertmanager can load the example."""
    run = subprocess.run([find("amtool", release), "check-config", example], check=False)

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
def test_route(labels: str, receiver: str, release: Release) -> None:
    """Critical and info alerts are routed by severity, all others by team."""
    file = f"--config.file={ALERTMANAGER}"
    command = [find("amtool", release), "config", "routes", "test", file]
    command += [f"--verify.receivers={receiver}"]

    run = subprocess.run([*command, *labels.split()], check=False, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (f"alertname={UNUSED} severity=warning tag_team=data", "team-data"),
        (f"alertname={NOT_ROTATED} severity=info tag_team=web account=data-prod", "team-web"),
        (f"alertname={IDLE} severity=info tag_owner=ada@example.com", "owner"),
        (f"alertname={IDLE} severity=info tag_owner=ada.l-1@example.com", "owner"),
        (f"alertname={UNUSED} severity=warning tag_team=data tag_owner=a@example.com", "team-data"),
        (f"alertname={UNUSED} severity=warning account=data-prod", "team-data"),
        (f"alertname={AWAKENED} severity=critical tag_team=data", "on-call,team-data"),
        (f"alertname={AWAKENED} severity=critical", "on-call"),
        # Nobody's, or somebody's whom a tag cannot name.
        (f"alertname={UNUSED} severity=warning account=prod", "security"),
        (f"alertname={UNUSED} severity=warning tag_team=security-off", "security"),
        (f"alertname={UNUSED} severity=warning tag_team=Data", "security"),
        (f"alertname={UNUSED} severity=warning tag_team=.*", "security"),
        (f"alertname={UNUSED} severity=warning tag_owner=ada", "security"),
        (f"alertname={UNUSED} severity=warning tag_owner=a@example.com.evil.test", "security"),
        (f"alertname={UNUSED} severity=warning tag_owner=a@evil.test,a@example.com", "security"),
        (f"alertname={UNUSED} severity=warning tag_owner=a@exampleXcom", "security"),
        (f"alertname={UNUSED} severity=warning tag_owner=a..b@example.com", "security"),
        # Not about a key, whatever labels there are.
        (f"alertname={ROOT_USED} severity=critical account=data-prod", "on-call,security"),
        (f"alertname={ROOT_KEY} severity=critical tag_team=data", "on-call,security"),
        (f"alertname={DOWN} severity=critical", "on-call,security"),
        (f"alertname={PART_DOWN} severity=critical", "on-call,security"),
        (f"alertname={ACCOUNT_DOWN} severity=warning account=data-prod", "security"),
        (f"alertname={THROTTLED} severity=info account=data-prod", "security"),
    ],
)
def test_route_to_owners(labels: str, receivers: str, release: Release) -> None:
    """A finding has one receiver: its owner if that is known, else security."""
    command = [find("amtool", release), "config", "routes", "test"]
    command += [f"--config.file={BY_OWNER}", f"--verify.receivers={receivers}"]

    run = subprocess.run([*command, *labels.split()], check=False, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout + run.stderr


def test_alerts_that_are_routed_by_tags_do_not_wait() -> None:
    """A tag that changes is another alert: nothing waits, so nothing starts to wait again."""
    waiting = {name for name, rule in ALERTS.items() if "for" in rule and "tag_" in rule["expr"]}

    assert waiting == set()


def test_both_examples_mute_the_same() -> None:
    """The inhibit rules of the two examples are equal."""
    one, other = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in EXAMPLES)

    assert one["inhibit_rules"] == other["inhibit_rules"]


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
def test_idle_fires_before_unused() -> Scenario:
    """A key is idle from 60 days on, until it has been unused for an hour."""
    idle, at_90 = -59 * DAY, 31 * DAY
    return Scenario(
        exporter() | key(last_used=idle),
        {
            DAY: [],
            DAY + HOUR: [IDLE],
            at_90: [IDLE],
            at_90 + HOUR: [IDLE, UNUSED],
            at_90 + 2 * HOUR: [UNUSED],
            at_90 + DAY: [UNUSED],
        },
        step=HOUR,
        early=True,
    )


@scenario
def test_rotation_is_due_before_a_key_is_not_rotated() -> Scenario:
    """The rotation of a key in use is due after 80 days, until the key is not rotated."""
    at_90 = 11 * DAY
    return Scenario(
        exporter() | key(created=-79 * DAY, last_used=EACH_SCRAPE),
        {
            DAY: [],
            DAY + HOUR: [ROTATION_DUE],
            at_90: [ROTATION_DUE],
            at_90 + 2 * HOUR: [NOT_ROTATED],
        },
        step=HOUR,
        early=True,
    )


@scenario
def test_an_early_warning_resolves_when_the_key_is_used_or_replaced() -> Scenario:
    """An idle key that is used, and one due for rotation that is deactivated, resolve."""
    inactive: Value = [(DAY, 1), (9 * DAY, 0)]
    return Scenario(
        exporter()
        | key(last_used=[(DAY, -70 * DAY), (9 * DAY, DAY)])
        | key("AKIA2", user="grace", created=-85 * DAY, last_used=0, active=inactive),
        {DAY - HOUR: [IDLE, ROTATION_DUE], DAY + 2 * HOUR: []},
        step=HOUR,
        early=True,
    )


@scenario
def test_an_exempt_key_has_no_early_warning() -> Scenario:
    """Exemptions suppress early warnings, too."""
    return Scenario(
        exporter() | key(created=-85 * DAY, last_used=-70 * DAY, exempt_until=DAY),
        {DAY - HOUR: [], DAY: [IDLE, ROTATION_DUE]},
        step=HOUR,
        early=True,
    )


@scenario
def test_an_account_that_is_down_gets_no_new_early_warnings() -> Scenario:
    """A key whose account could not be refreshed since its 59th idle day does not become idle."""
    down = exporter(account_up=[(DAY, 1), (9 * DAY, 0)], last_success=[(10 * DAY, DAY)])
    return Scenario(
        down | key(created=-78 * DAY, last_used=-58 * DAY, confirmed=[(10 * DAY, DAY)]),
        {6 * DAY: [ACCOUNT_DOWN]},
        step=HOUR,
        early=True,
    )


@scenario
def test_early_warnings_are_optional() -> Scenario:
    """The shipped configurations have no early warnings."""
    return Scenario(exporter() | key(created=-85 * DAY, last_used=-70 * DAY), {DAY: []})


@scenario
def test_unused_resolves_when_the_key_is_used() -> Scenario:
    """A key that is used again is no longer unused, an hour later."""
    return Scenario(
        exporter() | key(last_used=[(DAY, -100 * DAY), (9 * DAY, DAY)]),
        {DAY - STEP: [UNUSED], DAY + HOUR: []},
    )


@scenario
def test_unused_resolves_when_the_key_is_deactivated() -> Scenario:
    """An inactive key is not unused, even if the previous pod last exported it as active."""
    after: list[tuple[int, float | None]] = [(DAY, None)]
    return Scenario(
        exporter()
        | with_gap(key(last_used=-100 * DAY), DAY, 59 * DAY)
        | key(
            instance="b",
            created=[*after, (DAY, 0)],
            last_used=[*after, (DAY, -100 * DAY)],
            active=[*after, (DAY, 0)],
            inactive_since=[*after, (DAY, DAY)],
        ),
        {DAY - STEP: [UNUSED], DAY + HOUR: []},
    )


@scenario
def test_findings_resolve_when_the_key_is_deleted() -> Scenario:
    """A key that is no longer exported has no findings, an hour later."""
    return Scenario(
        exporter() | with_gap(key(last_used=-100 * DAY), DAY, 59 * DAY),
        {DAY - STEP: [UNUSED], DAY + HOUR: []},
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


@scenario
def test_unknown_has_no_findings() -> Scenario:
    """A key whose last use is unknown has no finding, however old it is: it is not confirmed."""
    return Scenario(
        exporter()
        | key(created=-400 * DAY)
        | key("AKIA2", user="grace", created=-400 * DAY, active=0, inactive_since=-100 * DAY),
        {HOUR: [], 40 * DAY: []},
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
def test_inactive_key_should_be_deleted_once_idle_for_long(never: bool) -> Scenario:
    """An inactive key's idle time counts from its last use or, if never used, its creation."""
    since = -89 * DAY
    inactive = (
        key(created=since, never_used=1, active=0, inactive_since=-50 * DAY)
        if never
        else key(last_used=since, created=since, active=0, inactive_since=-50 * DAY)
    )
    return Scenario(exporter() | inactive, {DAY: [], DAY + STEP: [NOT_DELETED]})


@scenario
def test_deactivated_key_has_two_weeks() -> Scenario:
    """A dormant key that is deactivated has no finding for 14 days, whatever gaps there are."""
    dormant = key(
        last_used=-100 * DAY,
        active=[(2 * DAY, 1), (100 * DAY, 0)],
        inactive_since=[(2 * DAY, None), (100 * DAY, 2 * DAY)],
    )
    return Scenario(
        with_gap(exporter() | dormant, 10 * DAY, 3 * DAY, 30 * DAY),
        {3 * DAY: [], 14 * DAY: [], 16 * DAY: [], 16 * DAY + 6 * HOUR: [NOT_DELETED]},
        step=6 * HOUR,
    )


@scenario
def test_deactivation_during_an_outage_counts_from_when_it_was_seen() -> Scenario:
    """A dormant key that was deactivated during an outage has 14 days from the end of it."""
    dormant = key(
        last_used=-100 * DAY,
        active=[(3 * DAY, 1), (57 * DAY, 0)],
        inactive_since=[(3 * DAY, None), (57 * DAY, 5 * DAY)],
    )
    return Scenario(
        with_gap(exporter() | dormant, 2 * DAY, 3 * DAY),
        {2 * DAY - HOUR: [UNUSED], 5 * DAY: [], 19 * DAY: [], 19 * DAY + HOUR: [NOT_DELETED]},
        step=HOUR,
    )


@scenario
def test_inactive_key_that_nobody_can_confirm_gets_no_finding() -> Scenario:
    """The 14 days do not pass while the account cannot be read."""
    inactive = key(last_used=-100 * DAY, active=0, inactive_since=0, confirmed=[(60 * DAY, DAY)])
    return Scenario(exporter() | inactive, {DAY: [], 30 * DAY: []}, step=HOUR)


@scenario
def test_not_deleted_resolves_when_the_key_is_activated() -> Scenario:
    """A key that is active again need not be deleted as inactive; it is unused."""
    activated = key(
        last_used=-100 * DAY,
        active=[(DAY, 0), (DAY, 1)],
        inactive_since=[(DAY, -50 * DAY), (DAY, None)],
    )
    return Scenario(
        exporter() | activated,
        {DAY - STEP: [NOT_DELETED], DAY: [NOT_DELETED, UNUSED], DAY + HOUR: [UNUSED]},
    )


@scenario
def test_safe_to_delete_is_the_unused_key_of_two() -> Scenario:
    """A key is safe to delete if it was idle for over 30 days when the other key was used."""
    return Scenario(
        exporter()
        | key("AKIA1", last_used=-29 * DAY, superseded=[(DAY, 30 * DAY), (DAY, 30 * DAY + HOUR)])
        | key("AKIA2", last_used=[(DAY, DAY), (DAY, DAY + HOUR)]),
        {DAY - HOUR: [TWO_ACTIVE], DAY: [f"{SAFE_TO_DELETE} AKIA1", TWO_ACTIVE]},
        by=("access_key_id",),
        step=HOUR,
    )


@scenario
def test_safe_to_delete_may_be_a_key_that_was_never_used() -> Scenario:
    """The second key of a rotation that was not completed has never been used."""
    return Scenario(
        exporter()
        | key("AKIA1", created=-40 * DAY, never_used=1, superseded=40 * DAY)
        | key("AKIA2", last_used=0),
        {DAY: [f"{SAFE_TO_DELETE} AKIA1", f"{NEVER_USED} AKIA1", TWO_ACTIVE]},
        by=("access_key_id",),
    )


@scenario
def test_key_is_not_safe_to_delete_unless_superseded() -> Scenario:
    """Without another active key that was used later there is no sample, and no finding."""
    return Scenario(exporter() | key("AKIA1", last_used=-40 * DAY), {DAY: []})


@scenario
def test_safe_to_delete_resolves_when_the_key_is_used() -> Scenario:
    """Two keys in use are both needed."""
    return Scenario(
        exporter()
        | key(
            "AKIA1",
            last_used=[(DAY, -40 * DAY), (DAY, DAY)],
            superseded=[(DAY, 40 * DAY), (DAY, None)],
        )
        | key("AKIA2", last_used=0),
        {DAY - STEP: [SAFE_TO_DELETE, TWO_ACTIVE], DAY + HOUR: [TWO_ACTIVE]},
    )


@scenario
def test_two_active_keys_of_a_user_are_one_alert() -> Scenario:
    """A user with two active keys has an alert, however many replicas export them."""
    two = key("AKIA1", last_used=0) | key("AKIA2", last_used=0)
    return Scenario(
        exporter() | exporter("b") | two | of_instance(two, "b"),
        {0: [f"{TWO_ACTIVE} ada"], DAY: [f"{TWO_ACTIVE} ada"]},
        by=("user",),
    )


@pytest.mark.parametrize(
    "other",
    [
        key("AKIA2", user="grace", last_used=0),
        key("AKIA2", last_used=0, active=0, inactive_since=0),
        key("AKIA1", instance="b", last_used=0),
        key("AKIA2", last_used=0, exempt_until=99 * DAY),
    ],
    ids=["of another user", "inactive", "the same of a replica", "exempt"],
)
@scenario
def test_one_active_key_is_enough(other: Series) -> Scenario:
    """There must be two keys of the same user, both active and neither exempt."""
    return Scenario(exporter() | key("AKIA1", last_used=0) | other, {DAY: []})


@scenario
def test_two_active_keys_have_the_tags_of_the_user() -> Scenario:
    """Team and owner are labels of the alert; how the keys are described does not matter."""
    tags = {"tag_team": "data", "tag_owner": "ada"}
    return Scenario(
        exporter()
        | key("AKIA1", last_used=0, tags={**tags, "description": "old"})
        | key("AKIA2", last_used=0, tags={**tags, "description": "new"}),
        {DAY: [f"{TWO_ACTIVE} data ada"]},
        by=("tag_team", "tag_owner"),
    )


# -- security ----------------------------------------------------------------------------------


IN_USE = key(last_used=0)

Noticed = tuple[str, float, dict[str, str]]
"""The name of a family of events, a value, and the labels that other families do not have."""

NOTICED = pytest.mark.parametrize(
    ("noticed", "alert"),
    [
        (("used_after_idle_seconds", 91 * DAY, {}), AWAKENED),
        (("first_used_age_seconds", 31 * DAY, {}), FIRST_USE),
        (("new_region_timestamp_seconds", 10 * DAY, {"region": "us-east-1"}), NEW_REGION),
        (("new_service_timestamp_seconds", 10 * DAY, {"service": "ec2"}), NEW_SERVICE),
        (("creation_noticed_timestamp_seconds", 10 * DAY, {}), CREATED),
    ],
    ids=[AWAKENED, FIRST_USE, NEW_REGION, NEW_SERVICE, CREATED],
)


@NOTICED
@scenario
def test_event_fires_for_as_long_as_it_is_exported(noticed: Noticed, alert: str) -> Scenario:
    """What the exporter noticed fires at once, and for the day for which it is exported."""
    name, value, labels = noticed
    return Scenario(
        exporter() | IN_USE | event(name, value, 10 * DAY, **labels),
        {
            10 * DAY - HOUR: [],
            10 * DAY: [alert],
            11 * DAY - HOUR: [alert],
            11 * DAY + HOUR: [],
        },
        step=HOUR,
    )


@pytest.mark.parametrize(
    ("name", "days"), [("used_after_idle_seconds", 90), ("first_used_age_seconds", 30)]
)
@scenario
def test_event_that_does_not_exceed_the_limit_does_not_fire(name: str, days: int) -> Scenario:
    """A key that was idle for 90 days was not dormant; one first used after 30 days is not old."""
    return Scenario(exporter() | IN_USE | event(name, days * DAY, 0), {0: [], DAY - STEP: []})


@NOTICED
@scenario
def test_missed_scrape_does_not_resolve_an_event(noticed: Noticed, alert: str) -> Scenario:
    """While scrapes are missed for less than 15 minutes, the alert fires."""
    name, value, labels = noticed
    happened = IN_USE | event(name, value, 0, **labels)
    return Scenario(
        exporter() | with_gap(happened, 2 * HOUR, STEP), every_step([alert], HOUR, 4 * HOUR)
    )


@NOTICED
@scenario
def test_event_of_a_deleted_key_fires(noticed: Noticed, alert: str) -> Scenario:
    """Deleting a key after it was used does not resolve the alert."""
    name, value, labels = noticed
    deleted = with_gap(IN_USE, 2 * HOUR, 10 * DAY)
    return Scenario(
        exporter() | deleted | event(name, value, 0, **labels),
        {HOUR: [alert], 2 * HOUR: [alert], 20 * HOUR: [alert]},
    )


@NOTICED
@scenario
def test_exemption_does_not_cover_events(noticed: Noticed, alert: str) -> Scenario:
    """A key that is exempt has no findings, but what it does fires."""
    name, value, labels = noticed
    exempt = key(last_used=0, created=-400 * DAY, exempt_until=99 * DAY)
    return Scenario(exporter() | exempt | event(name, value, 0, **labels), {0: [alert]})


@NOTICED
@scenario
def test_event_has_the_tags_to_route_by(noticed: Noticed, alert: str) -> Scenario:
    """Team and owner are labels of the alert, and two replicas have one alert."""
    name, value, labels = noticed
    tags = {"tag_team": "data", "tag_owner": "ada"}
    happened = event(name, value, 0, **labels, **tags)
    return Scenario(
        exporter() | exporter("b") | happened | of_instance(happened, "b"),
        {0: [f"{alert} data ada"], HOUR: [f"{alert} data ada"]},
        by=("tag_team", "tag_owner"),
    )


@NOTICED
@scenario
def test_event_of_replicas_with_different_tags_is_one_alert(
    noticed: Noticed, alert: str
) -> Scenario:
    """While only one of two replicas has read a new tag, the key has one owner."""
    name, value, labels = noticed
    happened = event(name, value, 0, **labels, tag_team="data")
    of_other = event(name, value, 0, **labels, tag_team="web")
    return Scenario(
        exporter() | exporter("b") | happened | of_instance(of_other, "b"),
        every_step([alert], 0, 2 * HOUR),
    )


@pytest.mark.parametrize(
    ("name", "label", "values", "alert"),
    [
        ("new_region_timestamp_seconds", "region", ["us-east-1", "us-west-2"], NEW_REGION),
        ("new_service_timestamp_seconds", "service", ["ec2", "iam"], NEW_SERVICE),
    ],
)
@scenario
def test_each_new_region_or_service_is_an_alert(
    name: str, label: str, values: list[str], alert: str
) -> Scenario:
    """A key that is used in two new regions, or for two new services, has two alerts."""
    both = event(name, DAY, 0, **{label: values[0]}) | event(name, DAY, 0, **{label: values[1]})
    return Scenario(
        exporter() | IN_USE | both, {HOUR: [f"{alert} {value}" for value in values]}, by=(label,)
    )


@scenario
def test_key_without_events_is_quiet() -> Scenario:
    """A key that is used, or seen for the first time, has no alert unless something was noticed."""
    return Scenario(
        exporter()
        | key(last_used=[(DAY, 0), (9 * DAY, DAY)])
        | with_gap(key("AKIA2", user="grace", created=3 * DAY, last_used=3 * DAY), 0, 3 * DAY),
        {DAY: [], 3 * DAY: [], 4 * DAY: []},
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


@pytest.mark.parametrize("late", [HOUR, 30 * HOUR])
@scenario
def test_root_used_fires_for_a_day_after_it_was_noticed(late: int) -> Scenario:
    """A use of the root user fires while it is exported as noticed, however late that was."""
    noticed = 4 * DAY
    used = root_last_used("password", [(noticed, -50 * DAY), (9 * DAY, noticed - late)])
    ((last_used, _),) = used.items()
    shown: Series = {
        last_used.replace("last_used", "use_noticed"): [
            (noticed, None),
            (DAY, noticed),
            (STEP, None),
        ]
    }
    return Scenario(
        exporter() | used | shown | root_last_used("access_key", -2 * HOUR),
        {
            noticed - HOUR: [],
            noticed: [f"{ROOT_USED} password"],
            noticed + DAY - HOUR: [f"{ROOT_USED} password"],
            noticed + DAY + HOUR: [],
        },
        by=("credential",),
        step=HOUR,
    )


@scenario
def test_root_use_that_was_not_noticed_does_not_fire() -> Scenario:
    """An account that is new to the exporter has no alert about an earlier use."""
    return Scenario(
        exporter() | root_last_used("password", [(DAY, None), (9 * DAY, DAY - HOUR)]),
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


PARTS = ("keys", "accounts")


def parts(**up: Value) -> Series:
    """Return an exporter that is scraped in parts, as by prometheus-split.yml, each up as given."""
    return {
        **exporter(up=[(STEP, None)]),  # no target without a part
        **{f'up{{job="{JOB}",instance="a",part="{part}"}}': up.get(part, 1) for part in PARTS},
    }


@pytest.mark.parametrize("part", PARTS)
@scenario
def test_part_down_fires_after_15_minutes(part: str) -> Scenario:
    """One of two parts that cannot be scraped fires, until 15 minutes after it can be again."""
    return Scenario(
        parts(**{part: [(HOUR, 1), (DAY, 0), (DAY, 1)]}),
        {
            HOUR: [],
            HOUR + STEP: [PART_DOWN],
            DAY + HOUR - STEP: [PART_DOWN],
            DAY + 2 * HOUR: [],
        },
    )


@scenario
def test_parts_that_are_both_down_are_one_exporter_down() -> Scenario:
    """If no part can be scraped, the exporter is down, without an interval in which none fires."""
    return Scenario(
        parts(keys=[(HOUR, 1), (DAY, 0)], accounts=[(2 * HOUR, 1), (DAY, 0)]),
        {
            HOUR + STEP: [PART_DOWN],
            2 * HOUR: [PART_DOWN],
            2 * HOUR + STEP: [DOWN],
            3 * HOUR: [DOWN],
        },
    )


@scenario
def test_part_of_one_shard_is_down() -> Scenario:
    """A part of one of several shards fires although that part of the others can be scraped."""
    others = {name.replace('instance="a"', 'instance="b"'): of for name, of in parts().items()}
    return Scenario(parts(keys=0) | others, {HOUR: [PART_DOWN]})


@scenario
def test_replica_that_is_down_is_no_part() -> Scenario:
    """A replica of which no part can be scraped is redundant, as without parts."""
    other = {
        name.replace('instance="a"', 'instance="b"'): of
        for name, of in parts(keys=0, accounts=0).items()
        if "part=" in name
    }
    return Scenario(parts() | other, {DAY: []})


@scenario
def test_account_down_fires_after_30_minutes() -> Scenario:
    """An account is down once its refreshes have failed for 30 minutes."""
    return Scenario(
        exporter(account_up=[(DAY, 1), (9 * DAY, 0)], last_success=[(10 * DAY, DAY)]),
        {DAY + STEP: [], DAY + HOUR: [ACCOUNT_DOWN], 3 * DAY: [ACCOUNT_DOWN]},
    )


@scenario
def test_account_down_resolves() -> Scenario:
    """An account is up again 15 minutes after its first successful refresh."""
    return Scenario(
        exporter(account_up=[(DAY, 0), (DAY, 1)]), {DAY - STEP: [ACCOUNT_DOWN], DAY + STEP: []}
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


@scenario
def test_store_down_fires_after_15_minutes() -> Scenario:
    """A store has 15 minutes to become usable again."""
    return Scenario(
        exporter(store_up=[(DAY, 1), (DAY, 0), (DAY, 1)]),
        {DAY: [], DAY + 2 * STEP: [STORE_DOWN], 2 * DAY - STEP: [STORE_DOWN], 2 * DAY + HOUR: []},
    )


@scenario
def test_one_store_of_several_is_down() -> Scenario:
    """A store of one replica or shard that cannot be used fires although others can."""
    return Scenario(exporter() | exporter("b", store_up=0), {HOUR: [STORE_DOWN]})


@scenario
def test_exporter_without_a_store_has_no_alert() -> Scenario:
    """If there is no store, there is no series and no alert."""
    return Scenario(exporter(store_up=None), {DAY: []})


@scenario
def test_discovery_down_fires_after_half_an_hour() -> Scenario:
    """Discovery has half an hour to succeed again; the exporter retries it sooner."""
    return Scenario(
        exporter(discovery_up=[(DAY, 1), (DAY, 0), (DAY, 1)]),
        {
            DAY: [],
            DAY + 20 * MINUTE: [],
            DAY + HOUR: [DISCOVERY_DOWN],
            2 * DAY - STEP: [DISCOVERY_DOWN],
            2 * DAY + HOUR: [],
        },
    )


@scenario
def test_exporter_without_an_organization_has_no_alert() -> Scenario:
    """If accounts are only configured, there is no series and no alert."""
    return Scenario(exporter(), {DAY: []})


@scenario
def test_all_shards_are_there() -> Scenario:
    """As many exporters as share the accounts are no finding."""
    return Scenario(exporter() | shard(0) | shard(1) | shard(2), {DAY: []})


@scenario
def test_a_shard_that_is_missing() -> Scenario:
    """A shard that is not scraped fires after a quarter of an hour, until it is back."""
    gone = [(DAY, 2), (DAY, None), (DAY, 2)]
    return Scenario(
        exporter() | shard(0) | shard(1) | shard(2, shown=gone),
        {
            DAY: [],
            DAY + HOUR: [SHARDS_MISSING],
            2 * DAY - STEP: [SHARDS_MISSING],
            2 * DAY + HOUR: [],
        },
    )


@scenario
def test_shards_that_disagree() -> Scenario:
    """Exporters that differ about the number of shards fire after half an hour."""
    changed = [(DAY, 2), (DAY, 3)]
    return Scenario(
        exporter() | shard(0, total=2) | shard(1, total=changed) | shard(2, total=changed),
        {DAY: [], DAY + 2 * HOUR: [SHARDS_DISAGREE]},
    )


# -- robustness --------------------------------------------------------------------------------

FINDINGS = (
    key("AKIA1", user="unused", last_used=-100 * DAY)
    | key("AKIA2", user="never", created=-40 * DAY, never_used=1)
    | key("AKIA3", user="inactive", last_used=-100 * DAY, active=0, inactive_since=-20 * DAY)
    | key("AKIA4", user="both", last_used=-40 * DAY, superseded=41 * DAY)
    | key("AKIA5", user="both", last_used=DAY)
)
"""Keys with findings, and the key in use that makes the other safe to delete."""

FOUND = [UNUSED, NEVER_USED, NOT_DELETED, SAFE_TO_DELETE, TWO_ACTIVE]


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
def test_findings_of_an_account_that_is_down_persist() -> Scenario:
    """An account whose role broke keeps its findings, and has one more alert."""
    down = exporter(account_up=[(2 * DAY, 1), (6 * DAY, 0)], last_success=[(20 * DAY, 2 * DAY)])
    frozen: Series = {
        name: [(20 * DAY, 2 * DAY)] if "_confirmed_" in name else value
        for name, value in FINDINGS.items()
    }
    return Scenario(down | frozen, {7 * DAY: [*FOUND, ACCOUNT_DOWN]}, step=HOUR)


@scenario
def test_account_that_is_down_gets_no_new_findings() -> Scenario:
    """A key whose account could not be refreshed since its 89th idle day is not called unused."""
    down = exporter(account_up=[(DAY, 1), (9 * DAY, 0)], last_success=[(10 * DAY, DAY)])
    confirmed: Value = [(10 * DAY, DAY)]
    return Scenario(
        down
        | key(last_used=-88 * DAY, confirmed=confirmed)
        | key("AKIA2", user="grace", created=-29 * DAY, never_used=1, confirmed=confirmed)
        | key("AKIA3", user="mary", created=-88 * DAY, last_used=0, confirmed=confirmed),
        {6 * DAY: [ACCOUNT_DOWN]},
        step=HOUR,
    )


@scenario
def test_partial_refreshes_do_not_delay_findings_of_other_keys() -> Scenario:
    """One denied user does not delay the findings of others, whose use is confirmed."""
    return Scenario(
        exporter(account_up=0, last_success=0) | key(last_used=-88 * DAY),
        {2 * DAY: [ACCOUNT_DOWN], 2 * DAY + HOUR: [ACCOUNT_DOWN, UNUSED]},
        step=HOUR,
    )


@scenario
def test_exemption_lasts_until_its_date() -> Scenario:
    """A key that is exempt has no findings until the date, and has them from then on."""
    return Scenario(
        exporter() | key(created=-400 * DAY, last_used=-100 * DAY, exempt_until=2 * DAY),
        {DAY: [], 2 * DAY - STEP: [], 2 * DAY: [UNUSED, NOT_ROTATED]},
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
        exporter() | key(last_used=-100 * DAY), {DAY: [f"{UNUSED} AKIA1"]}, by=("access_key_id",)
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
    """A key that is handed over has an alert of its new team, and for an hour both."""
    exported = key(last_used=-100 * DAY, tags={"tag_team": "data"})
    info = next(name for name in exported if 'status="Active"' in name)
    changed: Series = {
        info: [(DAY, 1)],
        info.replace("data", "web"): [(DAY, None), (DAY, 1)],
    }
    data, web = f"{UNUSED} data", f"{UNUSED} web"
    return Scenario(
        exporter() | exported | changed,
        every_step([data], DAY - HOUR, DAY)
        | every_step([data, web], DAY, DAY + HOUR)
        | every_step([web], DAY + HOUR, DAY + 2 * HOUR),
        by=("tag_team",),
    )


@scenario
def test_new_key_has_no_findings() -> Scenario:
    """A key that was just created has no findings, whether it was used or not."""
    return Scenario(
        exporter()
        | key(created=0, never_used=1)
        | key("AKIA2", user="grace", created=0, last_used=0),
        {STEP: [], DAY: []},
    )
