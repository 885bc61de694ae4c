"""Who is counted as one client."""

import ipaddress


def client_of(address: str) -> str:
    """
    Return the client that has an IP address: the address, or for IPv6 its network.

    An IPv6 client usually has a network, and so more addresses than can be counted.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # of a Unix socket
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
