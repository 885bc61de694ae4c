"""Reloads the configuration: on SIGHUP, by HTTP, and when its files change."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exporter.cli.bounded import call_in_thread
from exporter.config import Config, ConfigError, checksums

log = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 1.0
"""For how long changed files have to stay as they are: before, they may be half written."""


@dataclass(frozen=True, slots=True)
class Changes:
    """
    The options that another configuration changes, such as ``collection.interval``.

    Attributes:
        restart: Those that only take effect when the exporter is restarted.
    """

    options: Sequence[str] = ()
    restart: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a reload went, and a text about it for people."""

    succeeded: bool
    text: str


class Reloader:
    """
    Reloads the configuration. Its methods run on the event loop; the work is done in threads.

    Args:
        load: Loads and validates the configuration. Raises ConfigError.
        apply: Puts a configuration into effect; returns what that has changed.
        redact: Formats key ids in an error message, and hides secrets.
        report: Called with when the configuration was loaded. None: that has failed.
        now: Returns the time.
        file: That of the configuration. Empty: there is none.
        secret_files: Those that it names.
        seen: The checksums that the files had when they were loaded, as far as they are known.
        settle: Seconds for which changed files have to stay as they are.

    Attributes:
        count: The number of reloads so far.
    """

    def __init__(
        self,
        load: Callable[[], Config],
        apply: Callable[[Config], Changes],
        *,
        redact: Callable[[str], str],
        report: Callable[[datetime | None], None],
        now: Callable[[], datetime],
        file: str,
        secret_files: Sequence[str],
        seen: dict[str, str],
        settle: float = SETTLE_SECONDS,
    ) -> None:
        self.count = 0
        self._load = load
        self._apply = apply
        self._redact = redact
        self._report = report
        self._now = now
        self._file = file
        self._secret_files = tuple(secret_files)
        self._seen = checksums(self._secret_files) | seen
        self._settle = settle
        self._running: asyncio.Task[Outcome] | None = None
        self._waiting: asyncio.Task[Outcome] | None = None

    async def reload(self) -> Outcome:
        """
        Reload the configuration, after a reload that is under way, if there is one.

        Reloads that are asked for while another has to end first are one reload.
        """
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._run_after(self._running))
        return await asyncio.shield(self._waiting)

    async def reload_when_changed(self, interval: float) -> None:
        """Reload every *interval* seconds, if the files have changed."""
        while True:
            await asyncio.sleep(interval)
            await self.reload_if_changed()

    async def reload_if_changed(self) -> Outcome | None:
        """
        Reload if the checksums of the files differ from those of the last time.

        Returns:
            None: they do not, or the files are still being written, or were reloaded meanwhile.
        """
        found = await self._checksums()
        if found == self._seen:
            return None
        await asyncio.sleep(self._settle)
        if await self._checksums() != found or found == self._seen:
            return None
        return await self.reload()

    async def _run_after(self, other: "asyncio.Task[Outcome] | None") -> Outcome:
        if other is not None and not other.done():
            await asyncio.wait([other])
        self._running, self._waiting = self._waiting, None
        outcome = await asyncio.wrap_future(call_in_thread(self._reload, "reload"))
        self.count += 1
        return outcome

    def _files(self) -> list[str]:
        return [file for file in (self._file, *self._secret_files) if file]

    async def _checksums(self) -> dict[str, str]:
        return await asyncio.wrap_future(
            call_in_thread(lambda: checksums(self._files()), "checksums")
        )

    def _reload(self) -> Outcome:
        self._seen = checksums(self._files())
        try:
            config = self._load()
            self._watch(config.secret_files())
            changes = self._apply(config)
        except ConfigError as error:
            self._watch(error.secret_files)
            return self._failed(str(error))
        except Exception:
            # A bug: it must not end the exporter, which still has its configuration.
            log.exception("reload crashed")
            return self._failed("see the log")
        self._report(self._now())
        changed, restart = ", ".join(changes.options), ", ".join(changes.restart)
        facts = {"file": self._file, "changed": changed or "nothing"}
        log.info("configuration reloaded", extra=facts)
        text = "Configuration reloaded.\n"
        if restart:
            log.warning("changed options require a restart", extra={"options": restart})
            text += f"Changes to these options require a restart: {restart}\n"
        return Outcome(succeeded=True, text=text)

    def _watch(self, secret_files: Sequence[str]) -> None:
        self._secret_files = tuple(secret_files)
        self._seen = checksums(self._secret_files) | self._seen
        self._seen = {file: self._seen[file] for file in self._files()}

    def _failed(self, error: str) -> Outcome:
        error = self._redact(error)
        self._report(None)
        log.error("cannot reload the configuration: it is unchanged", extra={"error": error})
        return Outcome(succeeded=False, text=f"failed to reload config: {error}\n")
