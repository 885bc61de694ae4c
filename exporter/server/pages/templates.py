"""Templates, how they escape values, and the policy under which browsers show the result."""

import base64
import hashlib
import re
from datetime import timedelta
from importlib import resources
from typing import Any, Final

from tornado.escape import xhtml_escape
from tornado.template import BaseLoader, Template

_INVISIBLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
"""Characters that are not seen, or that change the direction of the text around them."""


def shown(value: bytes) -> str:
    """Return HTML that shows *value*, a text in UTF-8: markup and invisible characters as such."""
    return xhtml_escape(_INVISIBLE.sub(_code, value.decode()))


def _code(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shown_lines(text: str) -> str:
    """Return HTML that shows *text*, which has several lines, in a ``<pre>``."""
    return "\n".join(shown(line.encode()) for line in text.split("\n"))


def span(duration: timedelta) -> str:
    """Write *duration* in its largest suitable unit, rounded down, such as ``5m``."""
    seconds = int(duration.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


STYLE: Final = _read("style.css")

CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
"""Nothing is loaded or run, nothing but our own style applies, and forms lead back to us."""


class _Loader(BaseLoader):
    """Loads templates from this package."""

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002 (all are in one directory)
        return name

    def _create_template(self, name: str) -> Template:
        return Template(_read(name), name=name, loader=self)


_LOADER: Final = _Loader(
    autoescape="shown",
    namespace={"shown": shown, "shown_lines": shown_lines, "style": STYLE, "span": span},
)


def fill(template: str, **values: Any) -> bytes:
    """Return the HTML of *template* with these values, each of which is escaped."""
    html: bytes = _LOADER.load(template).generate(**values)
    return html
