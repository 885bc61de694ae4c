"""What the pages of the server show: values that may be shown, from the facts of the accounts."""

from exporter.cli.pages.content import Content, EventsUnavailable, Settings
from exporter.cli.pages.wiring import content_of, settings_of

__all__ = ["Content", "EventsUnavailable", "Settings", "content_of", "settings_of"]
