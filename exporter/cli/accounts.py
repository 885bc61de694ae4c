"""Which accounts are read: those that are configured, and those of an organization."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, Protocol

from exporter.model import Account, AccountSnapshot, ReadError, RoleArn, RoleSession, Stopped

log = logging.getLogger(__name__)

FIRST_RETRY: Final = 30.0
"""Seconds until accounts are listed again after that has failed; doubled each time."""


class Discovery(Protocol):
    """Finds accounts."""

    def discover(self) -> list[Account]:
        """
        List them.

        Raises:
            ReadError: They cannot be listed, or there seem to be none.
        """
        ...


class Accounts:
    """
    The accounts that are read, kept up to date.

    Args:
        configured: They take precedence over discovered ones with the same id.
        discovery: None: there is no organization.
        interval: Seconds between two discoveries.
        identified: Lists the ids of accounts that are configured without one, as far as they are
            known.
        apply: Called with all accounts, whenever they were discovered.
        report: Called with whether the latest discovery succeeded.

    Attributes:
        are_known: Whether all accounts of the organization, if there is one, are known: by asking
            it, not from before a restart or another configuration.
    """

    def __init__(
        self,
        configured: Sequence[Account],
        discovery: Discovery | None,
        *,
        interval: float,
        identified: Callable[[], Iterable[str]],
        apply: Callable[[list[Account]], None],
        report: Callable[[bool | None], None],
    ) -> None:
        self._configured = tuple(configured)
        self._discovery = discovery
        self._interval = interval
        self._identified = identified
        self._apply = apply
        self._report = report
        self._failure: str | None = None
        self._count = -1
        self._discovered: Sequence[Account] = ()
        self._all = self._configured
        self._applying = threading.Lock()
        self.are_known = discovery is None
        if discovery is not None:
            report(False)  # noqa: FBT003 (the only argument)

    @property
    def error(self) -> str:
        """Why accounts of the organization are missing, as a sentence. Empty: none is."""
        failure = self._failure
        if not self.are_known:
            return f"the accounts of the organization are unknown: {failure or 'it is being asked'}"
        return f"new accounts of the organization are unknown: {failure}" if failure else ""

    def restored(self, accounts: Iterable[Account]) -> None:
        """Take over *accounts*, some of which were discovered before the exporter was restarted."""
        self._all = tuple(accounts)
        self._discovered = [account for account in self._all if account.source == "organization"]

    def reconfigure(
        self, configured: Sequence[Account], discovery: Discovery | None, *, interval: float
    ) -> bool:
        """
        Go on with other arguments: see the class. The accounts are applied before it returns.

        Returns:
            Whether there is another discovery, or another interval, which `keep_up_to_date` has to
            be called for. Until another discovery has found accounts, those that were read so far
            still are: it may find them, too.
        """
        with self._applying:
            is_other = discovery is not self._discovery
            is_due = is_other or interval != self._interval
            self._configured, self._interval = tuple(configured), interval
            if is_other:
                self._discovery, self._failure, self._count = discovery, None, -1
                self.are_known = discovery is None
                self._discovered = [account for account in self._all if account.id]
                self._report(None if discovery is None else False)
            if discovery is None:
                self._discovered = ()
            self._apply_combined()
        return is_due

    def keep_up_to_date(self, stop: threading.Event) -> None:
        """
        Discover accounts at once, and then again and again.

        Ends when *stop* is set, or there is another discovery.
        """
        retry, discovery = FIRST_RETRY, self._discovery
        while discovery is not None and discovery is self._discovery:
            try:
                found = self.discover(discovery)
            except Stopped:
                return
            seconds, retry = self._interval, FIRST_RETRY if found else retry * 2
            if not found:
                seconds = min(self._interval, retry / 2)
            if stop.wait(seconds):
                return

    def discover(self, discovery: Discovery) -> bool:
        """
        Discover accounts once. If that fails, those known so far are still read.

        Returns:
            Whether it succeeded. Not if there is another discovery meanwhile.
        """
        try:
            found: list[Account] | Exception = discovery.discover()
        except ReadError as error:
            found = error
        except Exception as error:
            # A bug: it must not end discovery for good.
            log.exception("discovery crashed")
            found = error
        with self._applying:
            if discovery is not self._discovery:
                return False
            if isinstance(found, Exception):
                if isinstance(found, ReadError):
                    self._log_failure(found)
                else:
                    self._failure = "see the log"
                self._report(False)  # noqa: FBT003 (the only argument)
                return False
            self._discovered, self.are_known = found, True
            try:
                self._apply_combined()
            except Exception:
                log.exception("discovered accounts cannot be read")
                self._report(False)  # noqa: FBT003 (the only argument)
                return False
            if self._failure is not None or len(found) != self._count:
                log.info("accounts discovered", extra={"accounts": len(found)})
            self._failure, self._count = None, len(found)
            self._report(True)  # noqa: FBT003 (the only argument)
            return True

    def _apply_combined(self) -> None:
        accounts = combine(self._configured, self._discovered, self._identified())
        self._all = tuple(accounts)
        self._apply(accounts)

    def _log_failure(self, error: ReadError) -> None:
        text = str(error)
        level = logging.DEBUG if text == self._failure else logging.WARNING
        self._failure = text
        facts = {
            "reason": str(error.reason),
            "error": text,
            "hint": "the accounts known so far are still read",
        }
        log.log(level, "discovery failed", extra=facts)


class Identities:
    """
    The ids of accounts that are configured without one: whose credentials those are.

    They have to be known before discovered accounts are read, or two would be the same.

    Args:
        identify: Asks AWS; raises ReadError. None: there is no organization, and nobody asks.
        snapshots: Lists what is known of all accounts, perhaps from before a restart.
        known: What AWS has answered already.

    Attributes:
        ids: What AWS has answered.
    """

    def __init__(
        self,
        configured: Iterable[Account],
        identify: Callable[[Account], str] | None,
        snapshots: Callable[[], Iterable[AccountSnapshot]],
        known: Mapping[Account, str] = MappingProxyType({}),
    ) -> None:
        self._configured = tuple(configured)
        self._identify = identify
        self._snapshots = snapshots
        self.ids = {one: known[one] for one in self._configured if one in known}

    def find(self) -> set[str]:
        """List the ids, as far as they can be found. Each is asked for until AWS has answered."""
        configured = {account.id for account in self._configured}
        static = [each.account for each in self._snapshots() if each.account.source == "static"]
        known = {
            replace(account, id="").label: account.id
            for account in static
            if account.id not in configured
        }
        if self._identify is not None:
            self._ask(self._identify)
        missing = {account.label for account in self._unknown()}
        return {*self.ids.values(), *(known[label] for label in missing & known.keys())}

    def _ask(self, identify: Callable[[Account], str]) -> None:
        for account in self._unknown():
            try:
                self.ids[account] = identify(account)
            except ReadError as error:
                # Its refresh fails as well, and is reported.
                log.debug("cannot identify account", extra={"error": str(error)})

    def are_complete(self) -> bool:
        """Whether AWS has answered for all of them."""
        return not self._unknown()

    def _unknown(self) -> list[Account]:
        return [one for one in self._configured if not one.id and one not in self.ids]


def combine(
    configured: Sequence[Account], discovered: Sequence[Account], identified: Iterable[str] = ()
) -> list[Account]:
    """
    Combine accounts so that each is read once: as it is configured, if it is.

    A configured account without a name gets the one that the organization has for it.

    Args:
        identified: Ids of accounts that are configured without one.
    """
    by_id = {account.id: account for account in discovered}
    named = [
        replace(account, name=account.name or found.name, tags=found.tags)
        if (found := by_id.get(account.id))
        else account
        for account in configured
    ]
    taken = {account.id for account in configured} | set(identified)
    return [*named, *(account for account in by_id.values() if account.id not in taken)]


def complete(
    stored: Account,
    *,
    role_name: str,
    role_session: RoleSession,
    profile: str | None,
) -> Account:
    """Complete a discovered account that was stored, which lacks what the configuration says."""
    role = RoleArn(stored.partition, stored.id, role_name) if stored.role_arn else None
    return replace(
        stored,
        role_arn=role,
        role_session=role_session if role else RoleSession(),
        profile=profile,
    )
