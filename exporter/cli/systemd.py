"""Notifies the service manager when the exporter is ready, and when it stops."""

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


def notify(state: str, environment: Mapping[str, str]) -> None:
    """
    Send *state*, such as ``READY=1``, to the service manager, if there is one.

    Source: sd_notify(3).
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    address = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.sendto(state.encode(), address)
    except OSError as error:
        log.warning("cannot notify the service manager", extra={"error": error.strerror})
