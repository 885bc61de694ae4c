"""The HTTP server: metrics, probes and the landing page. Knows nothing of AWS."""

from exporter.server.landing import AccountRow
from exporter.server.routes import Site, serve
from exporter.server.sockets import address_of, bind

__all__ = ["AccountRow", "Site", "address_of", "bind", "serve"]
