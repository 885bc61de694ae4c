"""Listen addresses."""

from socket import socket

from tornado.netutil import bind_sockets

BACKLOG = 1024
"""How many connections wait to be accepted; the kernel makes others try again a second later."""


def bind(address: str) -> list[socket]:
    """
    Listen on *address*: ``:10064``, ``127.0.0.1:0`` or ``[::1]:10064``.

    Raises:
        OSError: The address is invalid or cannot be listened on.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise OSError("not an address such as :10064, 127.0.0.1:10064 or [::1]:10064")
    try:
        host = host.removeprefix("[").removesuffix("]")
        return bind_sockets(int(port), host or None, backlog=BACKLOG)
    except UnicodeError as error:
        raise OSError(f"invalid host name: {host}") from error


def address_of(bound: socket) -> str:
    """Return the address that *bound* listens on, with the actual port."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
