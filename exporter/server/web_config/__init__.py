"""
TLS, passwords, headers and rate limits, as `--web.config.file` says.

The format is that of exporter-toolkit, which all official exporters share.
"""

from exporter.server.web_config.configuration import WebConfig, WebConfigError
from exporter.server.web_config.guard import Guard, add_headers

__all__ = ["Guard", "WebConfig", "WebConfigError", "add_headers"]
