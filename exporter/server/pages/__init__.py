"""Pages for people: accounts, keys and the configuration. They work without JavaScript."""

from exporter.server.pages.responses import PAGES, Facts, Page, Response, is_page
from exporter.server.pages.values import (
    AccountRow,
    Column,
    Content,
    Filter,
    InvalidParameter,
    KeyDetails,
    KeyRow,
    KeyTable,
    Namesakes,
    Problem,
    Step,
)

__all__ = [
    "PAGES",
    "AccountRow",
    "Column",
    "Content",
    "Facts",
    "Filter",
    "InvalidParameter",
    "KeyDetails",
    "KeyRow",
    "KeyTable",
    "Namesakes",
    "Page",
    "Problem",
    "Response",
    "Step",
    "is_page",
]
