"""The HTTP server: metrics, probes and pages for people. Knows nothing of AWS."""

from exporter.server.limits import Limits, max_connections, raise_file_limit
from exporter.server.pages import (
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
    is_page,
)
from exporter.server.routes import Lifecycle, Site, serve, serve_probes
from exporter.server.sockets import address_of, bind, inherited
from exporter.server.web_config import WebConfig, WebConfigError

__all__ = [
    "AccountRow",
    "Column",
    "Content",
    "Filter",
    "InvalidParameter",
    "KeyDetails",
    "KeyRow",
    "KeyTable",
    "Lifecycle",
    "Limits",
    "Namesakes",
    "Problem",
    "Site",
    "Step",
    "WebConfig",
    "WebConfigError",
    "address_of",
    "bind",
    "inherited",
    "is_page",
    "max_connections",
    "raise_file_limit",
    "serve",
    "serve_probes",
]
