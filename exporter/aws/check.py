"""
What the exporter needs to read an account: credentials, the role, each permission, and time.

Source: STS GetCallerIdentity.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from exporter.aws.account_refresh import PLAIN_SHARE, calls_of, resolve_mode
from exporter.aws.account_session import AccountSession, AccountSessions
from exporter.aws.api import Aborted, AccountApi
from exporter.aws.operations import Operation
from exporter.aws.probing import Keys, Outcome, Probe, Probing
from exporter.model import Account, Clock, ReadError, Reason, ReportMode, TagSource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What the regular refresh of an account takes, without the calls every few hours for the report.

    Attributes:
        mode: What `auto` chooses, or what is configured.
        calls: The number of calls.
        tag_calls: The calls in addition, where tags are due.
        seconds: The duration at the configured rate limit, without tags.
    """

    mode: ReportMode
    calls: int
    tag_calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Whose credentials the exporter begins with.

    Attributes:
        arn: Empty: AWS did not say.
        error: Why not.
    """

    arn: str = ""
    error: ReadError | None = None


@dataclass(frozen=True, slots=True)
class AccountCheck:
    """
    What was found out about one account.

    Attributes:
        account: With the id that AWS reported, if it did.
        base: Whose credentials the exporter begins with.
        identity: The ARN of what it becomes, as which it reads the account. Empty: it is not known.
        failure: Why there are no credentials of the account. None: there are.
        probes: The operations that a refresh may need.
        users: The number of users that are read. None: unknown.
        keys: None: unknown.
        cost: None: unknown.
    """

    account: Account
    base: Identity
    identity: str = ""
    failure: ReadError | None = None
    probes: tuple[Probe, ...] = ()
    users: int | None = None
    keys: Keys | None = None
    cost: Cost | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. An operation that cannot be checked without keys is not."""
        failed = {Outcome.DENIED, Outcome.FAILED}
        return self.failure is None and not any(probe.outcome in failed for probe in self.probes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChecker:
    """
    Checks accounts. Thread-safe.

    Attributes:
        interval: Seconds between two refreshes of an account.
        deadline: Maximum duration of one check, in seconds.
        include_user: Whether the user of this name is read.
        rng: Spreads retries.
    """

    sessions: AccountSessions
    interval: float
    deadline: float
    report_mode: ReportMode
    include_user: Callable[[str], bool]
    tag_source: TagSource
    clock: Clock
    rng: random.Random
    identities: "Identities"

    def check(self, account: Account) -> AccountCheck:
        """
        Check *account*. Whatever is wrong with it is part of the result.

        Raises:
            Stopped: The program is shutting down.
        """
        found = AccountCheck(account, Identity())
        try:
            found = replace(found, base=self.identities.get(account))
            return self._check(account, found)
        except Exception as error:
            log.exception("check crashed", extra={"account": account.label})
            text = f"{type(error).__name__}: see the log"
            return replace(found, failure=ReadError(Reason.UNEXPECTED, text))

    def _check(self, account: Account, found: AccountCheck) -> AccountCheck:
        session = self.sessions.get(account)
        api = self._api(session)
        try:
            api.sign_in()
            identity = api.call(Operation.GET_CALLER_IDENTITY)["Arn"]
        except Aborted as aborted:
            return replace(found, failure=aborted.error)
        except ReadError as error:
            return replace(found, failure=error)
        probing = Probing(
            api,
            report_mode=self.report_mode,
            include_user=self.include_user,
            tag_source=self.tag_source,
            clock=self.clock,
        )
        probing.run()
        return replace(
            found,
            account=api.account,
            identity=str(identity),
            probes=tuple(probing.probes.values()),
            users=None if probing.users is None else len(probing.users),
            keys=probing.keys,
            cost=self._cost(session, probing),
        )

    def _api(self, session: AccountSession) -> AccountApi:
        return AccountApi(
            self.sessions.clients, session, seconds=self.deadline, clock=self.clock, rng=self.rng
        )

    def _cost(self, session: AccountSession, probing: Probing) -> Cost | None:
        if probing.users is None or probing.keys is None:
            return None
        users, keys, limiter = len(probing.users), probing.keys, session.rate_limiter
        mode = resolve_mode(
            self.report_mode,
            users=users,
            active_keys=keys.active,
            plain_calls=limiter.full_rate * self.interval * PLAIN_SHARE,
        )
        calls = calls_of(mode, users=users, active_keys=keys.active, keys=keys.total)
        tag_calls = {
            TagSource.OFF: 0,
            TagSource.BULK: calls_of(ReportMode.VALUES, users=users, active_keys=0, keys=0),
            TagSource.PER_USER: users,
        }[self.tag_source]
        return Cost(mode, calls, tag_calls, limiter.seconds_for(calls))


class Identities:
    """Finds out whose credentials the exporter begins with, once for each profile. Thread-safe."""

    def __init__(
        self, sessions: AccountSessions, *, deadline: float, clock: Clock, rng: random.Random
    ) -> None:
        self._sessions = sessions
        self._deadline = deadline
        self._clock = clock
        self._rng = rng
        self._lock = threading.Lock()
        self._locks: dict[str | None, threading.Lock] = {}
        self._found: dict[str | None, Identity] = {}

    def get(self, account: Account) -> Identity:
        """Find whose credentials are used for *account*, before any role is assumed."""
        profile = account.profile
        with self._lock:
            lock = self._locks.setdefault(profile, threading.Lock())
        with lock:
            if profile not in self._found:
                base = Account("", "", account.partition, profile=profile)
                self._found[profile] = self._ask(base)
        return self._found[profile]

    def in_account(self, account: Account) -> Identity:
        """Find as whom *account* is read: the session of its role, if it has one."""
        return self._ask(account)

    def _ask(self, account: Account) -> Identity:
        api = AccountApi(
            self._sessions.clients,
            self._sessions.new_session(account),
            seconds=self._deadline,
            clock=self._clock,
            rng=self._rng,
        )
        try:
            api.sign_in()
            return Identity(str(api.call(Operation.GET_CALLER_IDENTITY)["Arn"]))
        except Aborted as aborted:
            return Identity(error=aborted.error)
        except ReadError as error:
            return Identity(error=error)
