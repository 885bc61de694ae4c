"""The HTTP server: metrics, probes and pages for people. Knows nothing of AWS."""

from exporter.server.connections import Limits, max_connections, raise_file_limit
from exporter.server.pages import (
    AccountRow,
    Column,
    Content,
    Filter,
    KeyDetails,
    KeyRow,
    KeyTable,
    Namesakes,
    Problem,
    Step,
)
from exporter.server.routes import Site, serve
from exporter.server.sockets import address_of, bind

__all__ = [
    "AccountRow",
    "Column",
    "Content",
    "Filter",
    "KeyDetails",
    "KeyRow",
    "KeyTable",
    "Limits",
    "Namesakes",
    "Problem",
    "Site",
    "Step",
    "address_of",
    "bind",
    "max_connections",
    "raise_file_limit",
    "serve",
]
