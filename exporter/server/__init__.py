"""The HTTP server: metrics, probes and the landing page. Knows nothing of AWS."""

from exporter.server.connections import Limits, max_connections, raise_file_limit
from exporter.server.landing import AccountRow
from exporter.server.routes import Site, serve
from exporter.server.sockets import address_of, bind
from exporter.server.web_config import WebConfig, WebConfigError

__all__ = [
    "AccountRow",
    "Limits",
    "Site",
    "WebConfig",
    "WebConfigError",
    "address_of",
    "bind",
    "max_connections",
    "raise_file_limit",
    "serve",
]
