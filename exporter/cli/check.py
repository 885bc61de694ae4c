"""The subcommand check: says what keeps the exporter from reading accounts, and what to change."""

import random
import sys
from collections.abc import Callable

from exporter.aws import AccountCheck, AccountChecker, Identities, Outcome
from exporter.cli import wiring
from exporter.cli.accounts import combine
from exporter.cli.check_flags import CheckFlags
from exporter.cli.check_page import Checked, CheckedAccount, DiscoveryCheck, render, source_of
from exporter.cli.diagnosis import Diagnosis
from exporter.cli.events import terminal_width
from exporter.cli.flags import NAME
from exporter.cli.interrupts import SIGNALLED, Interrupted, raise_on_signals
from exporter.cli.logs import configure_logging
from exporter.cli.once import NoSuchAccount, Once, select
from exporter.cli.problems import Cure, Problem
from exporter.cli.streams import write_error, write_output
from exporter.config import Config
from exporter.model import Account, Clock, ReadError
from exporter.report import span
from exporter.report.progress import Progress

OK, FAILURE, USAGE = 0, 1, 2
"""Exit codes: nothing is wrong; something is; invalid flags."""


def run(
    query: CheckFlags, config: Config, redact: Callable[[str], str], *, config_file: str
) -> int:
    """Check the accounts, print what was found, and return the exit code."""
    raise_on_signals()
    configure_logging("error", "logfmt", redact)  # failures are part of what is printed
    try:
        checked = check(query, config, wiring.SystemClock(), config_file=config_file)
        write_output(render(checked, query.output, redact, width=terminal_width()))
    except NoSuchAccount as error:
        write_error(redact(f"{NAME}: {error}\n"))
        return USAGE
    except Interrupted as error:
        return SIGNALLED + error.number
    return OK if checked.ok else FAILURE


def check(query: CheckFlags, config: Config, clock: Clock, *, config_file: str = "") -> Checked:
    """
    Check discovery, and the accounts that *query* asks for.

    Raises:
        NoSuchAccount: One that it asks for does not exist.
    """
    once = Once(config, clock)
    deadline = config.collection.deadline.total_seconds()
    rng = random.Random()  # noqa: S311 (spreads retries, protects nothing)
    identities = Identities(once.sessions, deadline=deadline, clock=clock, rng=rng)
    discovery, discovered = _discover(config, once, clock, identities, Diagnosis(config_file))
    configured = config.model_accounts()
    accounts = combine(configured, discovered, once.identified(configured) if discovered else ())
    complete = discovery is None or discovery.problem is None
    possible = select(accounts, query.accounts, lambda account: account, complete=complete)
    checker = AccountChecker(
        sessions=once.sessions,
        interval=config.collection.interval.total_seconds(),
        deadline=deadline,
        report_mode=config.collection.credential_report,
        include_user=config.users.matcher(),
        tag_source=config.collection.user_tags,
        clock=clock,
        rng=rng,
        identities=identities,
    )
    with Progress("checking", len(possible), sys.stderr) as progress:
        checks = once.each(
            possible, checker.check, lambda found: progress.advance(failed=not found.ok)
        )
    checks = select(checks, query.accounts, lambda found: found.account, complete=complete)
    assumed = [found.account for found in checks if found.identity and found.account.role_arn]
    diagnosis = Diagnosis(config_file, assumed)
    credentials = {source_of(each.account): each.base for each in checks}
    if config.organization is not None:
        caller = config.organization.caller()
        credentials.setdefault(source_of(caller), identities.get(caller))
    return Checked(discovery, credentials, [_explained(each, config, diagnosis) for each in checks])


def _discover(
    config: Config, once: Once, clock: Clock, identities: Identities, diagnosis: Diagnosis
) -> tuple[DiscoveryCheck | None, list[Account]]:
    organization = config.organization
    discovery = wiring.discovery_of(config, once.sessions, clock)
    if organization is None or discovery is None:
        return None, []
    caller = organization.caller()
    base = identities.get(caller)
    identity = base if caller.role_arn is None else identities.in_account(caller)
    try:
        found = discovery.discover()
    except ReadError as error:
        problem = diagnosis.of_discovery(caller, base, error)
        return DiscoveryCheck(identity, problem=problem), []
    return DiscoveryCheck(identity, len(found)), found


def _explained(check: AccountCheck, config: Config, diagnosis: Diagnosis) -> CheckedAccount:
    problems = diagnosis.of_account(check)
    notes = [
        f"{probe.operation} was not checked: {probe.note}."
        for probe in check.probes
        if probe.outcome is Outcome.NOT_CHECKED
    ]
    interval, deadline = config.collection.interval, config.collection.deadline
    seconds = check.cost.seconds if check.cost else 0.0
    if seconds > deadline.total_seconds():
        text = f"A refresh takes {span(seconds)}, and is given up at collection.deadline."
        cure = (
            "Raise collection.deadline, or requests_per_second of the account, or set"
            " collection.credential_report to values."
        )
        problems.append(Problem("too slow", text, "", (Cure(cure),)))
    elif seconds > interval.total_seconds():
        notes.append(f"A refresh takes {span(seconds)}, which is longer than collection.interval.")
    return CheckedAccount(check, tuple(problems), tuple(notes))
