"""Who sent a request, so that callers can take turns."""

import ipaddress

from starlette.requests import Request

NETWORK = 64  # bits of an IPv6 address that one host has to itself


def caller_of(request: Request) -> str:
    """By its key where keys are asked for, else by its address."""
    key: str | None = getattr(request.state, "key", None)
    if key:
        return key
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, NETWORK), False)) if address.version == 6 else host
