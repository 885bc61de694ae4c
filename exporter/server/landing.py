"""The landing page: links, and the state of each account."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources

from tornado.template import Template

TEMPLATE = Template(
    resources.files(__package__).joinpath("landing.html").read_text(encoding="utf-8"),
    name="landing.html",
    autoescape="xhtml_escape",
)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """
    A row of the table of accounts.

    Attributes:
        id: Twelve digits. Empty: unknown.
        up: Whether the last refresh succeeded. None: there was none yet.
        keys: The number of access keys. None: unknown.
        last_success: Aware. None: never.
        next_refresh: Seconds until the next refresh. None: it is in progress.
        error: Why the last refresh failed. Empty: it did not.
    """

    id: str
    name: str
    up: bool | None
    keys: int | None
    last_success: datetime | None
    next_refresh: float | None
    error: str

    @property
    def state(self) -> str:
        if self.up is None:
            return "pending"
        return "up" if self.up else "down"


def render(
    *, version: str, telemetry_path: str, accounts: list[AccountRow], now: datetime
) -> bytes:
    """
    Render the landing page as HTML.

    Args:
        now: Aware.
    """
    html: bytes = TEMPLATE.generate(
        version=version,
        telemetry_path=telemetry_path,
        accounts=accounts,
        now=now,
        format_duration=format_duration,
        timedelta=timedelta,
    )
    return html


def format_duration(duration: timedelta) -> str:
    """Write *duration* in its largest suitable unit, rounded down, such as ``5m``."""
    seconds = int(duration.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
