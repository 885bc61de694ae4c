"""Listen addresses, and sockets that systemd listens on."""

import os
import socket
from collections.abc import MutableMapping

from tornado.netutil import bind_sockets

BACKLOG = 1024
"""How many connections wait to be accepted; the kernel makes others try again a second later."""

FIRST_INHERITED = 3
"""The file descriptor of the first socket that systemd passes on."""


def bind(address: str) -> list[socket.socket]:
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


def inherited(environment: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """
    Return the sockets that systemd has passed on to the process *pid*, which is this one.

    The variables that describe them are removed: they are not meant for child processes.

    Source: sd_listen_fds(3).

    Raises:
        OSError: There are none, or they are not what can be served on.
    """
    count = environment.pop("LISTEN_FDS", "")
    owner = environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if owner != str(pid) or not count.isdecimal() or not int(count):
        raise OSError("systemd has passed on no sockets (LISTEN_FDS and LISTEN_PID)")
    return [_inherit(FIRST_INHERITED + number) for number in range(int(count))]


def _inherit(descriptor: int) -> socket.socket:
    """
    Take over a listening stream socket.

    Raises:
        OSError: *descriptor* is something else.
    """
    os.set_inheritable(descriptor, False)  # noqa: FBT003 (its only option)
    found = socket.socket(fileno=descriptor)
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if found.type != socket.SOCK_STREAM or not listens:
        found.detach()
        raise OSError(f"file descriptor {descriptor} is not a stream socket that listens")
    found.setblocking(False)  # noqa: FBT003 (its only argument)
    return found


def address_of(bound: socket.socket) -> str:
    """Return the address, or the path, that *bound* listens on, with the actual port."""
    name = bound.getsockname()
    if not isinstance(name, tuple):
        return os.fsdecode(name)
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
