"""Which proxy lies between this machine and a server."""

from __future__ import annotations

import ipaddress
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from urllib.request import getproxies, proxy_bypass

import httpx2

from elasticnas.client.passwords import masked

LOOPBACK_NAMES = frozenset(
    {
        *("localhost", "localhost.localdomain", "localhost4", "localhost6"),
        *("localhost4.localdomain4", "localhost6.localdomain6", "ip6-localhost", "ip6-loopback"),
    }
)
"""What systems call their own loopback in /etc/hosts."""


@dataclass(frozen=True)
class Proxy:
    """A proxy, and the environment variable or system setting that names it."""

    url: str
    origin: str

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return masked(self.url)


def proxy_for(server: httpx2.URL) -> Proxy | None:
    """The proxy of the environment (or of macOS's or Windows's settings) for this server.

    A server on this machine is never asked of a proxy, whose own loopback is another one; nor is a
    server that NO_PROXY names: by host, domain, host and port, or network (10.0.0.0/8).
    """
    host = server.host
    if is_loopback(host) or _is_excepted(host, server.port):
        return None
    proxies = getproxies()
    for kind in (server.scheme, "all"):
        if url := proxies.get(kind):
            # curl and others take a proxy without a scheme, so people write them.
            return Proxy(url if "://" in url else f"http://{url}", _origin(kind))
    return None


def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own, whatever a resolver would say."""
    if (address := _address(host)) is not None:
        return address.is_loopback or address.is_unspecified
    name = host.rstrip(".").lower()
    return name in LOOPBACK_NAMES or name.endswith(".localhost")  # RFC 6761, section 6.3


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is written as: also 127.1 or 0, and IPv4 within IPv6."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return getattr(address, "ipv4_mapped", None) or address
    with suppress(OSError, ValueError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    return None


def _is_excepted(host: str, port: int | None) -> bool:
    if proxy_bypass(host if port is None else f"{host}:{port}"):
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        for entry in getproxies().get("no", "").split(","):
            with suppress(ValueError):
                if address in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    return False


def _origin(kind: str) -> str:
    for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY"):
        if os.environ.get(name):
            return name
    return "the system's settings"
