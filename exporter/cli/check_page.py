"""What the subcommand check prints."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from exporter.aws import AccountCheck, Identity
from exporter.cli.problems import Problem
from exporter.cli.streams import CONTROL
from exporter.model import Account, ReadError
from exporter.policy import PERMISSIONS, Policy
from exporter.report import Output, as_json, as_table, span

WIDTH: Final = 100
"""The width of sentences, in characters, where standard output is no terminal or a wider one."""

LISTED: Final = 10
"""Accounts that are named where many have the same problem."""

HEADINGS: Final = ("ACCOUNT", "ID", "RESULT", "USERS", "KEYS", "REPORT", "CALLS", "TIME")


@dataclass(frozen=True, slots=True)
class DiscoveryCheck:
    """
    Whether the accounts of the organization can be listed.

    Attributes:
        identity: As whom.
        accounts: How many there are. None: unknown.
        problem: Why that is unknown.
    """

    identity: Identity
    accounts: int | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class CheckedAccount:
    """
    An account, and what is wrong with it.

    Attributes:
        notes: What is not wrong, but should be known.
    """

    check: AccountCheck
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        account = self.check.account
        named = account.id and account.label != account.id
        return f"{account.label} ({account.id})" if named else account.label


@dataclass(frozen=True, slots=True)
class Checked:
    """
    Everything that was checked.

    Attributes:
        discovery: None: no organization is configured.
        credentials: Whose credentials the exporter begins with, by what they are called.
    """

    discovery: DiscoveryCheck | None
    credentials: dict[str, Identity]
    accounts: Sequence[CheckedAccount]

    @property
    def ok(self) -> bool:
        found = self.discovery is None or self.discovery.problem is None
        return found and not any(account.problems for account in self.accounts)


def source_of(account: Account) -> str:
    """Say where the credentials that *account* begins with come from."""
    return f"profile {account.profile}" if account.profile else "default chain"


def render(
    checked: Checked, output: Output, redact: Callable[[str], str], *, width: int | None = None
) -> str:
    """
    Write what was found.

    Args:
        width: The width of the terminal. None: the output is not a terminal.
    """
    if output is Output.JSON:
        return as_json(_redacted(_document(checked), redact))
    page = "".join(_page(checked, width))
    return "\n".join(line.rstrip().translate(CONTROL) for line in redact(page).split("\n"))


def _page(checked: Checked, width: int | None) -> Iterator[str]:
    wrapped = min(width or WIDTH, WIDTH)
    for source, identity in checked.credentials.items():
        yield f"Credentials of the {source}: {identity.arn or f'none ({identity.error})'}\n"
    discovery = checked.discovery
    if discovery is not None and discovery.problem is None:
        yield f"Organization: {discovery.accounts} accounts, as {discovery.identity.arn}\n"
    elif discovery is not None:
        yield f"Organization: unknown accounts, as {discovery.identity.arn or 'nobody'}\n"
    yield "\n"
    if checked.accounts:
        rows = [_row(account) for account in checked.accounts]
        yield as_table(HEADINGS, rows, width=width, unwrapped=("ID",))
        yield "\n"
    if discovery is not None and discovery.problem is not None:
        yield from _problem("organization", discovery.problem, [], wrapped)
    for account, problem, others in _grouped(checked.accounts):
        yield from _problem(account.name, problem, others, wrapped)
    notes: dict[str, list[str]] = {}
    for account in checked.accounts:
        for note in account.notes:
            notes.setdefault(note, []).append(account.name)
    for note, names in notes.items():
        yield _wrap(f"{_listed(names)}: {note}", wrapped, "")
    yield "\n" if notes else ""
    yield f"{_summary(checked)}\n"


def _summary(checked: Checked) -> str:
    wrong = sum(bool(account.problems) for account in checked.accounts)
    total = len(checked.accounts)
    found = f"{wrong} with problems" if wrong else "nothing is wrong with them"
    if total <= 1:
        found = "it has problems" if wrong else "nothing is wrong with it"
    counted = "1 account" if total == 1 else f"{total} accounts"
    text = f"{counted} checked: {found}." if total else "No account was checked."
    if checked.discovery is not None and checked.discovery.problem is not None:
        return f"{text} The accounts of the organization are unknown."
    return text


def _row(account: CheckedAccount) -> list[str]:
    check = account.check
    summaries = [problem.summary for problem in account.problems]
    result = ", ".join(summaries[:2]) + (", ..." if len(summaries) > 2 else "") or "ok"
    keys, cost = check.keys, check.cost
    count = "" if keys is None else f"{'' if keys.exact else 'about '}{keys.total}"
    return [
        _escape(check.account.label),
        check.account.id,
        result,
        "" if check.users is None else str(check.users),
        count,
        str(cost.mode) if cost else "",
        str(cost.calls) if cost else "",
        span(cost.seconds) if cost else "",
    ]


def _grouped(
    accounts: Sequence[CheckedAccount],
) -> Iterator[tuple[CheckedAccount, Problem, list[str]]]:
    """Yield each problem once, with the names of the other accounts that have it as well."""
    groups: dict[tuple[str, ...], tuple[CheckedAccount, Problem, list[str]]] = {}
    for account in accounts:
        for problem in account.problems:
            texts = (problem.summary, problem.text, *(cure.text for cure in problem.cures))
            id_ = account.check.account.id
            key = tuple(text.replace(id_, "") if id_ else text for text in texts)
            if key in groups:
                groups[key][2].append(account.name)
            else:
                groups[key] = account, problem, []
    yield from groups.values()


def _problem(name: str, problem: Problem, others: Sequence[str], width: int) -> Iterator[str]:
    yield _wrap(f"{name}: {problem.text}", width, "")
    for number, cure in enumerate(problem.cures, 1):
        mark = f"{number}. " if len(problem.cures) > 1 else ""
        yield _wrap(f"{mark}{cure.text}", width, "  ", hanging=" " * len(mark))
        if cure.command:  # in one piece, to be copied
            yield f"  {' ' * len(mark)}  {_escape(cure.command)}\n"
    if problem.error:
        yield _wrap(f"Error: {problem.error}", width, "  ")
    if others:
        yield _wrap(f"The same with: {_listed(others)}", width, "  ")
    yield "\n"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _wrap(text: str, width: int, indent: str, *, hanging: str = "") -> str:
    lines = textwrap.wrap(
        _escape(text),
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "".join(f"{line}\n" for line in lines)


def _escape(text: str) -> str:
    """Escape the characters that a terminal could act on."""
    return text.translate(CONTROL)


# -- JSON --------------------------------------------------------------------------------------

_ACTIONS: Final = {
    each.operation: each.action for each in PERMISSIONS if each.policy is Policy.READER
}


def _document(checked: Checked) -> dict[str, Any]:
    discovery = checked.discovery
    return {
        "ok": checked.ok,
        "credentials": [
            {"source": source, "arn": each.arn or None, "error": _text(each.error)}
            for source, each in checked.credentials.items()
        ],
        "organization": None
        if discovery is None
        else {
            "ok": discovery.problem is None,
            "identity": discovery.identity.arn or None,
            "accounts": discovery.accounts,
            "problem": _problem_record(discovery.problem) if discovery.problem else None,
        },
        "accounts": [_account_record(account) for account in checked.accounts],
    }


def _account_record(account: CheckedAccount) -> dict[str, Any]:
    check = account.check
    role, keys, cost = check.account.role_arn, check.keys, check.cost
    return {
        "account_id": check.account.id or None,
        "account": check.account.label,
        "ok": not account.problems,
        "source": check.account.source,
        "credentials": source_of(check.account),
        "role_arn": str(role) if role else None,
        "identity": check.identity or None,
        "users": check.users,
        "keys": keys.total if keys else None,
        "active_keys": keys.active if keys else None,
        "keys_exact": keys.exact if keys else None,
        "credential_report": str(cost.mode) if cost else None,
        "calls": cost.calls if cost else None,
        "tag_calls": cost.tag_calls if cost else None,
        "seconds": cost.seconds if cost else None,
        "permissions": [
            {
                "action": _ACTIONS[probe.operation],
                "result": str(probe.outcome),
                "note": probe.note or None,
            }
            for probe in check.probes
        ],
        "problems": [_problem_record(problem) for problem in account.problems],
        "notes": list(account.notes),
    }


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {
        "summary": problem.summary,
        "text": problem.text,
        "error": problem.error or None,
        "cures": [{"text": cure.text, "command": cure.command or None} for cure in problem.cures],
        "action": problem.action or None,
        "policy": str(problem.policy) if problem.policy else None,
    }


def _text(error: ReadError | None) -> str | None:
    return None if error is None else str(error)


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(each, redact) for each in value]
    if isinstance(value, dict):
        return {name: _redacted(each, redact) for name, each in value.items()}
    return value
