"""Flags of the subcommand serve that say how it serves and reloads, or that it runs once."""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from exporter.config import parse_duration

ADDRESSES: Final = ("--web.listen-address", "--web.probe-listen-address")
"""Flags that can be repeated; in an environment variable they are a comma-separated list."""

VISIBLE: Final = r"[!-~]+"


@dataclass(frozen=True, slots=True)
class ServeFlags:
    """
    Values of flags.

    Attributes:
        probe_listen_address: The addresses that only probes are served on.
        systemd_socket: Serve on the sockets that systemd listens on.
        route_prefix: What precedes all paths, such as ``/exporter``. Empty: nothing does.
        external_url: Where the root is for browsers, without a slash at the end. Empty: unknown.
        auto_reload: Seconds between two comparisons of the configuration's checksum. 0: none.
        output: The file that is written once, instead of serving. Empty: serve.
    """

    probe_listen_address: tuple[str, ...] = ()
    systemd_socket: bool = False
    route_prefix: str = ""
    external_url: str = ""
    enable_lifecycle: bool = False
    disable_exporter_metrics: bool = False
    auto_reload: float = 0.0
    output: str = ""
    disable_pages: bool = False


def add_flags(parser: argparse.ArgumentParser) -> None:
    add: Callable[..., Any] = parser.add_argument
    add(
        "--config.auto-reload-interval",
        dest="config_auto_reload_interval",
        metavar="DURATION",
        type=_interval,
        default=0.0,
        help="how often to reload the configuration if the checksum of its files has changed, such"
        " as 30s (default: 0s: never)",
    )
    add(
        "--web.probe-listen-address",
        dest="web_probe_listen_address",
        metavar="ADDRESS",
        action="append",
        help="address on which only /-/healthy and /-/ready are served, always without TLS and"
        " authentication, for kubelets and load balancers (default: none); can be repeated",
    )
    add(
        "--web.systemd-socket",
        dest="web_systemd_socket",
        action="store_true",
        help="use the sockets that systemd passes on instead of --web.listen-address",
    )
    add(
        "--web.external-url",
        dest="web_external_url",
        metavar="URL",
        default="",
        help="URL at which the exporter can be reached from outside, for instance through a proxy;"
        " its path is the default of --web.route-prefix",
    )
    add(
        "--web.route-prefix",
        dest="web_route_prefix",
        metavar="PREFIX",
        default=None,
        help="prefix of all paths, but for those of --web.probe-listen-address (default: the path"
        " of --web.external-url; / for a proxy that removes the prefix)",
    )
    add(
        "--web.enable-lifecycle",
        dest="web_enable_lifecycle",
        action="store_true",
        help="allow POST and PUT requests to /-/reload and /-/quit",
    )
    add(
        "--web.disable-pages",
        dest="web_disable_pages",
        action="store_true",
        help="serve only metrics and probes, no pages for people",
    )
    add(
        "--web.disable-exporter-metrics",
        dest="web_disable_exporter_metrics",
        action="store_true",
        help="exclude metrics about the process, Python, and HTTP requests to the exporter",
    )
    add(
        "--once",
        action="store_true",
        help="refresh every account once, write the metrics to --output and exit: 0 if every"
        " account was refreshed completely, else 1; for cron and the textfile collector of"
        " node_exporter",
    )
    add(
        "--output",
        dest="once_output",
        metavar="FILE",
        default="",
        help="the file that --once replaces, such as aws_iam.prom; ages in it are those at the"
        " time of writing: use the families ..._timestamp_seconds",
    )


def serve_flags(
    parser: argparse.ArgumentParser, source: Callable[[str], str], args: argparse.Namespace
) -> ServeFlags:
    """
    Check the flags, and return their values.

    Args:
        source: Names what sets a flag.
    """
    if bool(args.once) is not bool(args.once_output):
        given, missing = ("--once", "--output") if args.once else ("--output", "--once")
        parser.error(f"{source(given)} requires {missing}")
    if args.once and args.demo:
        parser.error(f"{source('--once')} cannot be combined with {source('--demo')}")
    external = args.web_external_url
    path = _external_path(external)
    if path is None:
        expected = "an http or https URL without query, such as https://example.com/exporter/"
        parser.error(f"{source('--web.external-url')} must be {expected}")
    prefix = path if args.web_route_prefix is None else args.web_route_prefix
    if not re.fullmatch(VISIBLE, prefix or "/") or {*"?#"} & {*prefix}:
        name = source("--web.route-prefix")
        parser.error(f"{name} must consist of visible ASCII characters other than ? and #")
    prefix = prefix.strip("/")
    return ServeFlags(
        tuple(args.web_probe_listen_address or ()),
        args.web_systemd_socket,
        f"/{prefix}" if prefix else "",
        external.rstrip("/"),
        args.web_enable_lifecycle,
        args.web_disable_exporter_metrics,
        args.config_auto_reload_interval,
        args.once_output,
        args.web_disable_pages,
    )


def _external_path(url: str) -> str | None:
    """Return the path of *url*. None: *url* is invalid."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        return None
    extra = parts.query or parts.fragment or "@" in parts.netloc
    return parts.path if valid and not extra and re.fullmatch(VISIBLE, url) else None


def _interval(text: str) -> float:
    if text.strip() == "0":
        return timedelta().total_seconds()
    try:
        return parse_duration(text.strip()).total_seconds()
    except ValueError:
        expected = f"a duration such as 30s, not {text!r}"
        raise argparse.ArgumentTypeError(f"must be {expected}") from None
