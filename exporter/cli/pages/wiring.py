"""Connects the pages with the application."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from exporter.cli.application import Application
from exporter.cli.bounded import BoundedCalls, Hanging
from exporter.cli.pages.content import Content, EventsUnavailable, Settings
from exporter.cli.pages.unseen import Unseen
from exporter.cli.redaction import redactor
from exporter.cli.report import show_options
from exporter.cli.wiring import key_id_formatter
from exporter.config import Config, summarize
from exporter.config.values import duration_text
from exporter.model import Clock, Event
from exporter.store import StoreError, read_events

PATIENCE: Final = 2.0
"""Seconds for which a page waits for the store. It occupies a thread that renders scrapes."""


def content_of(application: Application, clock: Clock, file: str) -> Content:
    """
    Return what the pages of *application* show.

    Args:
        file: The configuration file. Empty: there is none.
    """
    return Content(
        SettingsInEffect(application, file),
        snapshots=application.scheduler.snapshots,
        memory=application.recorder.memory,
        clock=clock,
        unseen=lambda: Unseen(application.accounts.error, application.shard),
    )


class SettingsInEffect:
    """What the configuration that *application* follows says about pages."""

    def __init__(self, application: Application, file: str) -> None:
        self._application = application
        self._file = file
        self._latest: Settings | None = None

    def __call__(self) -> Settings:
        config, latest = self._application.config, self._latest
        if latest is None or latest.config is not config:
            self._latest = latest = settings_of(config, self._file)
        return latest


def settings_of(config: Config, file: str) -> Settings:
    """
    Return what *config* says about pages.

    Args:
        file: Where it is from. Empty: there is no file.
    """
    key_ids = key_id_formatter(config)
    return Settings(
        config,
        show_options(config, key_ids, redactor(key_ids, config.secrets())),
        partial(summarize, config, file),
        partial(_read_events, config, BoundedCalls()),
    )


def _read_events(config: Config, calls: BoundedCalls, account_id: str, key: str) -> Sequence[Event]:
    location = config.state.location()
    if location is None:
        shown_for = duration_text(config.changes.shown_for)
        raise EventsUnavailable(
            f"Events are not stored: only those of the last {shown_for} are shown, and none from"
            " before the exporter was started."
        )
    read = partial(read_events, location, account=account_id, key=key)
    try:
        return [row.event for row in calls.call(read, seconds=PATIENCE)]
    except (Hanging, StoreError) as error:
        raise EventsUnavailable(f"Earlier events cannot be read: {error}") from error
