"""
A small world for the alert rules: what the exporter would tell, and which alerts that makes.

Time begins at 0, so that "90 days ago" is a negative number. Only promtool evaluates the rules.
"""

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.servers import find

RULES = Path("deploy/prometheus/rules")
THRESHOLDS = RULES / "thresholds.yaml"
FILES = [
    THRESHOLDS,
    *(RULES / f"{name}.yaml" for name in ("recording", "hygiene", "security", "exporter")),
]

GROUPS = [
    "aws-iam-thresholds",
    *(f"aws-iam-{name}" for name in ("facts", "memory", "ages", "changes")),
    *(f"aws-iam-{name}" for name in ("hygiene", "security", "exporter")),
]

MINUTE, HOUR, DAY = 60, 3600, 86400
STEP = 15 * MINUTE

Value = float | Sequence[tuple[int, float | None]]
"""One value all the time; or values with the seconds for which each holds. None: no sample."""

Series = dict[str, Value]

Uses = dict[tuple[str, str], Value]
"""Presence of a latest use, by service and region."""

JOB = {"job": "aws-iam-key-exporter", "instance": "a"}
ACCOUNT = {"account_id": "111111111111", "account": "prod"}


def series(name: str, labels: Mapping[str, str], value: Value) -> Series:
    shown = ",".join(f"{label}={json.dumps(text)}" for label, text in labels.items())
    return {f"{name}{{{shown}}}": value}


def exporter(
    instance: str = "a",
    *,
    up: Value = 1,
    account_up: Value = 1,
    success: Value | None = None,
    configured: Value = 1,
    duration: Value = 10,
    usable: Value = 1,
    root_keys: Value = 0,
    account: Mapping[str, str] = ACCOUNT,
) -> Series:
    """
    Make what an exporter tells of itself and of one account, all well by default.

    Args:
        success: When the latest whole reading began. By default just now.
    """
    job = {**JOB, "instance": instance}
    of = {**job, **account}
    now: Value = [(STEP, at) for at in range(0, 100 * DAY, STEP)] if success is None else success
    return {
        **series("up", job, up),
        **series("aws_iam_exporter_accounts_configured", job, configured),
        **series("aws_iam_exporter_refresh_interval_seconds", job, 900),
        **series("aws_iam_exporter_account_up", of, account_up),
        **series("aws_iam_exporter_account_last_success_timestamp_seconds", of, now),
        **series("aws_iam_exporter_account_refresh_duration_seconds", of, duration),
        **series("aws_iam_exporter_account_report_usable", of, usable),
        **series("aws_iam_account_root_access_keys", of, root_keys),
    }


def key(
    access_key_id: str = "AKIA1",
    *,
    user: str = "ada",
    instance: str = "a",
    created: Value = -400 * DAY,
    used: Value | None = None,
    never_used: Value | None = None,
    active: Value = 1,
    exempt_until: Value | None = None,
    uses: Uses | None = None,
    tags: Mapping[str, str] | None = None,
) -> Series:
    """
    Make what an exporter tells of one key.

    Args:
        used: When it was used last. None: never, or not known.
        never_used: None: not known. By default told by *used*.
        tags: None: there is no series of information.
    """
    of = {**JOB, "instance": instance, **ACCOUNT, "user": user, "access_key_id": access_key_id}
    told = {
        **series("aws_iam_access_key_created_timestamp_seconds", of, created),
        **series("aws_iam_access_key_active", of, active),
    }
    if used is not None:
        told |= series("aws_iam_access_key_last_used_timestamp_seconds", of, used)
        told |= series("aws_iam_access_key_never_used", of, 0)
    if never_used is not None:
        told |= series("aws_iam_access_key_never_used", of, never_used)
    if exempt_until is not None:
        told |= series("aws_iam_access_key_exempt_until_timestamp_seconds", of, exempt_until)
    for (service, region), present in (uses or {}).items():
        where = {**of, "service": service, "region": region}
        told |= series("aws_iam_access_key_last_used_age_seconds", where, present)
    if tags is not None:
        about = {**of, "status": "Active", "path": "/", "description": "", **tags}
        told |= series("aws_iam_access_key_info", about, 1)
    return told


def gaps(told: Series, start: int, seconds: int, end: int = 60 * DAY) -> Series:
    """Take all samples away from *start* on. What is told ends at *end*."""
    return {
        name: [
            (STEP, None if start <= at < start + seconds else value)
            for at, value in _samples(value, end)
        ]
        for name, value in told.items()
    }


def _samples(value: Value, end: int) -> Iterable[tuple[int, float | None]]:
    at = 0
    for seconds, now in value if isinstance(value, Sequence) else [(end, value)]:
        for _ in range(max(1, seconds // STEP)):
            yield at, now
            at += STEP


def _notation(value: Value, end: int, step: int) -> str:
    """Write in promtool's words what *value* is every *step* until *end*."""
    samples = [now for at, now in _samples(value, end + STEP) if at <= end and at % step == 0]
    return " ".join("_" if now is None else f"{now:.10g}" for now in samples)


def check(
    folder: Path,
    told: Series,
    firing: Mapping[int, Iterable[str]],
    *,
    ignored: str = "AwsIamAccessKeyNotRotated",
    by: tuple[str, ...] = (),
    step: int = STEP,
    files: Iterable[Path] = FILES,
) -> None:
    """
    Hold which alerts fire at each time of *firing* against the rules.

    Nothing but what is expected fires, and nothing twice.

    Args:
        firing: The names of the alerts. With *by*, a name is followed by the labels' values.
        ignored: An alert not looked at: every key that was not used for long is old.
        step: Between scrapes, and between evaluations. A whole number of STEP.
        files: The rules.
    """
    end = max(firing)
    labels = ", ".join(("alertname", *by))
    tests = [
        {
            "expr": f'count by ({labels}) (ALERTS{{alertstate="firing",alertname!="{ignored}"}})',
            "eval_time": f"{at}s",
            "exp_samples": [
                {"labels": _labels(name, by), "value": 1.0} for name in dict.fromkeys(names)
            ],
        }
        for at, names in firing.items()
    ]
    file = folder / "test.yaml"
    world = {
        "rule_files": [str(path.resolve()) for path in files],
        "evaluation_interval": f"{step}s",
        "group_eval_order": GROUPS,
        "tests": [
            {
                "interval": f"{step}s",
                "input_series": [
                    {"series": name, "values": _notation(value, end, step)}
                    for name, value in told.items()
                ],
                "promql_expr_test": tests,
            }
        ],
    }
    file.write_text(json.dumps(world), encoding="utf-8")
    run = subprocess.run([find("promtool"), "test", "rules", file], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def _labels(name: str, by: tuple[str, ...]) -> str:
    alert, *values = name.split()
    pairs = zip(("alertname", *by), (alert, *values), strict=True)
    return "{" + ",".join(f"{label}={json.dumps(value)}" for label, value in pairs) + "}"
