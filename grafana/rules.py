"""
The recording rules of the fleet's dashboard: counts by account and team.

Asked of the keys themselves, each of its numbers would take a second where there are 100,000.
"""

from collections.abc import Iterator

from grafana import queries as q

IDLE_DAYS = (0, 1, 7, 30, 60, 90, 180, 365)
AGE_DAYS = IDLE_DAYS
NEVER_DAYS = (0, 7, 30, 90)

HEAD = """\
# Made by `python -m grafana.generate`; edit grafana/rules.py.
#
# What the fleet's dashboard counts, by account and team, so that it can draw months of it and stays
# quick with 100,000 keys. Active keys, unless the name says otherwise. Label days: idle for, or
# made before, at least so many. Exempt keys are counted as exempt alone. A last use that is not
# known is counted as unknown alone.
groups:
  - name: aws-iam-dashboards
    interval: 5m
    rules:
"""


def rules() -> str:
    return HEAD + "".join(
        f"      - record: aws_iam:{record}\n"
        + "".join(f'        labels: {{{name}: "{value}"}}\n' for name, value in labels.items())
        + f"        expr: >-\n          {expr}\n"
        for record, labels, expr in _rules()
    )


def _rules() -> Iterator[tuple[str, dict[str, object], str]]:
    by = f"count by ({q.A}, tag_team)"
    active = _keys('status="Active"')
    inactive = _keys('status!="Active"')
    exempt = f"({q.EXEMPT} > time())"
    counted = f"unless on ({q.K}) {exempt}"
    never = f"and on ({q.K}) (min by ({q.K}) ({q.NEVER}) == 1)"

    def since(moment: str, days: int) -> str:
        return f"and on ({q.K}) (max by ({q.K}) ({moment}) <= time() - {days} * {q.DAY})"

    yield "accounts", {}, f"group by ({q.A}) ({q.UP})"
    yield "accounts_seen", {}, f"group by ({q.A}) ({q.KEYS})"
    yield "access_keys_active", {}, f"{by} ({active})"
    yield "access_keys_inactive", {}, f"{by} ({inactive})"
    yield "access_keys_exempt", {}, f"{by} ({active} and on ({q.K}) {exempt})"
    yield "access_keys_unknown", {}, f"{by} ({active} unless on ({q.K}) {q.NEVER} {counted})"
    for days in IDLE_DAYS:
        yield (
            "access_keys_unused",
            {"days": days},
            f"{by} ({active} {since(q.LAST_USED, days)} {counted})",
        )
    for days in NEVER_DAYS:
        found = f"{active} {since(q.CREATED, days)} {never} {counted}"
        yield "access_keys_never_used", {"days": days}, f"{by} ({found})"
    for days in AGE_DAYS:
        yield (
            "access_keys_old",
            {"days": days},
            f"{by} ({active} {since(q.CREATED, days)} {counted})",
        )
    for label in ("service", "region"):
        used = f"max by ({q.K}, {label}) ({q.AGE}) * 0"
        found = f"{used} + on ({q.K}) group_left (tag_team) {_keys(ACTIVE, one=True)}"
        yield f"access_keys_by_{label}", {}, f"count by ({q.A}, tag_team, {label}) ({found})"
    for why, found in (("inactive", _retired(inactive)), ("superseded", _superseded(active))):
        yield "access_key_deletable", {"why": why}, f"{found} {counted}"

    # Months of every account are too much to read for one picture.
    for name in ("active", "unused", "never_used", "old"):
        per_account = f"aws_iam:access_keys_{name}"
        yield f"fleet_access_keys_{name}", {}, f"sum without (account_id, account) ({per_account})"
    for name in ("accounts", "accounts_seen"):
        yield f"fleet_{name}", {}, f"count by (job) (aws_iam:{name})"


ACTIVE = 'status="Active"'


def _keys(status: str, *, one: bool = False) -> str:
    """Select keys with their team; exactly *one* team each, whatever replicas say."""
    keys = f"max by ({q.K}, tag_team) ({q.INFO}{{{status}}})"
    return f"topk by ({q.K}) (1, {keys})" if one else keys


def _idle_since() -> str:
    fresh = f"max by ({q.K}) ({q.CREATED}) and on ({q.K}) (min by ({q.K}) ({q.NEVER}) == 1)"
    return f"(max by ({q.K}) ({q.LAST_USED}) or {fresh})"


def _retired(inactive: str) -> str:
    """Inactive keys, silent for long: nothing can depend on them. Value: idle since."""
    old = f"({_idle_since()} < time() - {q.RETIRED} * {q.DAY})"
    return f"{old} * on ({q.K}) group_left (tag_team) topk by ({q.K}) (1, {inactive})"


def _superseded(active: str) -> str:
    """Active keys, silent for long when the same user's other key was last used."""
    gate = f"and on ({q.K}) {q.INFO}{{{ACTIVE}}}"
    latest = f"max by ({q.A}, user) (max by ({q.K}) ({q.LAST_USED}) {gate})"
    moved = f"on ({q.A}, user) group_left () ({latest} - {q.MOVED} * {q.DAY})"
    old = f"({_idle_since()} < {moved})"
    return f"{old} * on ({q.K}) group_left (tag_team) topk by ({q.K}) (1, {active})"
